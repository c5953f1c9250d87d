"""The known hardware profiles, as a table and as JSON."""

from typing import Any

from layertune.config import HardwareProfile, load_hardware
from layertune.config.hardware_profile import profile_files
from layertune.tables import Table
from layertune.units import format_bytes


def known_profiles() -> list[HardwareProfile]:
    """Return the known profiles, in the order of their names.

    Raises:
        ConfigError: one of the user's own is wrong.
    """
    return [load_hardware(path) for _, path in sorted(profile_files().items())]


def profile_table(profiles: list[HardwareProfile]) -> Table:
    """Return one row for each profile; what is not known is a dash."""
    table = Table()
    table.column("name")
    table.column("device")
    table.column("memory", right=True)
    table.column("bandwidth", right=True)
    for each in profiles:
        vram, bandwidth = each.device.vram, each.device.bandwidth
        table.row(
            each.name,
            each.device.name,
            "–" if vram is None else format_bytes(vram.size),
            "–" if bandwidth is None else f"{bandwidth.bytes_per_s / 1e9:.0f} GB/s",
        )
    return table


def profiles_json(profiles: list[HardwareProfile]) -> dict[str, Any]:
    return {"profiles": [each.model_dump(mode="json", exclude_none=True) for each in profiles]}
