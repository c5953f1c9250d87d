"""The seam between a trial and whatever can tell the device's memory."""

from typing import Protocol

from layertune.vram.report import VramReport


class VramProbe(Protocol):
    """Watches one device over one trial: `start`, then a `mark` after each phase, then `stop`."""

    def start(self) -> None:
        """Take the baseline and begin to watch."""
        ...

    def mark(self, phase: str) -> None:
        """Note the bytes in use now that `phase` is over."""
        ...

    def stop(self) -> VramReport:
        """Stop watching; the peak is that of the whole time since `start`."""
        ...
