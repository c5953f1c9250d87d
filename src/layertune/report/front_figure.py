"""The front as charts: speed against speed coloured by memory, and each speed against memory.

The colour goes from blue (no memory) to orange (the whole budget). Both are visible on white and on black.
"""

from dataclasses import dataclass
from itertools import combinations

from layertune.report.chart import Axis, Chart, axis, both_widths, circle, cross, diamond, mark, path, place, text
from layertune.report.markup import Html, join
from layertune.report.source import Source, measured, pick_names, speed_unit
from layertune.report.trial_text import trial_tip
from layertune.results.result import Result
from layertune.results.trial_info import MetricInfo
from layertune.units import GIB, MIB, format_bytes

_KEY = 40  # height of the colour key
_STOPS = ((58, 111, 216), (150, 122, 150), (232, 130, 0))

# An axis shows the speed of the model with this name, or memory if it is None.
AxisOf = str | None


def pictures(result: Result) -> list[Html]:
    """Return a picture for every two models, and one for each model over peak VRAM."""
    pairs: list[tuple[AxisOf, str]] = list(combinations(result.models, 2))
    if any(source.trial.vram is not None for source in measured(result)):
        pairs += [(None, name) for name in result.models]
    most_bytes = _most_bytes(result)
    return [both_widths(_Picture(result, x, y, most_bytes, at == 0).draw) for at, (x, y) in enumerate(pairs)]


def memory_unit(largest_bytes: int) -> tuple[int, str]:
    return (GIB, "GiB") if largest_bytes >= 16 * GIB else (MIB, "MiB")


@dataclass(frozen=True, slots=True)
class _Picture:
    """One model's speed over another's or over memory. Tab stops only in the first picture."""

    result: Result
    x: AxisOf
    y: str
    most_bytes: int
    is_first: bool

    def draw(self, width: int) -> Html:
        below = _KEY if self.x is not None else 0
        chart = Chart.of(self._axis(self.x), self._axis(self.y), width, round(width * 0.68) + below, below)
        trials = sorted(measured(self.result), key=self._on_front)  # the front is drawn last, over the others
        name = f"tokens/s of {self.y} against {self.x or 'peak VRAM'}"
        marks = [self._mark(chart, source) for source in trials]
        return chart.svg(name, self._limit(chart), *marks, self._labels(chart, [*filter(self._on_front, trials)]))

    def _on_front(self, source: Source) -> bool:
        return source.trial.number in self.result.pareto

    def _axis(self, of: AxisOf) -> Axis:
        if of is None:
            unit_bytes, unit = memory_unit(self.most_bytes)
            return axis(f"peak VRAM ({unit})", [self.most_bytes / unit_bytes])
        metrics = [metric for source in measured(self.result) if (metric := source.metric(of, "tokens_per_s"))]
        return axis(
            f"{of}: {speed_unit(self.result)}", [end for each in metrics for end in _ends(each)], from_zero=False
        )

    def _place(self, chart: Chart, source: Source) -> tuple[float, float]:
        unit_bytes = memory_unit(self.most_bytes)[0] if self.x is None else 1
        return chart.x(_value(source, self.x) / unit_bytes), chart.y(_value(source, self.y))

    def _mark(self, chart: Chart, source: Source) -> Html:
        on_front = self._on_front(source)
        tip = trial_tip(self.result, source, with_commands=on_front)
        values = _value(source, self.x), _value(source, self.y)
        link = f"trial-{source.trial.number}" if on_front else ""
        return mark(self._shape(chart, source), tip, values, link, in_order=self.is_first)

    def _shape(self, chart: Chart, source: Source) -> Html:
        trial, capacity_bytes = source.trial, self.result.budget.capacity_bytes()
        at = self._place(chart, source)
        fill = "" if trial.vram is None or not capacity_bytes else _ramp(trial.vram.peak_bytes / capacity_bytes)
        if trial.exceeded():
            shape = cross(*at, 4, "over")
        elif self._on_front(source):
            shape = join([self._interval(chart, source, at), circle(*at, 6, "front", fill)])
        else:
            shape = circle(*at, 3.5, "other", fill)
        is_baseline = any(baseline.trial == trial.number for baseline in self.result.baselines.values())
        return join([shape, diamond(*at, 10, "baseline")]) if is_baseline else shape

    def _interval(self, chart: Chart, source: Source, at: tuple[float, float]) -> Html:
        """Return the 95 % intervals of a trial, as bars."""
        bars = ""
        metric = source.metric(self.y, "tokens_per_s")
        if metric is not None and metric.low is not None and metric.high is not None:
            bars += f"M{at[0]:.1f} {chart.y(metric.low):.1f}V{chart.y(metric.high):.1f}"
        metric = None if self.x is None else source.metric(self.x, "tokens_per_s")
        if metric is not None and metric.low is not None and metric.high is not None:
            bars += f"M{chart.x(metric.low):.1f} {at[1]:.1f}H{chart.x(metric.high):.1f}"
        return path(bars, "interval") if bars else Html("")

    def _labels(self, chart: Chart, front: list[Source]) -> Html:
        """Return labels for the trials on the front; picks get their place first."""
        names = {each.trial.number: pick_names(self.result, each.trial.number) for each in front}
        points = [
            (*self._place(chart, each), " ".join([str(each.trial.number), *names[each.trial.number]]))
            for each in sorted(front, key=lambda each: -len(names[each.trial.number]))
        ]
        taken = [(x - 11, y - 11, x + 11, y + 11) for x, y, _ in points]
        return place(points, (chart.x.start, chart.y.end, chart.x.end, chart.y.start), taken)

    def _limit(self, chart: Chart) -> Html:
        """Return the budget as a line on the memory axis, or as the end of the colour key."""
        limit_bytes = self.result.budget.capacity_bytes()
        if not limit_bytes:
            return Html("")
        words = f"budget {format_bytes(limit_bytes)}"
        if self.x is not None:
            width = max(220, (chart.x.end - chart.x.start) / 2)
            return _scale_bar(chart.x.start, chart.height - 28, width, "peak VRAM 0", words)
        at = chart.x(limit_bytes / memory_unit(self.most_bytes)[0])
        line = path(f"M{at:.1f} {chart.y.end:.1f}V{chart.y.start:.1f}", "budget")
        return join([line, text(at - 5, chart.y.start - 6, words, "end", "budget-name")])


def _most_bytes(result: Result) -> int:
    peaks = [source.trial.vram.peak_bytes for source in measured(result) if source.trial.vram is not None]
    return max([*peaks, result.budget.capacity_bytes() or 0])


def _ends(metric: MetricInfo) -> list[float]:
    return [end for end in (metric.median, metric.low, metric.high) if end is not None]


def _value(source: Source, of: AxisOf) -> float:
    """Return a measured trial's speed or peak VRAM, which is 0 without a device."""
    if of is None:
        return source.trial.vram.peak_bytes if source.trial.vram is not None else 0
    metric = source.metric(of, "tokens_per_s")
    return metric.median if metric is not None else 0.0


def _ramp(share: float) -> str:
    """Return the colour of a share of the budget, clipped to 0 to 1."""
    at = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    first = min(int(at), len(_STOPS) - 2)
    mixed = (
        round(low + (high - low) * (at - first)) for low, high in zip(_STOPS[first], _STOPS[first + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _scale_bar(x: float, y: float, width: float, low: str, high: str) -> Html:
    """Return the colour key, with a label at each end."""
    n_steps = 24
    step = width / n_steps
    bars = "".join(
        f'<rect x="{x + at * step:.1f}" y="{y:.1f}" width="{step + 0.5:.1f}" height="8" '
        f'fill="{_ramp(at / (n_steps - 1))}"/>'
        for at in range(n_steps)
    )
    budget = f'<path class="budget" d="M{x + width:.1f} {y - 4:.1f}v16"/>'
    return Html(bars + budget + text(x, y + 22, low) + text(x + width, y + 22, high, "end"))
