"""A runner whose first load is paid for before its first trial."""

from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import TrialOutcome
from layertune.trial.runner import GiveUp, TrialRunner, never


class PreparedRunner:
    """Prepares with `settings`, else with those of the first trial, once and only where there is a trial at all."""

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
