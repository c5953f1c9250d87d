"""A recommendation as people read it: lines, a table, JSON, and the `.env` before the first trial."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layertune import __version__
from layertune.errors import LayertuneError, NothingFits
from layertune.export.env import is_planned, render_planned_env
from layertune.export.flags import Flag, HostCaches, engine_flags
from layertune.memory import HOST, ModelPlan
from layertune.memory.buffers import resident_bytes
from layertune.regular_files import CONFIG_BYTES, is_there, read_text
from layertune.results.remarks import against_words, cost_words
from layertune.results.result import write_study_file
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings
from layertune.study.expected_speeds import Expected
from layertune.study.facts import StudyFacts
from layertune.study.recommendation import Recommendation, recommend
from layertune.units import format_bytes, join_bytes

_EMULATED = "EMULATED: speeds are of this CPU, not of a GPU; bytes are as llama.cpp allocates them"
_MEASURE = "Not measured yet: layertune search measures it."


def write_recommendation(study: StudyFacts, finished: Sequence[FinishedTrial], path: Path) -> None:
    """Write the recommended `.env` of a study without trials, and say what it is; a measured one stays."""
    if finished or (is_there(path) and not is_planned(path)) or study.feasible is None:
        return
    try:
        found = recommend(study)
    except NothingFits:
        return  # the search says it
    except LayertuneError as error:
        study.notify(f"no recommendation before the first trial: {error}")
        return
    env = planned_env(study, found)
    if is_planned(path) and read_text(path, CONFIG_BYTES) == env:
        return
    write_study_file(path, env)
    study.notify(f"not measured yet, by memory plan and bandwidth: {_row(study, found.best)}; written to {path.name}")
    for name, expected in found.baselines.items():
        if expected is not None and expected.fits:
            study.notify(f"  {name}: {_row(study, expected)}")


def planned_env(study: StudyFacts, found: Recommendation) -> str:
    """Return the `.env` of the recommended setting, marked as not measured.

    Raises:
        UsageError: a model's file name cannot be quoted safely.
    """
    plan = study.planner.plan(found.settings)
    flags = {name: _flags(study, found, name, model) for name, model in plan.models.items()}
    files = {name: study.models.shape(name, engine).files[0].name for name, engine in found.settings.items()}
    return render_planned_env(_origin(study, found), {name: (files[name], flags[name]) for name in files})


def table(study: StudyFacts, found: Recommendation) -> list[str]:
    """Return the recommendation and the baselines as lines of at most 80 columns, where the names allow it."""
    heads = [head for name in study.config.models for head in (f"{name} layers", "tok/s")]
    rows = [["", *heads, "planned"]]
    for name, expected in {"recommended": found.best, **found.baselines}.items():
        if expected is None:
            rows.append([name, *["-"] * len(heads), "no setting"])
            continue
        cells = []
        for model, engine in _canonical(study, expected):
            speed = expected.tokens_per_s.get(model)
            file = f"{engine.file} " if engine.file else ""
            cells.append(file + engine.layers(study.models.shape(model, engine).n_layer))
            cells.append("?" if speed is None else f"{speed:.1f}")
        planned = "refused" if expected.planned_bytes is None else format_bytes(expected.planned_bytes)
        rows.append([name, *cells, planned if expected.fits else f"{planned}, over"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip() for name, *cells in rows]


def text(study: StudyFacts, found: Recommendation) -> list[str]:
    """Return all that the command prints."""
    budget = f", budget {join_bytes(study.limits.vram)}" if study.limits.vram else ""
    lines = [f"Recommended, not measured yet: {study.target.name}{budget}", *table(study, found)]
    for name, engine in _canonical(study, found.best):
        lines.append(f"{name}: -c {engine.n_ctx} -b {engine.n_batch} -ub {engine.n_ubatch} -t {engine.n_threads}")
    lines += [*found.rates, *_doubts(study, found), _MEASURE]
    return lines


def as_json(study: StudyFacts, found: Recommendation) -> dict[str, Any]:
    """Return the recommendation as JSON."""
    return {
        "measured": False,
        "emulated": study.target.kind == "emulated",
        "by_speed": found.by_speed,
        "recommended": _json(found.best),
        "baselines": {name: None if each is None else _json(each) for name, each in found.baselines.items()},
        "budget_bytes": study.limits.vram_bytes,
        "missed_floors": [str(floor) for floor in found.missed_floors],
        "rates": list(found.rates),
    }


def _json(expected: Expected) -> dict[str, Any]:
    return {
        "settings": expected.settings.as_dict(),
        "expected_tokens_per_s": dict(expected.tokens_per_s),
        "planned_bytes": expected.planned_bytes,
        "fits": expected.fits,
    }


def _origin(study: StudyFacts, found: Recommendation) -> Iterator[str]:
    build, target = study.build, study.target
    yield f"layertune {__version__}, llama.cpp {build.version} ({build.commit})"
    size = "" if target.vram_bytes is None else f", {format_bytes(target.vram_bytes)}"
    yield f"study {study.config.name}, before its first trial, for: {target.name}{size}; {study.machine.cpu_model}"
    for name, speed in found.best.tokens_per_s.items():
        workload = study.config.models[name].workload
        yield f"{name}: about {speed:.1f} tokens/s alone are expected ({workload.words})"
    budget = "" if study.limits.vram_bytes is None else f" of a budget of {format_bytes(study.limits.vram_bytes)}"
    yield f"planned VRAM {format_bytes(found.best.planned_bytes or 0)}{budget}"
    yield from _doubts(study, found)


def _doubts(study: StudyFacts, found: Recommendation) -> Iterator[str]:
    if study.target.kind == "emulated":
        yield _EMULATED
    if not found.by_speed:
        yield "A bandwidth is not known, so no speed is expected: most of the models' weights are on the device."
    yield from _qualities(study, found)
    if found.missed_floors:
        yield f"No setting is expected to reach {' and '.join(map(str, found.missed_floors))}."


def _qualities(study: StudyFacts, found: Recommendation) -> Iterator[str]:
    """Yield what the chosen file of each model with several files costs in quality."""
    for name, engine in _canonical(study, found.best):
        if not engine.file:
            continue
        wanted = engine.file, engine.type_k, engine.type_v
        known = (each for each in study.quality.get(name, ()) if (each.file, each.type_k, each.type_v) == wanted)
        quality = next(known, None)
        if quality is None:
            yield f"{name}: the quality of {engine.file} was not measured."
        else:
            yield f"{name}: quality, {against_words(quality)}: {cost_words(quality)}"


def _row(study: StudyFacts, expected: Expected) -> str:
    parts = []
    for name, engine in _canonical(study, expected):
        speed = f" ({expected.tokens_per_s[name]:.1f} tok/s)" if expected.tokens_per_s else ""
        layers = engine.layers(study.models.shape(name, engine).n_layer)
        file = f"{engine.file} " if engine.file else ""
        parts.append(f"{name} {file}{layers} layers{speed}")
    return f"{', '.join(parts)}, {format_bytes(expected.planned_bytes or 0)}"


def _canonical(study: StudyFacts, expected: Expected) -> Iterator[tuple[str, EngineSettings]]:
    return study.space.canonical(expected.settings).items()


def _flags(study: StudyFacts, found: Recommendation, name: str, plan: ModelPlan) -> list[Flag]:
    engine, buffers = found.settings[name], plan.devices[HOST].buffers()
    flash_attn = engine.flash_attn if plan.flash_attn is None else "on" if plan.flash_attn else "off"
    file_bytes = study.models.shape(name, engine).file_bytes
    held_bytes = file_bytes if buffers is None else resident_bytes(buffers, file_bytes)
    limit_bytes = study.limits.ram_per_model_bytes
    if limit_bytes is None:
        limit_bytes = study.machine.ram_bytes // len(study.config.models)
    caches = HostCaches.of(limit_bytes, held_bytes, engine, plan.checkpoint_bytes)
    return engine_flags(engine, flash_attn, caches, on_cpu=study.target.kind == "cpu")
