"""A runner that measures only while the device is its own."""

from collections.abc import Callable

from layertune.devices.turn import DeviceTurn
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import TrialOutcome
from layertune.trial.runner import GiveUp, TrialRunner, never


class TurnTakingRunner:
    """Keeps the device from trial to trial until another process waits for it; then the worker goes too, with the
    weights that it holds in the device's memory."""

    def __init__(self, runner: TrialRunner, turn: DeviceTurn) -> None:
        self._runner = runner
        self._turn = turn
        self.on_wait: Callable[[str], None] = _quiet

    def prepare(self, settings: SplitSettings) -> None:
        self._take()
        self._runner.prepare(settings)

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        self._take()
        return self._runner.run(settings, effort, give_up)

    def close(self) -> None:
        self._runner.close()
        self._turn.give()

    def _take(self) -> None:
        if self._turn.is_wanted():
            self.close()
        self._turn.take(self.on_wait)


def _quiet(_owner: str) -> None:
    """No one watches."""
