"""The fronts of several cards in one picture: an SVG that stands alone, readable on a light and on a dark page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layertune.report.chart import Chart, axis, circle, cross, diamond, path, place, text
from layertune.report.markup import Html, join
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo

_WIDTH, _HEIGHT, _HEAD, _GAP = 440, 320, 56, 20
_NAMES_EVERY, _NAMES_LEFT = 92, 52
_STYLE = """
:root { --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --a: #2f62c4; --b: #b26a00; --c: #12805f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ec; --soft: #a3acb6; --line: #3a424b;
  --a: #7aa5f5; --b: #f0b03c; --c: #3cc79b; } }
text { font: 11px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--ink); }
text.title { font-weight: 600; font-size: 13px; } text.label { font-size: 12px; } text.tick { fill: var(--soft); }
text.name { font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.paper { fill: var(--paper); } .grid { stroke: var(--line); stroke-width: .6; fill: none; }
.axis { stroke: var(--soft); fill: none; } .interval { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.pick { stroke: var(--ink); stroke-width: 1.6; fill: none; }
.a { fill: var(--a); stroke: var(--a); } .b { fill: var(--b); stroke: var(--b); }
.c { fill: none; stroke: var(--c); stroke-width: 2; }
"""
# By place among the cards: colour and shape, so that neither alone tells them apart.
_KINDS = "abc"


@dataclass(frozen=True, slots=True)
class Panel:
    """Studies of two models, by the words for their card."""

    title: str
    studies: Mapping[str, Result]


def picture(panels: Sequence[Panel]) -> str:
    width = len(panels) * (_WIDTH + _GAP) - _GAP
    height = _HEAD + _HEIGHT
    drawn = [
        Html(f'<g transform="translate({at * (_WIDTH + _GAP)} 0)">{_panel(panel)}</g>')
        for at, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">\n<title>EMULATED cards: the Pareto fronts of the recorded studies</title>\n'
        f'<style>{_STYLE}</style>\n<rect class="paper" width="{width}" height="{height}"/>\n{join(drawn)}\n</svg>\n'
    )


def _panel(panel: Panel) -> Html:
    x_model, y_model = list(next(iter(panel.studies.values())).models)
    fronts = {name: [result.trial(number) for number in result.pareto] for name, result in panel.studies.items()}
    shown = [trial for front in fronts.values() for trial in front]
    chart = Chart.of(
        axis(f"{x_model}: tokens/s alone", _ends(shown, x_model), from_zero=False),
        axis(f"{y_model}: tokens/s alone", _ends(shown, y_model), from_zero=False),
        _WIDTH,
        _HEIGHT,
    )
    marks, picks = [], []
    for kind, (name, result) in zip(_KINDS, panel.studies.items(), strict=False):
        pick = result.picked("balanced")
        marks += [_shape(kind, *_place(chart, trial, x_model, y_model)) for trial in fronts[name]]
        at = _place(chart, pick, x_model, y_model)
        marks += [_interval(chart, pick, x_model, y_model), circle(*at, 9, "pick")]
        picks.append((*at, name))
    taken = [(x - 9, y - 9, x + 9, y + 9) for x, y, _ in picks]
    names = place(picks, (chart.x.start, chart.y.end, chart.x.end, chart.y.start), taken)
    whole = chart.svg(panel.title, *marks, names)
    key = [
        join([_shape(kind, _NAMES_LEFT + at * _NAMES_EVERY, 38), text(_NAMES_LEFT + 10 + at * _NAMES_EVERY, 42, name)])
        for at, (kind, name) in enumerate(zip(_KINDS, panel.studies, strict=False))
    ]
    ring = _NAMES_LEFT + len(panel.studies) * _NAMES_EVERY
    key.append(join([circle(ring, 38, 6, "pick"), text(ring + 12, 42, "balanced pick")]))
    title = text(_NAMES_LEFT, 18, f"EMULATED: {panel.title}", kind="title")
    return join([title, *key, Html(f'<g transform="translate(0 {_HEAD})">{whole}</g>')])


def _shape(kind: str, x: float, y: float) -> Html:
    if kind == "a":
        return circle(x, y, 4, kind)
    return diamond(x, y, 5, kind) if kind == "b" else cross(x, y, 4, kind)


def _interval(chart: Chart, trial: TrialInfo, x_model: str, y_model: str) -> Html:
    x, y = _place(chart, trial, x_model, y_model)
    across, up = _speed(trial, x_model), _speed(trial, y_model)
    bars = ""
    if across.low is not None and across.high is not None:
        bars += f"M{chart.x(across.low):.1f} {y:.1f}H{chart.x(across.high):.1f}"
    if up.low is not None and up.high is not None:
        bars += f"M{x:.1f} {chart.y(up.low):.1f}V{chart.y(up.high):.1f}"
    return path(bars, "interval")


def _place(chart: Chart, trial: TrialInfo, x_model: str, y_model: str) -> tuple[float, float]:
    return chart.x(_speed(trial, x_model).median), chart.y(_speed(trial, y_model).median)


def _ends(trials: Sequence[TrialInfo], model: str) -> list[float]:
    metrics = [_speed(trial, model) for trial in trials]
    return [end for each in metrics for end in (each.median, each.low, each.high) if end is not None]


def _speed(trial: TrialInfo, model: str) -> MetricInfo:
    """Return a speed of a trial of the front, which was measured."""
    return (trial.metrics or {})[model]["tokens_per_s"]
