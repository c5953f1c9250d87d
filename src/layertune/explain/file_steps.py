"""What the next smaller and the next larger file of a model give and cost."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log

from layertune.explain.line import Change
from layertune.explain.measured import measured_change
from layertune.results.remarks import cost_words
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import is_disturbed
from layertune.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model. `quality` is what it costs, for people; None if the study knows nothing of it."""

    name: str
    n_bytes: int
    quality: str | None


@dataclass(frozen=True, slots=True)
class FileStep:
    """The next smaller or larger file of a model, instead of the pick's.

    Attributes:
        model: The model.
        before: The pick's file.
        to: The other file.
        trial: The best trial with it, and with the pick's files of the other models; None if none was measured.
        speeds: The changes of tokens/s alone from the pick to that trial, by model.
        vram_bytes: The change of peak VRAM, None if it is not known.
    """

    model: str
    before: File
    to: File
    trial: int | None
    speeds: dict[str, Change]
    vram_bytes: int | None


def file_steps(result: Result, pick: TrialInfo) -> Iterator[FileStep]:
    """Yield for each model with several files the next smaller and the next larger one."""
    for model, files in result.files.items():
        now = pick.settings[model].file
        ordered = sorted(files, key=lambda file: (files[file].file_bytes, file))
        at = ordered.index(now)
        for place in (at - 1, at + 1):
            if 0 <= place < len(ordered):
                yield _step(result, pick, model, ordered[place])


def _step(result: Result, pick: TrialInfo, model: str, file: str) -> FileStep:
    engine = pick.settings[model]
    before, to = (_file(result, model, each) for each in (engine, replace(engine, file=file)))
    found = [_changes(pick, trial) for trial in result.trials if _has(result, pick, trial, model, file)]
    speeds, best = max(found, key=lambda each: (_score(result, each[0]), -each[1].number), default=({}, None))
    vram_bytes = None
    if best is not None and best.vram is not None and pick.vram is not None:
        vram_bytes = best.vram.peak_bytes - pick.vram.peak_bytes
    return FileStep(model, before, to, None if best is None else best.number, speeds, vram_bytes)


def _file(result: Result, model: str, engine: EngineSettings) -> File:
    info, quality = result.model_of(model, engine), result.quality_of(model, engine)
    words = None if quality is None else "the reference" if quality.is_reference else cost_words(quality)
    return File(info.file, info.file_bytes, words)


def _has(result: Result, pick: TrialInfo, trial: TrialInfo, model: str, file: str) -> bool:
    """Return whether a trial is within the limits and has this file, and the pick's files of the other models."""
    if trial.state != "measured" or trial.exceeded() or is_disturbed(trial):
        return False
    return all(
        trial.settings[name].file == (file if name == model else pick.settings[name].file) for name in result.models
    )


def _changes(pick: TrialInfo, trial: TrialInfo) -> tuple[dict[str, Change], TrialInfo]:
    changes = {name: measured_change(pick, trial, name) for name in pick.settings}
    return {name: change for name, change in changes.items() if change is not None}, trial


def _score(result: Result, speeds: dict[str, Change]) -> float:
    """Return the logarithm of the weighted geometric mean of the speeds, relative to the pick's (results/picks.py)."""
    weights = result.weights or dict.fromkeys(result.models, 1.0)
    return sum(weights.get(name, 0.0) * log(max(1 + change.share, 1e-9)) for name, change in speeds.items())
