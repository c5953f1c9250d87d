"""A fake runner on roomy devices where every setting takes what its plan says."""

from collections.abc import Sequence
from dataclasses import replace

from layertune.memory import Planner
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.vram.vram_report import Scope, VramReport


class PlannedRunner(FakeRunner):
    def __init__(self, planner: Planner) -> None:
        super().__init__(cap_bytes=2**40)
        self._planner = planner

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        outcome = super().run(settings, effort, give_up)
        assert isinstance(outcome, Measured)
        plan = self._planner.plan(settings)
        return replace(outcome, vram=report([plan.bytes_on(device) or 0 for device in plan.devices]))


def report(peaks: Sequence[int], scope: Scope = "card") -> VramReport:
    """Return what devices tell that held so much, once loaded and at most."""
    each = tuple(VramReport(peak, 0, scope, "ledger", {"load": peak}) for peak in peaks)
    if len(each) == 1:
        return each[0]
    return VramReport(sum(peaks), 0, scope, "ledger", {"load": sum(peaks)}, devices=each)
