"""Several devices watched as one."""

from collections.abc import Sequence

from layertune.vram.probe import VramProbe
from layertune.vram.report import VramReport


class ProbesTogether:
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
