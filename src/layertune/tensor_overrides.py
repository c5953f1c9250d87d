"""Tensors that stay on the host although their layers are on a device: llama-server's --override-tensor."""

import re
from collections.abc import Sequence

from layertune.units import quoted

# Sorted, like ("blk[.][0-3][.]ffn_up=CPU",). With a single device to name, their order does not matter.
TensorOverrides = tuple[str, ...]

_HOST = "CPU"  # the name of the host's buffers in llama.cpp
# Without commas, which llama-server splits at, and without what a `.env`, a preset or a compose file would change.
_FORM = re.compile(rf"(?P<pattern>[\w.\-|()\[\]*+?^:]+)={_HOST}", re.ASCII)
_PLAINER = {r"\.": "[.]", r"\d": "[0-9]"}


def parse_tensor_overrides(written: str | Sequence[str]) -> TensorOverrides:
    r"""Return overrides from llama-server's form, like `"PATTERN=CPU,PATTERN=CPU"`, or from several such texts.

    `\.` and `\d` become `[.]` and `[0-9]`: a `.env` file cannot contain a backslash.

    Raises:
        ValueError: they are no overrides; the message says how to write them.
    """
    texts = written if isinstance(written, (list, tuple)) else [written]
    found = []
    for each in (part for text in texts if text != "" for part in str(text).split(",")):
        plainer = each
        for escape, plain in _PLAINER.items():
            plainer = plainer.replace(escape, plain)
        match = _FORM.fullmatch(plainer)
        try:
            re.compile(match["pattern"] if match else "(")
        except re.error as error:
            raise ValueError(
                f"{quoted(each)} is no override of tensors; write a pattern of letters, digits, . _ - and the signs "
                rf"| ( ) [ ] * + ? ^ \. \d, and {_HOST}, the only device, like blk\.[0-3]\.ffn_up={_HOST}"
            ) from error
        found.append(plainer)
    return tuple(sorted(set(found)))


def format_tensor_overrides(overrides: TensorOverrides) -> str:
    """Return overrides in the form of llama-server's --override-tensor; empty without any."""
    return ",".join(overrides)


def patterns(overrides: TensorOverrides) -> list[str]:
    """Return the regular expressions; a tensor stays on the host if one is found in its name."""
    return [each.rpartition("=")[0] for each in overrides]
