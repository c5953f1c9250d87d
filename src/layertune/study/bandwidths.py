"""The memory bandwidths that the hardware profiles have of a card."""

from pathlib import Path

from layertune.config import load_hardware
from layertune.config.hardware_profile import Bandwidth, profile_files

# What a driver keeps back is in one figure and not in the other; two sizes of one card are further apart.
_SAME_SIZE = 0.1


def known_bandwidths(name: str, vram_bytes: int | None, folder: Path | None = None) -> list[Bandwidth]:
    """Return the bandwidths that the hardware profiles have of a card, by its name and size.

    A profile without a memory size matches every size.

    Raises:
        ConfigError: a profile there is wrong.
    """
    profiles = [load_hardware(path) for path in profile_files(folder).values()]
    return [
        each.bandwidth
        for each in (profile.device for profile in profiles)
        if each.name == name
        and each.bandwidth is not None
        and (each.vram is None or is_as_large(vram_bytes, each.vram.size))
    ]


def is_as_large(own_bytes: int | None, other_bytes: int) -> bool:
    """Say whether two cards of one name have one size. Drivers and llama.cpp report slightly different sizes."""
    return own_bytes is not None and abs(own_bytes - other_bytes) < other_bytes * _SAME_SIZE


def is_measured(bandwidth: Bandwidth) -> bool:
    return bandwidth.source.startswith("measured")
