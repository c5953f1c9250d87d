"""A machine's hardware: written by hand from public sources, or by `layertune profile` on the machine itself.

Every value has its source. A profile leaves out what is not documented or measured.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from layertune.config.fields import MAX_THREADS, Size, Within
from layertune.config.loading import first_problem, read_table
from layertune.config.shipped import shipped_configs
from layertune.errors import ConfigError, listed
from layertune.regular_files import is_there

OWN_FOLDER = Path("configs", "hardware")

_DOCS = "docs/hardware.md"
_NEAR = 0.6  # of a name, to be suggested

Source = Annotated[str, Field(min_length=1, description="The source of the value: who published it, and where.")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(_Table):
    """The amount of memory."""

    size: Size
    source: Source


class Bandwidth(_Table):
    """The speed of reading memory; `n_threads` is the number of threads that measured it, if known."""

    bytes_per_s: Annotated[Size, Field(gt=0)]
    source: Source
    n_threads: Annotated[int | None, Within(1, MAX_THREADS)] = None


class PowerLimit(_Table):
    """The GPU's power limit. On a laptop it depends on the power supply and the manufacturer's profile."""

    watts: Annotated[float, Within(0.1, 100_000.0)]
    source: Source


class DeviceProfile(_Table):
    """The device that layers are offloaded to.

    `name` is the driver's name for it, which results have too. `n_threads` is for an emulated card only.
    """

    kind: Literal["gpu", "emulated", "cpu"]
    name: str = Field(min_length=1)
    driver: str | None = None
    vram: Memory | None = None
    bandwidth: Bandwidth | None = None
    power_limit: PowerLimit | None = None
    n_threads: Annotated[int | None, Within(1, MAX_THREADS)] = None


class HostProfile(_Table):
    """The machine around the device. `power` is None if it is unknown, for example without a battery."""

    cpu: str
    n_cores: Annotated[int, Within(1, MAX_THREADS)]
    ram: Memory
    bandwidth: Bandwidth | None = None
    power: Literal["mains", "battery"] | None = None


class BuildProfile(_Table):
    """The llama.cpp build. `flags` is its own description of the options that it was built with."""

    version: str
    commit: str
    llama_cpp_python: str
    flags: str
    rpc: bool


class HardwareProfile(_Table):
    """One machine, or one card without a machine.

    `fingerprint` is the one of a result.json made on this machine and device.
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


def find_hardware(name: str, folder: Path | None = None) -> HardwareProfile:
    """Read a profile by its name among `profile_files`, or by its path.

    Raises:
        ConfigError: there is no such profile, or it is wrong.
    """
    files = profile_files(folder)
    if name in files:
        return load_hardware(files[name])
    if is_there(Path(name)) or Path(name).suffix == ".toml":
        return load_hardware(Path(name))
    near = get_close_matches(name.lower(), files, cutoff=_NEAR)
    known = f"{listed(files)}; layertune hardware describes them" if files else "the path of a profile"
    remedy = f"did you mean {' or '.join(near)}?" if near else f"give {known}"
    raise ConfigError(f"there is no hardware profile {name}", remedy=remedy)


def profile_files(folder: Path | None = None) -> dict[str, Path]:
    """Return the known profiles by name: the user's own in `folder` first, then those that layertune is shipped with.

    Args:
        folder: Without it `configs/hardware` of the current folder.
    """
    own = OWN_FOLDER if folder is None else folder
    shipped = shipped_configs() / "hardware"
    return {path.stem: path for place in (shipped, own) for path in sorted(place.glob("*.toml"))}


def dump_hardware(profile: HardwareProfile) -> str:
    """Return the profile as TOML, without unknown values."""
    return tomli_w.dumps(profile.model_dump(mode="json", exclude_none=True))
