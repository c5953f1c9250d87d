"""A study config for `layertune init`, with a comment on each key that people change first."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from layertune.config import HardwareProfile, parse_config
from layertune.models import ModelShape, read_shape
from layertune.regular_files import is_there
from layertune.units import MIB, format_bytes

PLACEHOLDERS = {"chat": "chat.gguf", "code": "code.gguf"}
_N_CTX = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_WORKLOAD = (512, 128)  # prompt tokens and generated ones, as by default

_HEAD = """\
# {names} on one device.
#   layertune search {file} --dry-run    says what a search will do
#   layertune search {file}              searches
# All keys: docs/configuration.md. Lines like "# key = value" are examples that have no effect.

name = {name}  # the results go to studies/{name_only}

# What layers are offloaded to: auto (the first GPU), gpu:0, cpu, or an emulated card like emulated:6GiB.
device = {device}

# What a pick must reach, and which model counts more in the balanced pick.
# floors = ["{first}.tokens_per_s >= 20"]
# weights = {{ {first} = 2.0 }}

# The VRAM for all models together.
[budget]
{budget}

# The CPUs and the RAM of each model's container. Without them: all cores, and all RAM.
[host]
# n_cpus = 4
# ram_per_model = "6GB"

[search]
n_trials = 40    # at most; it stops earlier when more trials would not help
timeout = "1h"
"""
_MODEL = """
[models.{name}]
# {what}
path = {path}
# Several files, of which the search chooses one. They replace the path.
# files = ["{name}-Q4_K_M.gguf", "{name}-Q3_K_M.gguf"]
# The request whose speed matters, in tokens.
workload = {{ n_prompt = {n_prompt}, n_generate = {n_generate} }}

# A value is fixed. A list or a range is searched.
[models.{name}.space]
n_gpu_layers = {{ min = 0, max = "all" }}
n_ctx = {n_ctx}
n_batch = [256, 512, 1024, 2048]
# cache_types = ["f16", "q8_0"]
# n_threads = 4
"""


def first_config(
    models: Mapping[str, str],
    file: Path,
    *,
    profile: HardwareProfile | None = None,
    device: str | None = None,
    budget: str | None = None,
) -> str:
    """Return a commented study config as TOML.

    Args:
        models: The path of each model's file by name, relative to the current folder. A file may not be there yet.
        file: Where the config is to be written. The paths in it are relative to its folder.
        profile: The card that the models are to be served on.
        device: As `--device`; without it as the profile says, or `auto`.
        budget: As `--budget`; without it the profile's memory.

    Raises:
        ModelFileError: a file that is there is no model.
        ConfigError: a name, the device or the budget is wrong.
    """
    chosen = _device(profile) if device is None else device
    name = file.stem if _NAME.fullmatch(file.stem) else "study"
    limit = _size(profile) if budget is None else budget
    table = {"path": "x.gguf"}
    wanted = {"name": name, "device": chosen, "models": dict.fromkeys(models, table)}
    parse_config({**wanted, **({} if limit is None else {"budget": {"vram": limit}})}, source="the options")
    parts = [
        _HEAD.format(
            names=" and ".join(models),
            file=file.name,
            name=_text(name),
            name_only=name,
            device=_text(chosen),
            first=next(iter(models)),
            budget=_budget(profile, budget),
        )
    ]
    for name, written in models.items():
        shape = read_shape(Path(written)) if is_there(Path(written)) else None
        n_prompt, n_generate = _WORKLOAD
        n_ctx = _N_CTX if shape is None else min(_N_CTX, shape.n_ctx_train)
        if n_ctx < n_prompt + n_generate:
            n_prompt, n_generate = n_ctx // 2, n_ctx // 4
        path = Path(written).absolute()
        if path.is_relative_to(file.absolute().parent):
            path = path.relative_to(file.absolute().parent)
        parts.append(
            _MODEL.format(
                name=name,
                path=_text(path.as_posix()),
                what=_what(shape),
                n_ctx=n_ctx,
                n_prompt=n_prompt,
                n_generate=n_generate,
            )
        )
    return "".join(parts)


def _device(profile: HardwareProfile | None) -> str:
    if profile is None or profile.device.kind == "gpu":
        return "auto"
    size = _size(profile)
    return "cpu" if profile.device.kind == "cpu" or size is None else f"emulated:{size}"


def _size(profile: HardwareProfile | None) -> str | None:
    """Return the profile's memory as a config has it, None if it is not known."""
    if profile is None or profile.device.vram is None:
        return None
    whole, rest = divmod(profile.device.vram.size, MIB)
    return f"{whole}MiB" if rest == 0 else str(profile.device.vram.size)


def _budget(profile: HardwareProfile | None, budget: str | None) -> str:
    size = _size(profile)
    if budget is not None:
        return f"vram = {_text(budget)}"
    if profile is None or size is None:
        return '# Without it: what is free of the GPU, less 256 MiB.\n# vram = "5.5GiB"'
    if profile.device.kind != "gpu":
        return f'vram = "{size}"'
    return (
        f"# {profile.name} as its driver reports it. On the card itself leave both lines out:\n"
        f"# then the budget is what is free of it, less 256 MiB.\n"
        f'vram = "{size}"\nmargin = "256MiB"'
    )


def _what(shape: ModelShape | None) -> str:
    if shape is None:
        return "Not there yet: change the path. Or write a stand-in there: layertune standin --help"
    quantization = "" if shape.quantization is None else f", {shape.quantization}"
    size = format_bytes(shape.file_bytes)
    trained = f"trained with a context of {shape.n_ctx_train}"
    return f"{shape.architecture}, {shape.n_layer} layers, {size}{quantization}; {trained}"


def _text(value: str) -> str:
    """Return a string of TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
