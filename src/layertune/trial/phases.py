"""The memory of a device over a trial, phase by phase."""

from collections.abc import Sequence

from layertune.errors import DeviceError
from layertune.trial.outcome import Held
from layertune.trial.resident import Residents
from layertune.vram.probe import VramProbe
from layertune.vram.report import VramReport


class Phases:
    """Marks the end of each phase on the probe, and notes what was in memory then. Without a probe it does nothing."""

    def __init__(self, probe: VramProbe | None, residents: Residents) -> None:
        self._probe = probe
        self._residents = residents
        self.held: dict[str, Held] = {}

    def start(self) -> None:
        """Begin to watch, with nothing in memory but the weights that stay: before the first models are loaded."""
        if self._probe is not None:
            self._probe.start()
        self.mark("idle", ())

    def mark(self, phase: str, contexts: Sequence[str]) -> None:
        if self._probe is not None:
            self._probe.mark(phase)
            self.held[phase] = Held(self._residents.names, tuple(contexts))

    def used_bytes(self) -> int | None:
        """Return what is in use now, None without a probe and where it is not told this time."""
        if self._probe is None:
            return None
        try:
            return self._probe.read()
        except DeviceError:
            return None

    def report(self) -> VramReport | None:
        return None if self._probe is None else self._probe.stop()
