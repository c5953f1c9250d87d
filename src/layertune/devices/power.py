"""Where the machine's power comes from. psutil is imported where it is used: it is slow to."""

from dataclasses import dataclass
from typing import Literal

PowerSource = Literal["mains", "battery"]


@dataclass(frozen=True, slots=True)
class Battery:
    """`plugged_in` is None where the system does not tell."""

    percent: float
    plugged_in: bool | None


def battery() -> Battery | None:
    """Return the battery, None where there is none or the system does not tell."""
    import psutil

    try:
        found = psutil.sensors_battery()
    except (psutil.Error, OSError, NotImplementedError, AttributeError):  # AttributeError: a platform without it
        return None
    return None if found is None else Battery(found.percent, found.power_plugged)


def power_source(found: Battery | None) -> PowerSource | None:
    """Return what `battery` says of the power; None where it says nothing, as on a machine without a battery."""
    if found is None or found.plugged_in is None:
        return None
    return "mains" if found.plugged_in else "battery"
