"""The protocol of a memory probe, and the probe of several devices."""

from collections.abc import Sequence
from typing import Protocol

from layertune.vram.vram_report import VramReport


class VramProbe(Protocol):
    """Watches one device's memory during a worker's trials.

    For each trial, call `start`, then `mark` after each phase, then `stop`.
    """

    def start(self) -> None:
        """Begin a trial, and drop the peak, the phases and the counters of the previous trial.

        The first call takes the baseline, so this worker must not have loaded models yet. Later calls keep it.

        Raises:
            DeviceError: there is no baseline, because the device does not answer.
        """
        ...

    def mark(self, phase: str) -> None:
        """Record the bytes in use at the end of `phase`."""
        ...

    def read(self) -> int:
        """Return the bytes in use now, in the report's scope. Call it after the first `start`, also between trials.

        Raises:
            DeviceError: the device does not answer.
        """
        ...

    def stop(self) -> VramReport:
        """Stop watching and return the report of the time since `start`.

        Raises:
            DeviceError: the device has not answered at all since then.
        """
        ...


class MultiDeviceProbe:
    """A composite of one probe per device, in their order; its values are sums over the devices.

    The peak is the sum of the devices' peaks, even if these occurred at different times: each device must hold its own.
    """

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
        """Return the sums, with the scope and the sampling of the least exact device."""
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
    """Return the sum over the devices, for each phase in which all of them were read."""
    return {name: sum(each[name] for each in phases) for name in phases[0] if all(name in each for each in phases)}
