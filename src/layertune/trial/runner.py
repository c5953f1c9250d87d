"""The seam between the search and everything that runs models."""

from typing import Protocol

from layertune.settings import SplitSettings
from layertune.trial.outcome import TrialOutcome


class TrialRunner(Protocol):
    """Runs one setting to its outcome. A real one spawns a worker process; tests replay recorded outcomes."""

    def run(self, settings: SplitSettings) -> TrialOutcome:
        """Return what became of `settings`. Death, hang and refusal are outcomes; KeyboardInterrupt passes through."""
        ...
