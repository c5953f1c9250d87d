"""Every recorded study predicts the cards of the others that measured the same models."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from statistics import geometric_mean

from comparison import Comparison, Figure, Picked, direction, trained_splits

from layertune.prediction.held_back import split_of
from layertune.prediction.prediction_file import CardInfo, PredictedEngine
from layertune.results.result import Result, TrialInfo, quiet_trials
from layertune.settings import EngineSettings
from layertune.study.calibrated import Calibrated, Recorded, calibrate
from layertune.study.other_card import scale

# Recorded before the emulated card's threads stopped spinning (studies/README.md).
OLDER = ("demo-256mib-soak",)


def calibrated(folders: Sequence[Path]) -> list[Calibrated]:
    return [calibrate(Recorded.read(folder)) for folder in folders]


def compare(title: str, group: Sequence[Calibrated]) -> list[Comparison]:
    """Return every ordered pair of the group's studies."""
    return [
        _compare(f"{title}{_otherwise(train.recorded, other.recorded)}", train, other.recorded)
        for train, other in permutations(group, 2)
    ]


def _otherwise(one: Recorded, other: Recorded) -> str:
    """Return what differs between two studies' cards but for their size."""
    if one.config.emulated.n_threads != other.config.emulated.n_threads:
        return ", other device threads"
    if any(each.folder.name in OLDER for each in (one, other)):
        return ", one by an older emulated card"
    return ""


def _compare(group: str, calibrated: Calibrated, other: Recorded) -> Comparison:
    recorded, calibration = calibrated.recorded, calibrated.calibration
    refuse_unlike(recorded, other)
    vram_bytes = other.result.budget.vram_bytes
    if vram_bytes is None:
        raise SystemExit(f"{other.folder} has no budget to predict under")
    card = CardInfo(
        profile=other.folder.name,
        kind="emulated",
        name=other.result.hardware.device.name,
        vram_bytes=vram_bytes,
        n_threads=other.config.emulated.n_threads,
    )
    scaled = scale(recorded, calibration, calibrated.shapes, card, None)
    engines = calibration.engines(scaled.changes)
    figures, n_unknown = measured_figures(calibrated, other, engines)
    capacity_bytes = calibrated.capacity_bytes(vram_bytes)
    expected = calibration.expect(capacity_bytes, scaled.changes)
    error = calibration.error(capacity_bytes, scaled.changes)
    picks = []
    for pick, number in other.result.picks.items():
        predicted = expected.front[expected.picks[pick]].models
        for name, engine in other.result.trial(number).settings.items():
            least, most = error.layers.get(pick, {}).get(name, (None, None))
            n_predicted = predicted[name].settings.n_gpu_layers
            picks.append(Picked(pick, name, n_predicted, engine.n_gpu_layers, least, most))
    return Comparison(
        group=group,
        train=recorded.folder.name,
        other=other.folder.name,
        direction=direction(recorded.result.budget.vram_bytes or 0, vram_bytes),
        scaled=scaled.how,
        n_trials=len(calibration.study.trials),
        level=error.level,
        own_median=error.median,
        own_coverage=error.coverage,
        own_larger=error.coverage_larger,
        figures=tuple(figures),
        picks=tuple(picks),
        regret=None,
        n_unknown=n_unknown,
        machine=machine_change(recorded.result, other.result),
    )


def measured_figures(
    calibrated: Calibrated, other: Recorded, engines: Mapping[str, Mapping[EngineSettings, PredictedEngine]]
) -> tuple[list[Figure], int]:
    """Return every model's speed in every quiet trial of the other study, and how many trials were not predicted."""
    study = calibrated.calibration.study
    n_layers, trained, figures, n_unknown = study.n_layers, trained_splits(study), [], 0
    for trial in quiet_trials(other.result):
        settings = {name: engine.canonical(n_layers[name]) for name, engine in trial.settings.items()}
        if not all(engine in engines[name] for name, engine in settings.items()):
            n_unknown += 1
            continue
        for name, engine in settings.items():
            told = engines[name][engine]
            speed = told.tokens_per_s
            measured = (trial.metrics or {})[name]["tokens_per_s"].median
            new = split_of(engine) not in trained[name]
            figures.append(
                Figure(name, engine.n_gpu_layers, new, told.beyond, speed.expected, speed.low, speed.high, measured)
            )
    return figures, n_unknown


def machine_change(one: Result, other: Result) -> float | None:
    """Return how many times as fast the machine was in the other study, by trials that had every layer on the host, to
    which the card is nothing; None where a study has none."""
    trials = [on_the_host(each) for each in (one, other)]
    if None in trials:
        return None
    speeds = [[each["tokens_per_s"].median for each in (trial.metrics or {}).values()] for trial in trials if trial]
    return geometric_mean(speeds[1]) / geometric_mean(speeds[0])


def on_the_host(result: Result) -> TrialInfo | None:
    return next(
        (trial for trial in quiet_trials(result) if not any(each.n_gpu_layers for each in trial.settings.values())),
        None,
    )


def refuse_unlike(one: Recorded, other: Recorded) -> None:
    hashes = [{name: model.sha256 for name, model in each.result.models.items()} for each in (one, other)]
    if hashes[0] != hashes[1] or one.result.workload != other.result.workload:
        raise SystemExit(f"{one.folder} and {other.folder} measured other models or workloads")
