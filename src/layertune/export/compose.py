"""The docker compose file: one llama-server per model; `.env` can override every tuned flag.

The command is a list, so no argument is split and no comment becomes an argument. Compose replaces `$` in every value
(compose-go, template/template.go), so a literal `$` is doubled.
"""

from collections.abc import Mapping, Sequence

from layertune.errors import UsageError
from layertune.export.flags import Flag, address_flags, ports, server_flags
from layertune.export.header import comment
from layertune.export.paths import is_plain, model_path
from layertune.export.yaml_text import double_quoted
from layertune.results.result import Result, TrialInfo

FILE_NAME = "compose.yml"

_PORT = "8001"  # inside each container
_IMAGE = "ghcr.io/ggml-org/llama.cpp:server"

# llama.cpp's image for each backend (its docs/docker.md). Metal is not there: a container on macOS has no GPU.
_IMAGE_SUFFIXES: Mapping[str, str] = {
    "CUDA": "-cuda",
    "ROCm": "-rocm",
    "Vulkan": "-vulkan",
    "SYCL": "-intel",
}
_DEVICE_FILES: Mapping[str, tuple[str, ...]] = {"ROCm": ("/dev/kfd", "/dev/dri")}


def render_compose(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return the compose file.

    Raises:
        UsageError: it cannot hold a model's file name, or no container can use the study's GPU.
    """
    backend = _backend(result)
    lines = [
        *comment(result, trial),
        "#",
        "# Reads the .env of the same pick (layertune export --format env). Its defaults are that pick's.",
        "# LLAMA_SERVER_IMAGE should contain the llama.cpp named above, which was measured.",
        "services:",
    ]
    for name in result.models:
        lines += [
            f"  inference-{name}:",
            f'    image: "${{LLAMA_SERVER_IMAGE:-{_IMAGE}{_IMAGE_SUFFIXES.get(backend or "", "")}}}"',
            "    restart: unless-stopped",
            *_command(result, trial, name),
            *_folder_and_port(result, name, models_dir),
            *_order(result),
            *_device_files(backend),
            *_limits(result, backend),
        ]
    return {FILE_NAME: "\n".join(lines) + "\n"}


def _command(result: Result, trial: TrialInfo, name: str) -> list[str]:
    model_path(result, name, "/models")  # raises for names that no text file can hold
    words = [
        *(word for flag in address_flags(name, "0.0.0.0", _PORT) for word in flag.words),
        "--model",
    ]
    lines = [double_quoted(word) for word in words]
    lines.append(_variable(f"{name.upper()}_MODEL", result.models[name].file, before="/models/"))
    switches = []
    for flag in server_flags(result, trial, name):
        if flag.option == "device" and _backend(result) == "CUDA":
            # A container has only the cards that it reserves, and numbers them from 0.
            inside = _renumbered(_nvidia_indices(result))
            lines += [] if inside is None else [double_quoted("--device"), double_quoted(inside)]
        elif flag.is_switch and flag.variable is not None:  # its option is another one for each value
            switches.append(f"      {flag.variable}: {_value(name, flag)}")
        elif flag.is_switch:
            lines += map(double_quoted, flag.words)
        else:
            lines += [double_quoted(f"--{flag.option}"), _value(name, flag)]
    environment = ["    environment:", *switches] if switches else []
    return [*environment, "    command:", *(f"      - {line}" for line in lines)]


def _value(name: str, flag: Flag) -> str:
    # No value of a flag has a character that compose would interpret in a default.
    return double_quoted(flag.value if flag.key is None else f"${{{name.upper()}_{flag.key}:-{flag.value}}}")


def _variable(variable: str, default: str, before: str = "") -> str:
    """Return a variable with its default, or the literal value if compose would interpret characters of the default."""
    value = f"${{{variable}:-{default}}}" if is_plain(default) else default.replace("$", "$$")
    return double_quoted(before + value)


def _folder_and_port(result: Result, name: str, models_dir: str) -> list[str]:
    port = f"127.0.0.1:${{{name.upper()}_PORT:-{ports(result)[name]}}}:{_PORT}"
    return [
        "    volumes:",
        "      - type: bind",
        f"        source: {_variable('MODELS_DIR', models_dir)}",
        "        target: /models",
        "        read_only: true",
        "    ports:",
        f"      - {double_quoted(port)}",
        "    healthcheck:",
        f'      test: ["CMD", "curl", "--fail", "--silent", "http://localhost:{_PORT}/health"]',
        "      interval: 10s",
        "      timeout: 5s",
        "      retries: 6",
        "      start_period: 300s",  # a large model from a slow disk
    ]


def _backend(result: Result) -> str | None:
    """Return the backend of the containers' llama.cpp; None for the CPU.

    Emulated cards, and results of before the backend was recorded, get CUDA, as in the case study.
    """
    device = result.hardware.device
    if device.kind == "cpu":
        return None
    backend = "CUDA" if device.backend is None else device.backend
    if backend not in _IMAGE_SUFFIXES:
        raise UsageError(
            f"no container image of llama.cpp uses {device.name} through {backend}",
            remedy="serve it without containers: --format llama-server",
        )
    return backend


def _order(result: Result) -> list[str]:
    """Return the variable that makes CUDA number several cards as nvidia-smi does, instead of the fastest first."""
    if _backend(result) != "CUDA" or len(_nvidia_indices(result)) < 2:
        return []
    return ["    environment:", "      CUDA_DEVICE_ORDER: PCI_BUS_ID"]


def _device_files(backend: str | None) -> list[str]:
    """Return the device files of a GPU that is not NVIDIA's, and the groups that may open them."""
    if backend is None or backend == "CUDA":
        return []
    files = _DEVICE_FILES.get(backend, ("/dev/dri",))
    return [
        "    devices:",
        *(f'      - "{file}:{file}"' for file in files),
        "    group_add:",
        "      - video",
        "      - render",
    ]


def _limits(result: Result, backend: str | None) -> list[str]:
    limits, lines = result.host_limits, []
    if limits is not None and limits.n_cpus is not None:
        lines.append(f'          cpus: "{limits.n_cpus}.0"')
    if limits is not None and limits.ram_per_model_bytes is not None:
        lines.append(f'          memory: "{limits.ram_per_model_bytes}b"')
    if lines:
        lines.insert(0, "        limits:")
    if backend == "CUDA":
        lines += [
            "        reservations:",
            "          devices:",
            "            - driver: nvidia",
            f"              {_cards(result)}",
            "              capabilities: [gpu]",
        ]
    return ["    deploy:", "      resources:", *lines] if lines else []


def _nvidia_indices(result: Result) -> list[int]:
    """Return the numbers of the measured cards for nvidia-smi, in the order of their use; none if one is not known."""
    gpus = result.hardware.device.gpus or ()
    known = [gpu.nvidia_index for gpu in gpus if gpu.nvidia_index is not None]
    return known if len(known) == len(gpus) else []


def _renumbered(indices: Sequence[int]) -> str | None:
    """Return the names of several cards in a container that has only these; None for one card, which needs no name."""
    return ",".join(f"CUDA{sorted(indices).index(each)}" for each in indices) if len(indices) > 1 else None


def _cards(result: Result) -> str:
    """Return which cards a container reserves: the measured ones if they are known, else as many."""
    if indices := _nvidia_indices(result):
        return f"device_ids: [{', '.join(double_quoted(str(index)) for index in sorted(indices))}]"
    return f"count: {len(result.budget.devices or (None,))}"
