"""Speed over the layers on the device, for each model."""

from functools import partial

from layertune.report.axis import axis
from layertune.report.chart import Chart, both_widths, circle, figure, mark, path, text
from layertune.report.html_table import table
from layertune.report.layer_fit import LayerFit, fit_layers
from layertune.report.markup import Html, details, escape, join, paragraph, section
from layertune.report.numbers import count, number, percent, pointer
from layertune.report.source import Source, measured, speed_unit
from layertune.report.tips import model_lines, trial_name
from layertune.results.result import Result

_CAPTION = (
    "Points: every measured trial's tokens/s alone, whatever its other settings, with the 95 % interval where there "
    "is one; filled points are finalists'. Line: a fit, not a measurement: least squares of the time of one request "
    "(n_generate / tokens/s, as the search measured it) as a line in n_gpu_layers. It is left out with fewer than four "
    "different layer counts."
)


def layers_section(result: Result) -> Html:
    there = measured(result)
    if not there:
        return section("layers", "Speed over layers", paragraph("No trial was measured."))
    fits = {name: fit_layers(_points(there, name), result.workload[name].n_generate) for name in result.models}
    pictures = [both_widths(partial(_picture, result, name, fits[name])) for name in result.models]
    return section("layers", "Speed over layers", figure(_CAPTION, *pictures), _fits(fits), _all_points(result, there))


def _points(there: list[Source], model: str) -> list[tuple[int, float]]:
    return [
        (source.trial.settings[model].n_gpu_layers, metric.median)
        for source in there
        if (metric := source.searched(model, "tokens_per_s")) is not None and metric.median > 0
    ]


def _picture(result: Result, model: str, fit: LayerFit | None, width: int) -> Html:
    there = measured(result)
    metrics = [metric for source in there if (metric := source.metric(model, "tokens_per_s"))]
    n_most = result.models[model].n_layer + 1
    layers = [source.trial.settings[model].n_gpu_layers for source in there]
    x = axis(f"{model}: n_gpu_layers (of {n_most})", [n_most, *layers], whole=True)
    y = axis(
        f"{model}: {speed_unit(result)}", [metric.median if metric.high is None else metric.high for metric in metrics]
    )
    chart = Chart.of(x, y, width, round(width * 0.62))
    curve = [] if fit is None else [_curve(chart, fit, _points(there, model))]
    points = [_point(result, chart, source, model) for source in there]
    return chart.svg(f"tokens/s of {model} over its n_gpu_layers", *curve, *points)


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
    if metric.low is not None and metric.high is not None:
        bar = path(f"M{x:.1f} {chart.y(metric.low):.1f}V{chart.y(metric.high):.1f}", "interval")
        shape = join([bar, shape])
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


def _all_points(result: Result, there: list[Source]) -> Html:
    headings = ["trial"]
    for name in result.models:
        headings += [f"{name} n_gpu_layers", f"{name} alone, {speed_unit(result)}"]
    rows = []
    for source in there:
        cells = [source.number()]
        for name in result.models:
            at = source.at + pointer("settings", name, "n_gpu_layers")
            cells += [count(source.trial.settings[name].n_gpu_layers, at), source.speed(name, "tokens_per_s")]
        rows.append(cells)
    return details("The points as a table", table("Speed over layers", headings, rows))
