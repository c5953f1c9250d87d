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
from layertune.trial.outcome import Failed, Measured, TrialOutcome

# Called with what a trial has measured so far; returns the reason to end it early, or None.
GiveUp = Callable[[Progress], str | None]


def never(_progress: Progress) -> str | None:
    """A `GiveUp` that ends no trial early."""
    return None


class TrialRunner(Protocol):
    """Measures settings. `ProcessTrialRunner` starts worker processes; tests replay recorded outcomes."""

    def prepare(self, settings: SplitSettings) -> None:
        """Load and run `settings` once without timing, so that no trial includes the costs of the first load."""
        ...

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        """Return the outcome of `settings`. A crash, a hang and a refusal are outcomes; KeyboardInterrupt is raised.

        Raises:
            ModelFileError: a model file is not the one that the study began with.
        """
        ...

    def close(self) -> None:
        """Release the device and everything kept between trials. `run` may be called again."""
        ...


class PreparedRunner:
    """Prepares a runner once before its first trial, with `settings` or else with the first trial's settings."""

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

    A trial that was cut short, since it was far slower than expected, is repeated as well. `keep` is called with each
    measurement that is repeated. The warnings of the outcome name every disturbance.
    """
    disturbed: list[str] = []
    while True:
        outcome = runner.run(settings, effort, give_up)
        n_done = len(disturbed) + 1
        if isinstance(outcome, Failed) and outcome.reason == "slow" and n_done < n_attempts:
            disturbed.append(outcome.detail)
            continue
        if not isinstance(outcome, Measured):
            return outcome
        if not outcome.disturbances or n_done >= n_attempts:
            repeats = [f"measured again, since {why}" for why in disturbed]
            return replace(outcome, warnings=(*outcome.warnings, *repeats))
        keep(outcome)
        disturbed.append(" and ".join(outcome.disturbances))


def _ignore(_owner: str) -> None:
    """The default of `on_wait`: nothing is shown while waiting."""
