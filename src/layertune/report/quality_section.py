"""The quality of files and cache types: a picture of speed against quality for each model, and a table."""

from dataclasses import dataclass
from functools import partial

from layertune.config.objective import KL_DIVERGENCE, QUALITIES
from layertune.report.chart import Chart, axis, both_widths, circle, figure, mark, place, whisker
from layertune.report.markup import (
    NOT_RECORDED,
    Html,
    escape,
    join,
    number,
    paragraph,
    percent,
    pointer,
    section,
    size,
    table,
)
from layertune.report.source import Source, measured, speed_unit
from layertune.report.trial_text import model_lines, trial_name
from layertune.results.qualities import ShownQuality, shown_quality
from layertune.results.remarks import cost_words
from layertune.results.result import QualityInfo, Result

_CAPTION = (
    "Each point is a measured trial, at the quality of its file and cache types: {better} is better. Its speed is "
    "tokens/s alone, with the 95 % interval if there is one. Filled points are on the front, crosses exceed a limit. "
    "The fastest trial of each file within the limits is named."
)
_LIMITS = (
    "Quality is relative to the reference, which is the best file that was given. It is averaged over the kinds of "
    "text. A KL divergence from another architecture or size means nothing, so bits per byte of text compare those."
)


@dataclass(frozen=True, slots=True)
class _Point:
    source: Source
    quality: QualityInfo
    value: float


def quality_section(result: Result) -> Html:
    parts = [_of_model(result, name) for name in result.quality]
    return section("quality", "Speed and quality", join(parts), paragraph(_LIMITS, "note"))


def _of_model(result: Result, model: str) -> Html:
    shown = shown_quality(result, model)
    points = [
        _Point(source, quality, value)
        for source in measured(result)
        if shown is not None
        and (quality := result.quality_of(model, source.trial.settings[model])) is not None
        and (value := quality.value(shown.quantity)) is not None
    ]
    if shown is None or not points:
        words = f"{model}: no picture, since the quality of its files is unknown or no trial was measured."
        return join([paragraph(words), _table(result, model)])
    caption = _CAPTION.format(better="right" if QUALITIES[shown.quantity] == "maximize" else "left")
    return join([figure(caption, both_widths(partial(_picture, result, model, points, shown))), _table(result, model)])


def _picture(result: Result, model: str, points: list[_Point], shown: ShownQuality, width: int) -> Html:
    metrics = [metric for point in points if (metric := point.source.metric(model, "tokens_per_s"))]
    unit = f"KL divergence from {points[0].quality.reference}" if shown.quantity == KL_DIVERGENCE else shown.name
    x = axis(unit if width > len(unit) * 7 else shown.name, [point.value for point in points])
    tops = [metric.median if metric.high is None else metric.high for metric in metrics]
    chart = Chart.of(x, axis(f"{model}: {speed_unit(result)}", tops), width, round(width * 0.62))
    best: dict[float, _Point] = {}
    for point in points:
        within = not point.source.trial.exceeded()
        if within and (point.value not in best or _speed(point, model) > _speed(best[point.value], model)):
            best[point.value] = point
    labels = [
        (chart.x(each.value), chart.y(_speed(each, model)), choice_name(result, model, each.quality))
        for each in best.values()
    ]
    marks = [_mark(result, chart, point, model) for point in points]
    taken = [(chart.x(each.value) - 6, 0.0, chart.x(each.value) + 6, chart.y.start) for each in points]
    names = place(labels, (chart.x.start, chart.y.end, chart.x.end, chart.y.start), taken)
    return chart.svg(f"tokens/s of {model} against the quality of its file", *marks, names)


def _mark(result: Result, chart: Chart, point: _Point, model: str) -> Html:
    source, metric = point.source, point.source.metric(model, "tokens_per_s")
    if metric is None:
        return Html("")
    x, y = chart.x(point.value), chart.y(metric.median)
    on_front = source.trial.number in result.pareto
    kind = "over" if source.trial.exceeded() else "finalist" if on_front else "single"
    shape = circle(x, y, 5 if on_front else 3.5, kind)
    shape = join([whisker(chart, x, metric.low, metric.high), shape])
    cost = f"quality of {model}: {cost_words(point.quality)}"
    tip = "\n".join([trial_name(result, source), *model_lines(source, model, speed_unit(result)), cost])
    return mark(shape, tip, (point.value, metric.median), f"trial-{source.trial.number}" if on_front else "")


def choice_name(result: Result, model: str, quality: QualityInfo) -> str:
    """Return a short name: the quantization where no two files share one, and the cache types where they differ."""
    files = result.files.get(model, {}) or {result.models[model].file: result.models[model]}
    types = [each.quantization for each in files.values()]
    short = files[quality.file].quantization if quality.file in files else None
    name = short if short is not None and types.count(short) == 1 else quality.file
    caches = {(each.type_k, each.type_v) for each in result.quality[model]}
    return f"{name} {quality.type_k}/{quality.type_v}" if len(caches) > 1 else name


def _speed(point: _Point, model: str) -> float:
    metric = point.source.metric(model, "tokens_per_s")
    return 0.0 if metric is None else metric.median


def _table(result: Result, model: str) -> Html:
    kinds = list(dict.fromkeys(kind for each in result.quality[model] for kind in each.by_kind))
    headings = [
        "file",
        "K/V cache",
        "size",
        "KL divergence",
        *kinds,
        "top-1 agreement",
        "ln PPL",
        "bits per byte",
        *(["your score"] if _is_scored(result, model) else []),
        "note",
    ]
    rows = [_row(result, model, at, each, kinds) for at, each in enumerate(result.quality[model])]
    return table(f"The quality of the files of {model}, compared with {_reference(result, model)}", headings, rows)


def _row(result: Result, model: str, index: int, quality: QualityInfo, kinds: list[str]) -> list[Html]:
    at = pointer("quality", model, index)
    file = next((each for each in result.variants().values() if each.file == quality.file), None)
    none, error = escape("–"), quality.standard_error
    divergence = none if quality.kl_divergence is None else _value(quality.kl_divergence, at + "/kl_divergence")
    if error:
        divergence = Html(f"{divergence} ± {number(error, f'{error:.1g}', at + '/standard_error')}")
    agreement, change, bits = quality.top1_agreement, quality.ln_ppl_change, quality.bits_per_byte
    return [
        escape(quality.file),
        escape(f"{quality.type_k}/{quality.type_v}"),
        NOT_RECORDED if file is None else size(file.file_bytes),
        divergence,
        *(_kind(quality, kind, at) for kind in kinds),
        none if agreement is None else percent(agreement, at + "/top1_agreement"),
        none if change is None else number(change, f"{change:+.3f}", at + "/ln_ppl_change"),
        none if bits is None else number(bits, f"{bits:.3f}", at + "/bits_per_byte"),
        *(_score(quality, at) if _is_scored(result, model) else []),
        escape(_note(quality)),
    ]


def _is_scored(result: Result, model: str) -> bool:
    return any(each.score is not None for each in result.quality[model])


def _score(quality: QualityInfo, at: str) -> list[Html]:
    score = quality.score
    return [escape("–") if score is None else number(score, f"{score:.6g}", at + "/score")]


def _kind(quality: QualityInfo, kind: str, at: str) -> Html:
    value = quality.by_kind.get(kind)
    return escape("–") if value is None else _value(value, at + pointer("by_kind", kind))


def _note(quality: QualityInfo) -> str:
    if quality.unknown is not None:
        return f"unknown: {quality.unknown}"
    if quality.is_reference:
        return "the reference"
    return "no loss visible" if quality.is_visible is False else ""


def _reference(result: Result, model: str) -> str:
    return result.quality[model][0].reference


def _value(value: float, at: str) -> Html:
    return number(value, f"{value:.3g}", at)
