"""The device that a study asks for. `layertune.devices` checks whether this machine has it."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from layertune.config.fields import Within
from layertune.units import MAX_SIZE_BYTES, parse_bytes, quoted

DeviceKind = Literal["auto", "gpu", "emulated", "cpu"]

_FORMS = "auto, cpu, gpu:0 or emulated:6GiB; for several devices gpu:0+1 or emulated:4GiB+2GiB"
_BETWEEN = "+"
_MOST_DEVICES = 15  # common/arg.cpp: --tensor-split takes fewer proportions than llama_max_devices()


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A parsed `--device`: `auto`, `cpu`, `gpu:N` or `emulated:SIZE`; several GPUs or sizes are joined with `+`.

    Their order is that of `tensor_split`.
    """

    kind: DeviceKind
    indices: tuple[int, ...] = ()
    sizes_bytes: tuple[int, ...] = ()

    @property
    def n_devices(self) -> int:
        """The number of devices to offload to, if this machine has them."""
        return 0 if self.kind == "cpu" else max(1, len(self.indices), len(self.sizes_bytes))

    @classmethod
    def parse(cls, text: str) -> "DeviceChoice":
        """Raises ValueError with the accepted forms."""
        kind, _, detail = text.strip().partition(":")
        if detail.count(_BETWEEN) >= _MOST_DEVICES:
            raise ValueError(f"{quoted(text)} is more devices than llama.cpp supports; name {_MOST_DEVICES} at most")
        if kind in ("auto", "cpu") and not detail:
            return cls("auto" if kind == "auto" else "cpu")
        if kind == "gpu" and re.fullmatch(r"\d{1,4}(\+\d{1,4})*", detail, re.ASCII):
            indices = tuple(int(index) for index in detail.split(_BETWEEN))
            if len(set(indices)) < len(indices):
                raise ValueError(f"{quoted(text)} names a GPU twice; name each once, like gpu:0+1")
            return cls("gpu", indices=indices)
        if kind == "emulated" and detail:
            sizes_bytes = tuple(parse_bytes(size) for size in detail.split(_BETWEEN))
            if 0 in sizes_bytes:
                raise ValueError("an emulated card of 0 bytes holds nothing; write its size, like emulated:6GiB")
            return cls("emulated", sizes_bytes=sizes_bytes)
        raise ValueError(f"{quoted(text)} is not a device; write {_FORMS}")


def _checked(text: str) -> str:
    DeviceChoice.parse(text)
    return text


# The text that the user wrote, checked to name a device.
DeviceText = Annotated[str, AfterValidator(_checked)]


def _sizes(written: Any) -> Any:
    """Return one size, or one for each device."""
    if isinstance(written, str) and _BETWEEN in written:
        written = written.split(_BETWEEN)
    return tuple(map(parse_bytes, written)) if isinstance(written, (list, tuple)) else parse_bytes(written)


# One size, or one for each device.
DeviceSizes = Annotated[
    int | tuple[int, ...],
    BeforeValidator(_sizes),
    WithJsonSchema(
        {
            "type": ["integer", "string", "array"],
            "minimum": 0,
            "maximum": MAX_SIZE_BYTES,
            "examples": ["6GiB", "6141MiB", "4GiB+2GiB"],
        }
    ),
]


class EmulatedOptions(BaseModel):
    """Options of the emulated card. They are used only if the device is `emulated:…`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_threads: Annotated[int | None, Within.of_setting("n_threads")] = Field(
        default=None,
        description="CPU threads that the emulated card computes with; without it, the cores that the models leave.",
    )
