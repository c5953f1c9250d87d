"""The seam between a trial and whatever can tell the device's memory."""

from typing import Protocol

from layertune.vram.report import VramReport


class VramProbe(Protocol):
    """Watches one device over a worker's trials: for each `start`, a `mark` after each phase, then `stop`."""

    def start(self) -> None:
        """Begin a trial. The first call takes the baseline, so the device must be empty of this worker's models; later
        ones keep it, and forget the peak, the phases and the counters of the trial before, stopped or not.

        Raises:
            DeviceError: there is no baseline, because the device does not answer.
        """
        ...

    def mark(self, phase: str) -> None:
        """Note the bytes in use now that `phase` is over."""
        ...

    def read(self) -> int:
        """Return the bytes in use now, in the report's terms; for after the first `start`, between trials too.

        Raises:
            DeviceError: the device does not answer.
        """
        ...

    def stop(self) -> VramReport:
        """Stop watching; the peak is that of the whole time since `start`.

        Raises:
            DeviceError: the device did not answer once since then, so there is no figure.
        """
        ...
