"""Speeds at half and full context, of the trials that were measured there."""

from collections.abc import Iterator

from layertune.results.result import Result
from layertune.results.trial_info import TrialInfo

# The turns in the order of their depth: heading, prompt processing speed and token generation speed.
DEPTHS = (
    ("empty", "pp_tokens_per_s", "tg_tokens_per_s"),
    ("half", "pp_tokens_per_s_half", "tg_tokens_per_s_half"),
    ("full", "pp_tokens_per_s_full", "tg_tokens_per_s_full"),
)
_ALL = {"turn_s", *(quantity for _, *quantities in DEPTHS for quantity in quantities)}


def measured_at_depth(result: Result) -> Iterator[tuple[TrialInfo, str]]:
    """Yield every trial with each of its models that was timed at depth."""
    for trial in result.trials:
        for model, metrics in (trial.metrics or {}).items():
            if metrics.keys() >= _ALL:
                yield trial, model


def depth_words(trial: TrialInfo, model: str) -> str:
    """Return the speeds of a model of `measured_at_depth`, as a sentence fragment."""
    metrics, n_slot = (trial.metrics or {})[model], trial.settings[model].n_ctx_slot
    empty, half, full = (metrics[generation].median for _, _, generation in DEPTHS)
    return (
        f"generates {empty:.1f} tokens/s with an empty context, {half:.1f} at half and {full:.1f} at full context "
        f"({n_slot} tokens); a turn at half context takes {metrics['turn_s'].median:.1f} s"
    )


def depth_remarks(result: Result) -> list[str]:
    """Return a sentence for each model of each pick that was timed at depth."""
    picked = set(result.picks.values())
    return [
        f"{model} in trial {trial.number} {depth_words(trial, model)}."
        for trial, model in measured_at_depth(result)
        if trial.number in picked
    ]
