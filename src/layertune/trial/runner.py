"""The seam between the search and everything that runs models."""

from collections.abc import Callable
from typing import Protocol

from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import TrialOutcome

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
