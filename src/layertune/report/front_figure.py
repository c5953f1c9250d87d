"""The front as pictures: speed against speed coloured by memory, and each speed against memory."""

from functools import partial
from itertools import combinations

from layertune.report.axis import Axis, axis
from layertune.report.chart import Chart, both_widths, circle, cross, diamond, mark, path, text
from layertune.report.colour import ramp, scale_bar
from layertune.report.labels import place
from layertune.report.markup import Html, join
from layertune.report.source import Source, measured, pick_names, speed_unit
from layertune.report.tips import trial_tip
from layertune.results.result import Result
from layertune.results.trial_info import MetricInfo
from layertune.units import GIB, MIB, format_bytes

# A model's name, whose speed an axis is of, or None where it is of the memory.
AxisOf = str | None


def pictures(result: Result) -> list[Html]:
    """Return a picture for every two models, and one for each model over the memory it took of a device."""
    pairs: list[tuple[AxisOf, str]] = list(combinations(result.models, 2))
    if any(source.trial.vram is not None for source in measured(result)):
        pairs += [(None, name) for name in result.models]
    return [both_widths(partial(_picture, result, x, y)) for x, y in pairs]


def memory_unit(largest_bytes: int) -> tuple[int, str]:
    return (GIB, "GiB") if largest_bytes >= 16 * GIB else (MIB, "MiB")


def _picture(result: Result, x: AxisOf, y: str, width: int) -> Html:
    there = measured(result)
    limit = result.budget.capacity_bytes()
    of_x = "the peak VRAM" if x is None else x
    chart = Chart.of(
        _memory_axis(there, limit) if x is None else _speed_axis(result, there, x),
        _speed_axis(result, there, y),
        width,
        round(width * 0.68) + 40,
    )
    shapes, labels = list[Html](), list[tuple[float, float, str]]()
    for source in sorted(there, key=lambda each: each.trial.number in result.pareto):
        values = (_value(source, x), _value(source, y))
        drawn = (chart.x(values[0] / _scale(there, limit, x)), chart.y(values[1]))
        on_front = source.trial.number in result.pareto
        link = f"trial-{source.trial.number}" if on_front else ""
        shapes.append(
            mark(
                _shape(result, source, chart, x, y, drawn),
                trial_tip(result, source, with_commands=on_front),
                values,
                link,
            )
        )
        if on_front:
            names = [str(source.trial.number), *pick_names(result, source.trial.number)]
            labels.append((*drawn, " ".join(names)))
    labels.sort(key=lambda each: -len(each[2]))  # picks first: they are what is looked for
    inside = (chart.x.start, chart.y.end, chart.x.end, chart.y.start)
    budget = (
        _budget(chart, limit) if x is None and limit is not None else _key(chart, limit) if x is not None else Html("")
    )
    return chart.svg(f"tokens/s of {y} against {of_x}", budget, *shapes, place(labels, inside))


def _shape(result: Result, source: Source, chart: Chart, x: AxisOf, y: str, at: tuple[float, float]) -> Html:
    trial, limit = source.trial, result.budget.capacity_bytes()
    fill = "" if trial.vram is None or not limit else ramp(trial.vram.peak_bytes / limit)
    if trial.exceeded():
        shape = cross(*at, 4, "over")
    elif trial.number in result.pareto:
        shape = join([_interval(source, chart, x, y, at), circle(*at, 6, "front", fill)])
    else:
        shape = circle(*at, 3.5, "other", fill)
    is_baseline = any(baseline.trial == trial.number for baseline in result.baselines.values())
    return join([shape, diamond(*at, 10, "baseline")]) if is_baseline else shape


def _interval(source: Source, chart: Chart, x: AxisOf, y: str, at: tuple[float, float]) -> Html:
    """Return the 95 % intervals of a finalist, as bars."""
    bars = []
    metric = source.metric(y, "tokens_per_s")
    if metric is not None and metric.low is not None and metric.high is not None:
        bars.append(f"M{at[0]:.1f} {chart.y(metric.low):.1f}V{chart.y(metric.high):.1f}")
    metric = None if x is None else source.metric(x, "tokens_per_s")
    if metric is not None and metric.low is not None and metric.high is not None:
        bars.append(f"M{chart.x(metric.low):.1f} {at[1]:.1f}H{chart.x(metric.high):.1f}")
    return path("".join(bars), "interval") if bars else Html("")


def _speed_axis(result: Result, there: list[Source], model: str) -> Axis:
    metrics = [metric for each in there if (metric := each.metric(model, "tokens_per_s"))]
    return axis(f"{model}: {speed_unit(result)}", _ends(metrics), from_zero=False)


def _ends(metrics: list[MetricInfo]) -> list[float]:
    return [end for metric in metrics for end in (metric.median, metric.low, metric.high) if end is not None]


def _memory_axis(there: list[Source], limit: int | None) -> Axis:
    unit_bytes, unit = memory_unit(_largest(there, limit))
    return axis(f"peak VRAM ({unit})", [_largest(there, limit) / unit_bytes])


def _scale(there: list[Source], limit: int | None, x: AxisOf) -> int:
    return memory_unit(_largest(there, limit))[0] if x is None else 1


def _largest(there: list[Source], limit: int | None) -> int:
    return max([each.trial.vram.peak_bytes for each in there if each.trial.vram is not None] + [limit or 0])


def _value(source: Source, axis_of: AxisOf) -> float:
    """Return a measured trial's figure; without a device no memory of it is taken."""
    if axis_of is None:
        return source.trial.vram.peak_bytes if source.trial.vram is not None else 0
    metric = source.metric(axis_of, "tokens_per_s")
    return metric.median if metric is not None else 0.0


def _budget(chart: Chart, limit: int) -> Html:
    at = chart.x(limit / memory_unit(limit)[0])
    line = path(f"M{at:.1f} {chart.y.end:.1f}V{chart.y.start:.1f}", "budget")
    return join([line, text(at - 5, chart.y.start - 6, f"budget {format_bytes(limit)}", "end", "budget-name")])


def _key(chart: Chart, limit: int | None) -> Html:
    if not limit:
        return Html("")
    width = (chart.x.end - chart.x.start) / 2
    return scale_bar(chart.x.start + 10, chart.y.start - 34, width, "0", f"budget {format_bytes(limit)}")
