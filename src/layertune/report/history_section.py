"""The search, trial by trial."""

from functools import partial

from layertune.report.axis import axis
from layertune.report.chart import Chart, both_widths, circle, cross, figure, mark, path
from layertune.report.growth import Growth, growth
from layertune.report.html_table import table
from layertune.report.markup import Html, details, escape, paragraph, section
from layertune.report.numbers import duration, percent
from layertune.report.source import Source, sources
from layertune.results.result import Result

_CAPTION = (
    "Hypervolume of all trials so far that keep the limits: the share of the box between the worst and the best "
    "measured value of each objective ({objectives}) that they dominate. Every trial counts with what the search "
    "measured first, not with the finals' figures. Crosses on the axis: infeasible trials; rings: failed ones."
)


def history_section(result: Result) -> Html:
    there = sorted(sources(result), key=lambda source: source.trial.number)
    if not there:
        return section("history", "Search history", paragraph("There are no trials."))
    grown = growth(result)
    stopped = paragraph(
        f"The search ended: {result.stopped}." if result.stopped else "Why the search ended: not recorded."
    )
    if grown is None:
        shown = paragraph("No hypervolume: too few measured trials, or a figure of an objective is missing.")
    else:
        caption = _CAPTION.format(objectives=", ".join(grown.objectives))
        shown = figure(caption, both_widths(partial(_picture, there, grown)))
    return section("history", "Search history", stopped, shown, _table(there, grown))


def _picture(there: list[Source], grown: Growth, width: int) -> Html:
    x = axis("finished trials", [len(there)], whole=True)
    y = axis("hypervolume (%)", [100 * share for share in grown.shares])
    chart = Chart.of(x, y, width, round(width * 0.5))
    steps = [f"M{chart.x(0):.1f} {chart.y(0):.1f}"]
    marks = []
    for at, (source, share) in enumerate(zip(there, grown.shares, strict=True), start=1):
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


def _table(there: list[Source], grown: Growth | None) -> Html:
    rows = [
        [
            source.number(),
            escape(_state(source)),
            escape(source.trial.reason or "–"),
            duration(source.trial.duration_s, source.at + "/duration_s"),
            escape("–") if grown is None else percent(grown.shares[at]),
        ]
        for at, source in enumerate(there)
    ]
    headings = ["trial", "state", "reason", "duration", "hypervolume after it"]
    return details("The history as a table", table("Every trial in the order it was asked for", headings, rows))
