"""Comparison of whole fronts: their hypervolumes, and the settings that two fronts share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layertune.config.objective import VRAM_PEAK, Objective
from layertune.results.qualities import resolved_objectives
from layertune.results.result import QualityInfo, Result, TrialInfo
from layertune.results.trial_info import MeasuredIn, last_in_common, recorded_value
from layertune.sampler.hypervolume import hypervolume
from layertune.settings import SplitSettings

# A latency has no natural worst value: it is the worst measured one, plus this share of the range so that it counts.
_BEYOND = 0.1


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference point (worst) and the best values that span the box of all hypervolumes, by objective."""

    objectives: tuple[str, ...]
    worst: tuple[float, ...]
    best: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """The number of settings that two fronts share, and of each front.

    Threads are compared only if both machines have the same number of cores.
    """

    n_shared: int
    n_first: int
    n_other: int
    threads_count: bool


def hypervolumes(results: Sequence[Result]) -> tuple[Reference | None, list[float | None]]:
    """Return each front's hypervolume as a share of the box between the common reference and the best of all fronts.

    Speeds and contexts are worst at 0, memory at the largest budget, a latency a little beyond the worst of all fronts.
    An objective with one value everywhere is left out. A study without a front has no hypervolume. No study has one if
    their objectives, or the files and texts that quality is measured with, differ, or if a value is missing. All speeds
    are of the last stage that measured all fronts, since speeds that a front was chosen by are biased upwards.
    """
    none: list[float | None] = [None] * len(results)
    if any(_optimised(other) != _optimised(results[0]) for other in results[1:]):
        return None, none
    objectives = resolved_objectives(results[0])
    fronts = [[result.trial(number) for number in result.pareto] for result in results]
    measured_in = last_in_common([trial for front in fronts for trial in front])
    costs = [
        _costs(front, resolved_objectives(result), measured_in) for front, result in zip(fronts, results, strict=True)
    ]
    whole = np.concatenate(costs)
    if len(whole) == 0 or np.isnan(whole).any():
        return None, none
    best, worst = whole.min(axis=0), _worst(objectives, results, whole)
    kept = worst > best
    if not kept.any():
        return None, none
    signs = _signs(objectives)
    reference = Reference(
        tuple(each.name for each, keeps in zip(objectives, kept, strict=True) if keeps),
        tuple((worst * signs + 0.0)[kept].tolist()),  # not -0
        tuple((best * signs)[kept].tolist()),
    )
    box, corner = (worst - best)[kept], np.ones(kept.sum())
    return reference, [hypervolume((each[:, kept] - best[kept]) / box, corner) if len(each) else None for each in costs]


def overlap(first: Result, other: Result) -> Overlap:
    threads_count = first.hardware.cpu.n_cores == other.hardware.cpu.n_cores
    fronts = [{_form(result.trial(number), threads_count) for number in result.pareto} for result in (first, other)]
    return Overlap(len(fronts[0] & fronts[1]), len(fronts[0]), len(fronts[1]), threads_count)


def _form(trial: TrialInfo, threads_count: bool) -> SplitSettings:
    """Return the settings, without threads if those do not count, in a form that can be compared."""
    engines = sorted(trial.settings.items())
    return SplitSettings.of({name: engine if threads_count else engine.with_threads(1) for name, engine in engines})


def _optimised(result: Result) -> list[object]:
    """Return the objectives, with the reference and the texts of those of quality."""
    return [
        (each, [_measured_with(quality) for quality in result.quality.get(each.subject, ())[:1]])
        if each.is_quality
        else each
        for each in resolved_objectives(result)
    ]


def _measured_with(quality: QualityInfo) -> tuple[object, ...]:
    return quality.reference, quality.text_sha256, quality.text_weights


def _costs(front: Sequence[TrialInfo], objectives: Sequence[Objective], measured_in: MeasuredIn) -> NDArray[np.float64]:
    """Return the front as costs, less being better, of shape (n, m); NaN stands for a missing value."""
    rows = [[recorded_value(trial, each, trial.metrics_of(measured_in)) for each in objectives] for trial in front]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * _signs(objectives)


def _worst(
    objectives: Sequence[Objective], results: Sequence[Result], whole: NDArray[np.float64]
) -> NDArray[np.float64]:
    worst: NDArray[np.float64] = whole.max(axis=0)
    beyond = worst + _BEYOND * (worst - whole.min(axis=0))
    budgets = [result.budget.vram_bytes or 0 for result in results]
    for at, objective in enumerate(objectives):
        if objective.name == VRAM_PEAK:
            worst[at] = max(worst[at], *budgets)
        else:
            worst[at] = 0.0 if objective.direction == "maximize" else beyond[at]
    return worst


def _signs(objectives: Sequence[Objective]) -> NDArray[np.float64]:
    return np.array([-1.0 if each.direction == "maximize" else 1.0 for each in objectives])
