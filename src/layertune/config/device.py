"""Which device a study asks for. Whether this machine has it is `layertune.devices`' business."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from layertune.units import parse_bytes

DeviceKind = Literal["auto", "gpu", "emulated", "cpu"]

_FORMS = "auto, cpu, gpu:0 or emulated:6GiB"


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A parsed `--device`: `auto`, `cpu`, `gpu:N` or `emulated:SIZE`."""

    kind: DeviceKind
    index: int | None = None
    vram_bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> "DeviceChoice":
        """Raises ValueError with the accepted forms."""
        kind, _, detail = text.strip().partition(":")
        if kind in ("auto", "cpu") and not detail:
            return cls("auto" if kind == "auto" else "cpu")
        if kind == "gpu" and re.fullmatch(r"\d+", detail, re.ASCII):
            return cls("gpu", index=int(detail))
        if kind == "emulated" and detail:
            vram_bytes = parse_bytes(detail)
            if vram_bytes == 0:
                raise ValueError("an emulated card of 0 bytes holds nothing; write its size, like emulated:6GiB")
            return cls("emulated", vram_bytes=vram_bytes)
        raise ValueError(f"{text!r} is not a device; write {_FORMS}")


def _checked(text: str) -> str:
    DeviceChoice.parse(text)
    return text


# As the user wrote it, and known to be a device's name.
DeviceText = Annotated[str, AfterValidator(_checked)]


class EmulatedOptions(BaseModel):
    """How the emulated card computes. Read only when the device is `emulated:…`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_threads: int = Field(default=2, ge=1, description="CPU threads the emulated card computes with.")
