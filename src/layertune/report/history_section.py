"""The search, trial by trial: the hypervolume after each one, and a table of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from layertune.config.objective import Objective
from layertune.report.chart import Chart, axis, both_widths, circle, cross, figure, mark, path
from layertune.report.markup import Html, count, details, duration, escape, paragraph, percent, section, table
from layertune.report.source import Source, model_cells, model_headings, sources
from layertune.results.pareto import pareto_front
from layertune.results.qualities import resolved_objectives
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import recorded_value
from layertune.sampler.hypervolume import hypervolume

_CAPTION = (
    "Hypervolume of all trials so far that keep the limits: the share of the box between the worst and the best "
    "measured value of each objective ({objectives}) that they dominate. The values are the search's, not the finals'. "
    "Crosses on the axis are infeasible trials, rings are failed ones."
)


@dataclass(frozen=True, slots=True)
class Growth:
    """The hypervolume after each trial: the dominated share of the box between each objective's worst and best value.

    `objectives` are those with more than one value.
    """

    objectives: tuple[str, ...]
    shares: tuple[float, ...]


def growth(result: Result) -> Growth | None:
    """Return the growth over all trials, in the order of their numbers.

    It is None if a value of a measured trial is missing, or if no objective has more than one value. All trials count
    with the values that the search measured, because only finalists have later ones.
    """
    objectives = resolved_objectives(result)
    trials = sorted(result.trials, key=lambda trial: trial.number)
    costs = {trial.number: _costs(trial, objectives) for trial in trials if trial.state == "measured"}
    if not costs or any(np.isnan(each).any() for each in costs.values()):
        return None
    whole = np.array(list(costs.values()))
    worst, best = whole.max(axis=0), whole.min(axis=0)
    kept = worst > best
    if not kept.any():
        return None
    shares, front = list[float](), np.empty((0, int(kept.sum())))
    for trial in trials:
        if trial.number in costs and not trial.exceeded():
            point = (costs[trial.number] - best)[kept] / (worst - best)[kept]
            front = _without_dominated(np.vstack([front, point]))
        shares.append(hypervolume(front, np.ones(front.shape[1])))
    return Growth(tuple(each.name for each, keeps in zip(objectives, kept, strict=True) if keeps), tuple(shares))


def history_section(result: Result) -> Html:
    trials = sorted(sources(result), key=lambda source: source.trial.number)
    if not trials:
        return section("history", "Search history", paragraph("There are no trials."))
    grown = growth(result)
    stopped = paragraph(
        f"The search ended: {result.stopped}." if result.stopped else "Why the search ended: not recorded."
    )
    if grown is None:
        shown = paragraph("No hypervolume: too few measured trials, or a value of an objective is missing.")
    else:
        caption = _CAPTION.format(objectives=", ".join(grown.objectives))
        shown = figure(caption, both_widths(partial(_picture, trials, grown)))
    return section("history", "Search history", stopped, shown, _table(trials, grown))


def trials_section(result: Result) -> Html:
    trials = sources(result)
    headings = ["trial", "state", *model_headings(result)]
    headings += ["peak VRAM", "finals rounds", "validation runs", "tied with", "duration"]
    rows = [_row(result, source) for source in trials]
    anchors = [f"trial-{source.trial.number}" for source in trials]
    shown = table("Every trial; reasons and warnings are under search history and noise", headings, rows, anchors)
    return section("trials", "All trials", details(f"All {len(trials)} trials", shown))


def _without_dominated(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = costs[pareto_front(costs, ["minimize"] * costs.shape[1])]
    return kept


def _costs(trial: TrialInfo, objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return a trial's objectives, with less being better; NaN is a missing value."""
    values = [recorded_value(trial, each, trial.metrics_of("search")) for each in objectives]
    return np.array(values, dtype=np.float64) * [-1 if each.direction == "maximize" else 1 for each in objectives]


def _picture(trials: list[Source], grown: Growth, width: int) -> Html:
    x = axis("finished trials", [len(trials)], whole=True)
    y = axis("hypervolume (%)", [100 * share for share in grown.shares])
    chart = Chart.of(x, y, width, round(width * 0.5))
    steps = [f"M{chart.x(0):.1f} {chart.y(0):.1f}"]
    marks = []
    for at, (source, share) in enumerate(zip(trials, grown.shares, strict=True), start=1):
        steps.append(f"H{chart.x(at):.1f}V{chart.y(100 * share):.1f}")
        place = chart.x(at), chart.y(100 * share if _counts(source) else 0)
        tip = f"trial {source.trial.number}, {_state(source)}\nhypervolume {share:.1%}"
        marks.append(mark(_shape(source, *place), tip, (at, share)))
    return chart.svg("Hypervolume over the finished trials", path("".join(steps), "steps"), *marks)


def _shape(source: Source, x: float, y: float) -> Html:
    if _counts(source):
        return circle(x, y, 3, "finalist")
    return circle(x, y, 4, "failed") if source.trial.state == "failed" else cross(x, y, 4, "over")


def _counts(source: Source) -> bool:
    return source.trial.state == "measured" and not source.trial.exceeded()


def _state(source: Source) -> str:
    if source.trial.exceeded():
        return f"{source.trial.state}, over {' and '.join(source.trial.exceeded())}"
    return source.trial.state


def _table(trials: list[Source], grown: Growth | None) -> Html:
    rows = [
        [
            source.number(),
            escape(_state(source)),
            escape(source.trial.reason or "–"),
            duration(source.trial.duration_s, source.at + "/duration_s"),
            escape("–") if grown is None else percent(grown.shares[at]),
        ]
        for at, source in enumerate(trials)
    ]
    headings = ["trial", "state", "reason", "duration", "hypervolume after it"]
    return details("The history as a table", table("Every trial, in order", headings, rows))


def _row(result: Result, source: Source) -> list[Html]:
    trial, none = source.trial, escape("–")
    return [
        count(trial.number, source.at + "/number"),
        escape(_state(source)),
        *model_cells(result, source),
        source.peak() if trial.vram is not None else none,
        count(trial.n_rounds, source.at + "/n_rounds") if trial.n_rounds else none,
        count(trial.n_confirming, source.at + "/n_confirming") if trial.n_confirming else none,
        none if trial.tied_with is None else count(trial.tied_with, source.at + "/tied_with"),
        duration(trial.duration_s, source.at + "/duration_s"),
    ]
