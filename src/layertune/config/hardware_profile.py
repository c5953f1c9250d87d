"""What is known of a machine: written by hand from public sources, or by `layertune profile` from the machine itself.

No figure without its source: a profile leaves out what nobody has told or measured.
"""

from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from layertune.config.fields import MAX_THREADS, Size, Within
from layertune.config.loading import first_problem, read_table
from layertune.errors import ConfigError, listed
from layertune.regular_files import is_there

FOLDER = Path("configs", "hardware")

_DOCS = "docs/hardware.md"

Source = Annotated[str, Field(min_length=1, description="Where the figure comes from: who tells it, and where.")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(_Table):
    """How much memory there is."""

    size: Size
    source: Source


class Bandwidth(_Table):
    """How fast memory is read, in bytes per second; `n_threads` where this many threads measured it."""

    bytes_per_s: Annotated[Size, Field(gt=0)]
    source: Source
    n_threads: Annotated[int | None, Within(1, MAX_THREADS)] = None


class PowerLimit(_Table):
    """What the GPU may draw; on a laptop it follows the power supply and the maker's profile."""

    watts: Annotated[float, Within(0.1, 100_000.0)]
    source: Source


class DeviceProfile(_Table):
    """What layers are offloaded to. `name` is the driver's own, so that it can be found again in a result; `n_threads`
    are an emulated card's."""

    kind: Literal["gpu", "emulated", "cpu"]
    name: str = Field(min_length=1)
    driver: str | None = None
    vram: Memory | None = None
    bandwidth: Bandwidth | None = None
    power_limit: PowerLimit | None = None
    n_threads: Annotated[int | None, Within(1, MAX_THREADS)] = None


class HostProfile(_Table):
    """The machine around the device. `power` is None where it does not tell, as one without a battery."""

    cpu: str
    n_cores: Annotated[int, Within(1, MAX_THREADS)]
    ram: Memory
    bandwidth: Bandwidth | None = None
    power: Literal["mains", "battery"] | None = None


class BuildProfile(_Table):
    """The llama.cpp that was there. `flags` are its own words for what it was built with."""

    version: str
    commit: str
    llama_cpp_python: str
    flags: str
    rpc: bool


class HardwareProfile(_Table):
    """One machine, or one card of which the machine around is left open.

    `fingerprint` is that of a result.json made on this machine and device.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    fingerprint: str | None = None
    device: DeviceProfile
    host: HostProfile | None = None
    llama_cpp: BuildProfile | None = None


def load_hardware(path: Path) -> HardwareProfile:
    """Read a hardware profile.

    Raises:
        ConfigError: the file is missing or unreadable, is not TOML, or a key in it is wrong.
    """
    try:
        return HardwareProfile.model_validate(read_table(path, "a hardware profile"))
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error, docs=_DOCS)}") from error


def find_hardware(name: str, folder: Path = FOLDER) -> HardwareProfile:
    """Read the profile of that name in `folder`, or of that path.

    Raises:
        ConfigError: there is no such profile, or it is wrong.
    """
    path = folder / f"{name}.toml"
    if is_there(path):
        return load_hardware(path)
    if is_there(Path(name)) or Path(name).suffix == ".toml":
        return load_hardware(Path(name))
    there = listed(sorted(each.stem for each in folder.glob("*.toml")))
    names = f"one of {there}" if there else f"a profile's path: {folder} is not here"
    raise ConfigError(f"there is no hardware profile {name}", remedy=f"give {names}")


def dump_hardware(profile: HardwareProfile) -> str:
    """Return the profile as TOML, without what is not known."""
    return tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True))
