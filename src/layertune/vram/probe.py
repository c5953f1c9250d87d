"""The seam between a trial and whatever can tell the device's memory."""

from collections.abc import Sequence
from typing import Protocol

from layertune.vram.vram_report import VramReport


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


class MultiDeviceProbe:
    """One probe for each device, in their order. Every figure is their sum, and so is the peak: the devices need not
    have been full at the same time, but each has to hold its own."""

    def __init__(self, probes: Sequence[VramProbe]) -> None:
        self._probes = tuple(probes)

    def start(self) -> None:
        for probe in self._probes:
            probe.start()

    def mark(self, phase: str) -> None:
        for probe in self._probes:
            probe.mark(phase)

    def read(self) -> int:
        return sum(probe.read() for probe in self._probes)

    def stop(self) -> VramReport:
        """The scope and the sampling are those of the device of which least is known."""
        reports = tuple(probe.stop() for probe in self._probes)
        foreign = [each.foreign_bytes for each in reports if each.foreign_bytes is not None]
        widest = next((each for each in reports if each.scope == "device"), reports[0])
        sampled = [each.sampling for each in reports if each.sampling is not None]
        return VramReport(
            peak_bytes=sum(each.peak_bytes for each in reports),
            baseline_bytes=sum(each.baseline_bytes for each in reports),
            scope=widest.scope,
            source=widest.source,
            phases=_sums([each.phases for each in reports]),
            foreign_bytes=sum(foreign) if len(foreign) == len(reports) else None,
            sampling=max(sampled, key=lambda each: each.n_missed, default=None),
            notes=tuple(f"device {index}: {note}" for index, each in enumerate(reports) for note in each.notes),
            devices=reports,
        )


def _sums(phases: Sequence[dict[str, int]]) -> dict[str, int]:
    """Return the sum of every phase at which all devices were read."""
    return {name: sum(each[name] for each in phases) for name in phases[0] if all(name in each for each in phases)}
