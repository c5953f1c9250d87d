"""The front and the baselines as tables, and the front as JSON."""

import textwrap
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from layertune.results.qualities import shown_quality
from layertune.results.remarks import baseline_words, gain_words
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.tables import Table
from layertune.units import format_bytes

_PICK_WIDTH = 9  # "balanced,"


def front_json(result: Result) -> dict[str, Any]:
    front = [result.trial(number).model_dump(mode="json") for number in result.pareto]
    quality = {name: [each.model_dump(mode="json") for each in found] for name, found in result.quality.items()}
    return {"pareto": front, "picks": result.picks} | ({"quality": quality} if quality else {})


def front_table(result: Result, width: int | None = None) -> Table:
    """Return the front as a table, in the order of the trials' numbers, with the picks.

    Args:
        result: A study.
        width: In characters. A table that is wider has one row for each model of a trial, instead of one for a trial.
    """
    wide = Table(_title(result))
    wide.column("", "trial", right=True)
    for name in result.models:
        for at, heading in enumerate(_headings(result, [name])):
            below = name if at == 0 and not heading[0] else heading[0]
            wide.column(below, heading[1], right=heading[1] != "file")
    wide.column("peak", "VRAM", right=True)
    wide.column("", "loads", right=True)
    wide.column("", "pick", wraps=True)
    for number in result.pareto:
        trial = result.trial(number)
        models = [cell for name in result.models for cell in _engine_cells(result, trial, name, [name])]
        wide.row(str(number), *models, *_trial_cells(result, trial))
    return wide if width is None or wide.width() <= width else _tall_front(result)


def _tall_front(result: Result) -> Table:
    names = list(result.models)
    files = {name: _short_names([trial.settings[name].file for trial in result.trials]) for name in names}
    headings = _headings(result, names)
    engines = []
    for number in result.pareto:
        trial = result.trial(number)
        for name in names:
            cells = _engine_cells(result, trial, name, names)
            engines.append([files[name].get(cell, cell) for cell in cells])
    # What is the same everywhere needs no column.
    same = [at for at, cells in enumerate(zip(*engines, strict=True)) if len(engines) > 1 and len(set(cells)) == 1]
    tall = Table(_title(result) + "".join(f"; {headings[at][1]} {engines[0][at]} everywhere" for at in same))
    tall.column("", "trial", right=True)
    tall.column("", "model")
    for at, heading in enumerate(headings):
        if at not in same:
            tall.column(*heading, right=heading[1] != "file")
    tall.column("peak", "VRAM", right=True)
    tall.column("", "pick", wraps=True)
    rows = iter(engines)
    for number in result.pareto:
        peak, _, picks = _trial_cells(result, result.trial(number))
        lines = [line.rstrip(",") for line in textwrap.wrap(picks, _PICK_WIDTH)]
        lines = [*lines[: len(names) - 1], ", ".join(lines[len(names) - 1 :])]
        for at, (name, engine) in enumerate(zip(names, rows, strict=False)):
            shown = [cell for place, cell in enumerate(engine) if place not in same]
            first = ("", "") if at else (str(number), peak)
            tall.row(first[0], name, *shown, first[1], lines[at] if at < len(lines) else "")
    return tall


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return what file names differ in, like Q4_K_M."""
    different = sorted(set(names))
    start = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(different[0], different[-1], strict=False)))
    short = {name: name[start:].removesuffix(".gguf").strip("-._") for name in different}
    return short if all(short.values()) and len(set(short.values())) == len(different) else {}


def baseline_table(result: Result, width: int | None = None) -> Table:
    """Return a table of the baselines: their settings, their trials, and how the balanced pick compares.

    Args:
        result: A study.
        width: In characters. A table that is wider has one row for each model of a baseline.
    """
    wide, tall = Table("Baselines"), Table("Baselines")
    for heading in ("name", "layers", "planned", "measured as"):
        wide.column(heading)
    for name in result.models:
        wide.column(f"balanced pick, {name}")
    for heading in ("name", "layers", "balanced pick"):
        tall.column(heading)
    tall.column("planned, measured as", wraps=True)
    for name, baseline in result.baselines.items():
        settings = {} if baseline.settings is None else baseline.settings
        layers = {model: f"{model} {engine.n_gpu_layers}" for model, engine in settings.items()}
        planned = "–" if baseline.planned_bytes is None else format_bytes(baseline.planned_bytes)
        measured = baseline_words(result, baseline)
        gains = {model: gain_words(baseline.balanced.get(model)) for model in result.models}
        wide.row(name, ", ".join(layers.values()) or "–", planned, measured, *gains.values())
        for at, (model, gain) in enumerate(gains.items()):
            tall.row("" if at else name, layers.get(model, "–"), gain, (planned, measured)[at] if at < 2 else "")
    return wide if width is None or wide.width() <= width or len(result.models) == 1 else tall


def _headings(result: Result, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the two lines above the columns of one model, or of several models that share columns."""
    shown = {each.heading for name in names if (each := shown_quality(result, name))}
    return [
        *([("", "file")] if any(name in result.files for name in names) else []),
        *([("", shown.pop() if len(shown) == 1 else "quality")] if shown else []),
        ("", "layers"),
        ("", "-c -b"),
        ("tokens/s", "alone"),
        ("", "together"),
    ]


def _engine_cells(result: Result, trial: TrialInfo, name: str, names: Sequence[str]) -> list[str]:
    """Return the cells of one model below `_headings` of `names`."""
    engine, metrics = trial.settings[name], (trial.metrics or {})[name]
    alone, together = metrics["tokens_per_s"], metrics.get("tokens_per_s_together")
    shown = shown_quality(result, name)
    quality = "" if shown is None else shown.text(result.quality_of(name, engine))
    return [
        *([engine.file] if any(each in result.files for each in names) else []),
        *([quality] if any(shown_quality(result, each) for each in names) else []),
        engine.layers(result.model_of(name, engine).n_layer),
        f"{engine.slots_words} {engine.n_batch}",
        _speed(alone),
        "–" if together is None else f"{together.median:.1f}",
    ]


def _trial_cells(result: Result, trial: TrialInfo) -> list[str]:
    return [
        format_bytes(trial.vram.peak_bytes) if trial.vram else "–",
        str(1 + trial.n_all_rounds()),
        ", ".join(pick for pick, number in result.picks.items() if number == trial.number),
    ]


def _speed(metric: MetricInfo) -> str:
    """Return a median, with half its 95 % interval where there is one."""
    if metric.low is None or metric.high is None:
        return f"{metric.median:.1f}"
    return f"{metric.median:.1f} ±{(metric.high - metric.low) / 2:.1f}"


def _title(result: Result) -> str:
    device, capacity_bytes = result.hardware.device, result.budget.capacity_bytes()
    on = device.name if device.vram_bytes is None else f"{device.name}, {format_bytes(device.vram_bytes)}"
    limit = f", budget {format_bytes(capacity_bytes)}" if capacity_bytes is not None else ""
    return f"Pareto front of {result.study.name}: {len(result.pareto)} of {len(result.trials)} trials ({on}{limit})"
