"""Speed over the layers on the device, for each model, with a straight line through the time of a request.

If all repeating layers are alike and nothing else changes, each layer on the device shortens a request by a fixed time.
So the time of a request, n_generate / tokens_per_s, is nearly linear in n_gpu_layers. The fit is by least squares on
that time, with every trial once, whatever its other settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from layertune.report.chart import Chart, axis, both_widths, circle, figure, mark, path, text, whisker
from layertune.report.markup import (
    Html,
    count,
    details,
    escape,
    join,
    number,
    paragraph,
    percent,
    pointer,
    section,
    table,
)
from layertune.report.source import Source, measured, speed_unit
from layertune.report.trial_text import model_lines, trial_name
from layertune.results.result import Result
from layertune.settings import model_and_file

LEAST_LAYERS = 4  # with fewer layer counts a line adds nothing to the points

_CAPTION = (
    "Points: tokens/s alone of every measured trial, whatever its other settings, with the 95 % interval if there is "
    "one; filled points are finalists. Line: a fit, not a measurement. It is a least-squares line through the time of "
    "one request (n_generate / tokens/s, as the search measured it) over n_gpu_layers. It is left out with fewer than "
    "four different layer counts."
)


@dataclass(frozen=True, slots=True)
class LayerFit:
    """Seconds a request: `base_s + layer_s * n_gpu_layers`. `explained` is R² of the times, `n` the trials."""

    base_s: float
    layer_s: float
    explained: float
    n: int
    n_counted: int

    def tokens_per_s(self, n_gpu_layers: float) -> float:
        return self.n_counted / (self.base_s + self.layer_s * n_gpu_layers)


def fit_layers(points: Sequence[tuple[int, float]], n_counted: int) -> LayerFit | None:
    """Fit (n_gpu_layers, tokens/s) points.

    Return None with fewer than four different layer counts, or if the line reaches zero time within their range.
    """
    layers = np.array([at for at, _ in points], dtype=np.float64)
    if len(set(layers.tolist())) < LEAST_LAYERS:
        return None
    times = n_counted / np.array([speed for _, speed in points], dtype=np.float64)
    slope, base = np.polyfit(layers, times, 1)
    if min(base + slope * layers) <= 0:
        return None
    spread = float(((times - times.mean()) ** 2).sum())
    left = float(((times - (base + slope * layers)) ** 2).sum())
    explained = 1 - left / spread if spread > 0 else 1.0
    return LayerFit(float(base), float(slope), explained, len(points), n_counted)


def layers_section(result: Result) -> Html:
    trials = measured(result)
    if not trials:
        return section("layers", "Speed over layers", paragraph("No trial was measured."))
    n_counted = {key: result.workload[model_and_file(key)[0]].n_counted for key in result.variants()}
    fits = {key: fit_layers(_points(trials, key), n_counted[key]) for key in n_counted}
    pictures = [both_widths(partial(_picture, result, key, fit)) for key, fit in fits.items() if _of(trials, key)]
    return section("layers", "Speed over layers", figure(_CAPTION, *pictures), _fits(fits), _all_points(result, trials))


def _of(trials: list[Source], key: str) -> list[Source]:
    """Return the trials with one file of a model; `key` is its `settings.variant`."""
    model, file = model_and_file(key)
    return [source for source in trials if source.trial.settings[model].file == file]


def _points(trials: list[Source], key: str) -> list[tuple[int, float]]:
    model, _ = model_and_file(key)
    return [
        (source.trial.settings[model].n_gpu_layers, metric.median)
        for source in _of(trials, key)
        if (metric := source.searched(model, "tokens_per_s")) is not None and metric.median > 0
    ]


def _picture(result: Result, key: str, fit: LayerFit | None, width: int) -> Html:
    model, file = model_and_file(key)
    trials = _of(measured(result), key)
    metrics = [metric for source in trials if (metric := source.metric(model, "tokens_per_s"))]
    n_most = result.variants()[key].n_layer + 1
    layers = [source.trial.settings[model].n_gpu_layers for source in trials]
    x = axis(f"{file or model}: n_gpu_layers (of {n_most})", [n_most, *layers], whole=True)
    y = axis(
        f"{model}: {speed_unit(result)}", [metric.median if metric.high is None else metric.high for metric in metrics]
    )
    chart = Chart.of(x, y, width, round(width * 0.62))
    curve = [] if fit is None else [_curve(chart, fit, _points(trials, key))]
    points = [_point(result, chart, source, model) for source in trials]
    return chart.svg(f"tokens/s of {key} over its n_gpu_layers", *curve, *points)


def _curve(chart: Chart, fit: LayerFit, points: list[tuple[int, float]]) -> Html:
    first, last = min(points)[0], max(points)[0]
    n_steps = 48
    places = [first + (last - first) * step / n_steps for step in range(n_steps + 1)]
    drawn = [f"{chart.x(at):.1f} {chart.y(fit.tokens_per_s(at)):.1f}" for at in places]
    label = text(chart.x.end - 4, chart.y.start - 8, f"fit: R² {fit.explained:.1%}", "end", "fit-name")
    return join([path("M" + "L".join(drawn), "fit"), label])


def _point(result: Result, chart: Chart, source: Source, model: str) -> Html:
    metric = source.metric(model, "tokens_per_s")
    if metric is None:
        return Html("")
    n_gpu_layers = source.trial.settings[model].n_gpu_layers
    x, y = chart.x(n_gpu_layers), chart.y(metric.median)
    shape = circle(x, y, 4, "finalist" if source.trial.n_rounds else "single")
    shape = join([whisker(chart, x, metric.low, metric.high), shape])
    tip = "\n".join([trial_name(result, source), *model_lines(source, model, speed_unit(result))])
    return mark(shape, tip, (n_gpu_layers, metric.median))


def _fits(fits: dict[str, LayerFit | None]) -> Html:
    rows = [[escape(name), *_fit_cells(fit)] for name, fit in fits.items()]
    headings = ["model", "seconds a request, no layers", "change a layer, s", "explained (R²)", "trials"]
    return table("The fits", headings, rows)


def _fit_cells(fit: LayerFit | None) -> list[Html]:
    if fit is None:
        return [escape("no fit"), escape("–"), escape("–"), escape("–")]
    base, layer = number(fit.base_s, f"{fit.base_s:.3g}"), number(fit.layer_s, f"{fit.layer_s:+.3g}")
    return [base, layer, percent(fit.explained), count(fit.n)]


def _all_points(result: Result, trials: list[Source]) -> Html:
    headings = ["trial"]
    for name in result.models:
        headings += [f"{name} n_gpu_layers", f"{name} alone, {speed_unit(result)}"]
    rows = []
    for source in trials:
        cells = [source.number()]
        for name in result.models:
            at = source.at + pointer("settings", name, "n_gpu_layers")
            cells += [count(source.trial.settings[name].n_gpu_layers, at), source.speed(name, "tokens_per_s")]
        rows.append(cells)
    return details("The points as a table", table("Speed over layers", headings, rows))
