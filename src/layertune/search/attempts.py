"""One setting measured in a quiet moment: what something disturbed is measured again, not averaged."""

from collections.abc import Callable
from dataclasses import replace

from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.runner import GiveUp, TrialRunner, never


def measure_in_quiet(
    runner: TrialRunner,
    settings: SplitSettings,
    effort: Effort,
    n_attempts: int,
    keep: Callable[[Measured], None],
    give_up: GiveUp = never,
) -> TrialOutcome:
    """Return the first undisturbed outcome, or the last of `n_attempts`; `keep` gets each that was measured again.

    What disturbed is told among the outcome's warnings, whether it was repeated or stands.
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
