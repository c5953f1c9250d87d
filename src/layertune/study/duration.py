"""How long a search is expected to take, before anything is measured."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from layertune.errors import LayertuneError
from layertune.sampler.stopping import LEAST_PROPOSALS
from layertune.search.schedule import Schedule
from layertune.search.time_left import N_VALIDATED, TYPICAL_NOISES, loads_of_finals
from layertune.settings import SplitSettings
from layertune.study.bandwidth_model import MachineRates, engine_time
from layertune.study.facts import StudyFacts
from layertune.study.file_quality import check_quality
from layertune.study.quality_duration import QualityDuration, quality_duration
from layertune.study.recommendation import recommend
from layertune.study.search_task import schedule_of
from layertune.units import format_duration

# The seconds of a measured workload over those expected from bandwidth: the least and the largest of
# benchmarks/recommendation.
_RATIO = (0.87, 2.45)

# Measuring is about this share of a trial's time; the rest is loading and warm-up (the demo, on the emulated card).
_MEASURING = 0.6


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a search takes, from the least to the most that is expected.

    Attributes:
        n_trials: The search's own trials.
        trial_s: Seconds of one trial.
        n_loads: Measurements after the trials: finals and validation runs.
        limit_s: The time limit of the search; None for none.
        fill_s: Seconds in which the validation runs fill contexts. If a speed at depth is sought, trials and all
            measurements after them fill contexts, and this is 0.
        quality: The measurement of quality before the trials; None if there is none.
    """

    n_trials: tuple[int, int]
    trial_s: tuple[float, float]
    n_loads: tuple[int, int]
    limit_s: float | None
    fill_s: tuple[float, float] = (0.0, 0.0)
    quality: QualityDuration | None = None

    @property
    def seconds(self) -> tuple[float, float]:
        """The least and the most that the search is expected to take. The time limit begins after quality."""
        least_s, most_s = (
            (self.n_trials[end] + self.n_loads[end]) * self.trial_s[end] + self.fill_s[end] for end in (0, 1)
        )
        if self.limit_s is not None:
            least_s, most_s = min(least_s, self.limit_s), min(most_s, self.limit_s)
        first_s = (0.0, 0.0) if self.quality is None else self.quality.seconds
        return first_s[0] + least_s, first_s[1] + most_s

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, with the seconds of the whole search."""
        return {"seconds": self.seconds, **asdict(self)}

    def __str__(self) -> str:
        least_s, most_s = map(format_duration, self.seconds)
        limit = "" if self.limit_s is None else f" (time limit: {format_duration(self.limit_s)})"
        first = "" if self.quality is None else f"{self.quality}; then "
        fill_s = map(format_duration, self.fill_s)
        filled = f", with {' to '.join(fill_s)} to fill contexts" if self.fill_s[1] > 0 else ""
        return (
            f"about {least_s} to {most_s}{limit}: {first}{_to(*self.n_trials)} trials of "
            f"{format_duration(self.trial_s[0])} to {format_duration(self.trial_s[1])}, then {_to(*self.n_loads)} "
            f"measurements of the finals and validation runs{filled}"
        )


def expected_duration(study: StudyFacts) -> Duration | None:
    """Return how long the search of a study takes, by the speeds that are expected of its first settings.

    It is None where no speeds are expected.

    Raises:
        ConfigError: see `check_quality`.
    """
    check_quality(study.config)
    try:
        found = recommend(study)
    except LayertuneError as error:
        study.notify(f"how long the search takes is not known: {error}")
        return None
    machine = found.machine
    if machine is None:
        return None
    settings = [each for each in (found.best, *found.baselines.values()) if each is not None and each.fits]
    if not all(each.tokens_per_s for each in settings):
        return None
    workloads = {name: model.workload for name, model in study.config.models.items()}
    workload_s = fmean(
        sum(workload.n_counted / each.tokens_per_s[name] for name, workload in workloads.items()) for each in settings
    )
    schedule, search = schedule_of(study), study.config.search
    n_runs = schedule.effort.min_repeats + (1 if schedule.effort.together else 0)
    trial_s = n_runs * workload_s / _MEASURING + schedule.effort.warm_up_s
    fill_s, sought = _fill_s(study, [each.settings for each in settings], machine, schedule), schedule.effort.at_depth
    trial_s += fill_s if sought else 0.0
    n_fills = 0 if sought else N_VALIDATED * min(schedule.n_rounds_at_depth, schedule.n_most("validation"))
    n_most = search.n_trials
    ends_early = search.early_stop and search.sampler == "layer-split"
    n_least = min(n_most, len(study.initial_design) + LEAST_PROPOSALS) if ends_early else n_most
    quality = quality_duration(study, machine, _RATIO)
    trial = _RATIO[0] * trial_s, _RATIO[1] * trial_s
    fills = _RATIO[0] * n_fills * fill_s, _RATIO[1] * n_fills * fill_s
    return Duration((n_least, n_most), trial, _loads(schedule), search.timeout, fills, quality)


def _fill_s(study: StudyFacts, settings: Sequence[SplitSettings], rates: MachineRates, schedule: Schedule) -> float:
    """Return the mean seconds to fill the contexts that are measured at depth."""
    works = study.models.memories()
    limits_s = schedule.finals_effort.at_depth if schedule.n_rounds > 0 else schedule.effort.at_depth
    found_s = []
    for each in map(study.space.canonical, settings):
        for name, limit_s in limits_s.items():
            workload = study.config.models[name].workload
            longest = workload.model_copy(update={"n_prompt": each[name].n_ctx_slot})
            prompt_s = engine_time(works[name], each[name], longest, rates).prompt_s
            found_s.append(prompt_s if limit_s is None or prompt_s <= limit_s else 0.0)
    return sum(found_s) / len(settings)


def _loads(schedule: Schedule) -> tuple[int, int]:
    """Return the fewest measurements after the trials, and how many there are with the most contenders."""
    if schedule.n_rounds == 0:
        return 0, 0
    n_validation = N_VALIDATED * schedule.n_confirming
    return n_validation, loads_of_finals(schedule, schedule.n_finalists + 1, TYPICAL_NOISES[1]) + n_validation


def _to(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least} to {most}"
