"""How precise the measurements are, and every warning."""

from statistics import median

from layertune.report.markup import (
    Html,
    count,
    details,
    duration,
    escape,
    join,
    paragraph,
    percent,
    pointer,
    rate,
    section,
    table,
)
from layertune.report.source import Source, measured, sources, speed_unit
from layertune.results.remarks import study_remarks
from layertune.results.result import ClockInfo, Result


def noise_section(result: Result) -> Html:
    remarks = join(Html(f"<li>{escape(remark)}</li>") for remark in study_remarks(result, "(low–high)"))
    return section(
        "noise",
        "Noise and warnings",
        Html(f"<ul>{remarks}</ul>"),
        _spread(result),
        _references(result),
        _clock(result.clock),
        _warnings(result),
    )


def _spread(result: Result) -> Html:
    """Return how wide the intervals are, and how much single samples scatter."""
    trials = measured(result)
    rows = [[escape(name), *_spread_cells(trials, name)] for name in result.models] if trials else []
    headings = [
        "model",
        "trials with an interval",
        "half its width, median",
        "half its width, most",
        "MAD of the samples, median of all trials",
    ]
    return table("Spread of tokens/s alone, as a share of its median", headings, rows) if rows else Html("")


def _spread_cells(trials: list[Source], model: str) -> list[Html]:
    metrics = [metric for source in trials if (metric := source.metric(model, "tokens_per_s")) and metric.median > 0]
    halves = [
        (metric.high - metric.low) / 2 / metric.median
        for metric in metrics
        if metric.low is not None and metric.high is not None
    ]
    scatter = [metric.mad / metric.median for metric in metrics]
    none = escape("–")
    return [
        count(len(halves)),
        percent(median(halves)) if halves else none,
        percent(max(halves)) if halves else none,
        percent(median(scatter)) if scatter else none,
    ]


def _references(result: Result) -> Html:
    if not result.references:
        return paragraph("Reference runs for drift: not recorded.")
    headings = ["trials finished before"]
    for name in result.models:
        headings += [f"{name}, {speed_unit(result)}", f"{name} relative to the first"]
    rows = []
    for each, info in enumerate(result.references):
        at = pointer("references", each)
        cells = [count(info.n_trials, at + "/n_trials")]
        for name in result.models:
            speed, share = info.tokens_per_s.get(name), info.relative.get(name)
            cells.append(escape("–") if speed is None else rate(speed, at + pointer("tokens_per_s", name)))
            cells.append(escape("–") if share is None else percent(share, at + pointer("relative", name)))
        rows.append(cells)
    return table("The reference setting, measured at intervals", headings, rows)


def _clock(clock: ClockInfo | None) -> Html:
    if clock is None:
        return paragraph("Where the time of the search went: not recorded.")
    parts = ("wall_s", "load_s", "warm_up_s", "measure_s", "unload_s", "overhead_s")
    names = ("whole run", "loading", "warm-up", "measuring", "unloading", "overhead")
    rows = [
        [escape(name), duration(getattr(clock, part), pointer("clock", part))]
        for name, part in zip(names, parts, strict=True)
    ]
    return table("Where the time of the last run went", ["part", "time"], rows)


def _warnings(result: Result) -> Html:
    rows = [
        [source.number(), join([escape(warning) for warning in source.trial.warnings], "; ")]
        for source in sources(result)
        if source.trial.warnings
    ]
    if not rows:
        return paragraph("No trial has a warning.")
    return details("Every trial's warnings", table("Warnings", ["trial", "warnings"], rows))
