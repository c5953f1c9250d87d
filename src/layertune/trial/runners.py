"""The protocol of a trial runner, and what a search wraps around one.

The wrappers run a warm-up before the first trial, hold the lease of the device, and repeat disturbed measurements.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from layertune.devices.lease import DeviceLease
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import Measured, TrialOutcome

# Told what a trial has measured so far; returns why it need not go on, or None.
GiveUp = Callable[[Progress], str | None]


def never(_progress: Progress) -> str | None:
    """Let every trial go on to its end."""
    return None


class TrialRunner(Protocol):
    """Runs settings to their outcome. A real one spawns worker processes; tests replay recorded outcomes."""

    def prepare(self, settings: SplitSettings) -> None:
        """Load and run `settings` once, unclocked: what only the first load costs is paid before any trial."""
        ...

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        """Return what became of `settings`. Death, hang and refusal are outcomes; KeyboardInterrupt passes through.

        Raises:
            ModelFileError: a model file is not the one that the study began with.
        """
        ...

    def close(self) -> None:
        """Let go of the device and of all that was kept between trials; `run` may be called again."""
        ...


class PreparedRunner:
    """Prepares the runner once, before its first trial, with `settings`; without them with the first trial's own."""

    def __init__(self, runner: TrialRunner, settings: SplitSettings | None) -> None:
        self._runner = runner
        self._settings = settings
        self._prepared = False

    def prepare(self, settings: SplitSettings) -> None:
        self._runner.prepare(settings)
        self._prepared = True

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        if not self._prepared:
            self.prepare(self._settings or settings)
        return self._runner.run(settings, effort, give_up)

    def close(self) -> None:
        self._runner.close()


class LeasingRunner:
    """Runs trials only while this process holds the device's lease.

    It keeps the lease from trial to trial until another process waits for it. Then it closes the runner first, since a
    worker holds weights in the device's memory.
    """

    def __init__(self, runner: TrialRunner, lease: DeviceLease) -> None:
        self._runner = runner
        self._lease = lease
        self.on_wait: Callable[[str], None] = _ignore

    def prepare(self, settings: SplitSettings) -> None:
        self._acquire()
        self._runner.prepare(settings)

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        self._acquire()
        return self._runner.run(settings, effort, give_up)

    def close(self) -> None:
        self._runner.close()
        self._lease.release()

    def _acquire(self) -> None:
        if self._lease.is_wanted():
            self.close()
        self._lease.acquire(self.on_wait)


def measure_undisturbed(
    runner: TrialRunner,
    settings: SplitSettings,
    effort: Effort,
    n_attempts: int,
    keep: Callable[[Measured], None],
    give_up: GiveUp = never,
) -> TrialOutcome:
    """Return the first outcome that nothing disturbed, or the last of `n_attempts`.

    `keep` is called with each measurement that is repeated. The warnings of the outcome name every disturbance.
    """
    disturbed: list[str] = []
    while True:
        outcome = runner.run(settings, effort, give_up)
        n_done = len(disturbed) + 1
        if not isinstance(outcome, Measured):
            return outcome
        if not outcome.disturbances or n_done >= n_attempts:
            repeats = [f"measured again, since {why}" for why in disturbed]
            return replace(outcome, warnings=(*outcome.warnings, *repeats))
        keep(outcome)
        disturbed.append(" and ".join(outcome.disturbances))


def _ignore(_owner: str) -> None:
    """The default of `on_wait`: nothing is shown while waiting."""
