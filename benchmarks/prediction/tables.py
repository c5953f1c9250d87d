"""A search on a recorded table under one cap predicts the table's cells under another: their truth is known."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from comparison import Comparison, Figure, Picked, direction, trained_splits
from efficiency import race, truth
from optuna.storages import InMemoryStorage

from layertune.prediction import Calibration, MeasuredStudy
from layertune.prediction.calibration import Expected
from layertune.prediction.held_back import measured_rate, split_of
from layertune.results.picks import Candidate, choose
from layertune.sampler.posterior import model_engines
from layertune.search.search import Search
from layertune.settings import SplitSettings
from layertune.testing import RecordedTable, ReplayRunner
from layertune.trial.outcome import Measured

# What both models need whole, as shares: the small cap and the large one of each pair.
PAIRS = (("smollm2-gemma3", 1, 0.75, 0.9), ("gemma3-qwen05b", None, 0.5, 0.75))
N_TRIALS = 20  # about as many as layer-split takes by itself


@dataclass(frozen=True)
class Searched:
    """A table, a search on it under one cap, and what that teaches."""

    table: RecordedTable
    field: race.Field
    other: race.Field
    calibration: Calibration


def searched(n_seeds: int) -> Iterator[Searched]:
    """Yield the searches under the small cap of each pair and under the large one, with every seed."""
    for name, n_threads, small, large in PAIRS:
        for train, other in ((small, large), (large, small)):
            field, another = (race.Field(name, n_threads, cap, with_vram=False) for cap in (train, other))
            table, _ = race.opened(field)
            for seed in range(n_seeds):
                yield Searched(table, field, another, _calibrated(table, field, seed))


def compare(each: Searched) -> Comparison:
    """Predict the cells of the other cap."""
    table, train, other, calibration = each.table, each.field, each.other, each.calibration
    _, known = race.opened(other)
    n_bytes = race.cap_bytes(table, other.cap)
    expected = calibration.expect(n_bytes, {})
    balanced = expected.front[expected.picks["balanced"]].models
    settings = SplitSettings.of({name: each.settings for name, each in balanced.items()})
    error = calibration.error(n_bytes, {})
    return Comparison(
        group=train.table,
        train=f"{train.table}, {train.cap:.0%}",
        other=f"{other.cap:.0%}",
        direction=direction(race.cap_bytes(table, train.cap), n_bytes),
        scaled="nothing",
        n_trials=len(calibration.study.trials),
        level=error.level,
        own_median=error.median,
        own_coverage=error.coverage,
        own_larger=error.coverage_larger,
        figures=tuple(_figures(table, calibration, n_bytes)),
        picks=tuple(_picks(table, n_bytes, expected, error.layers)),
        regret=1 - known.score(settings) / known.best_score,
        n_unknown=0,
    )


def _calibrated(table: RecordedTable, field: race.Field, seed: int) -> Calibration:
    raced = race.plan(table, race.Race(field, "layer-split", planned=True, seed=seed, n_trials=N_TRIALS))
    with tempfile.TemporaryDirectory() as folder:
        search = Search(raced, InMemoryStorage(), Path(folder))
        search.run(ReplayRunner(table, race.cap_bytes(table, field.cap), seed), lambda _event: None)
        trials = search.finished()
    if raced.feasible is None:
        raise SystemExit(f"{table.name} has no plan")
    study = MeasuredStudy(
        models=model_engines(table.space, raced.feasible, raced.workloads),
        n_layers=table.n_layers,
        planner=table.planner,
        objectives=raced.objectives,
        trials=[
            (each.settings, {name: report.samples for name, report in each.outcome.models.items()})
            for each in trials
            if isinstance(each.outcome, Measured)
        ],
        session=0.0,  # the cells of a table are of one session
    )
    return Calibration(study)


def _figures(table: RecordedTable, calibration: Calibration, n_bytes: int) -> Iterator[Figure]:
    """Yield every model's speed in every cell that fits and that nothing disturbed: each is a measurement of its own,
    with its noise. Splits that the training trials had are among them, marked."""
    told, trained = calibration.engines({}), trained_splits(calibration.study)
    for cell in table.cells:
        if cell.disturbances or cell.peak_bytes > n_bytes:
            continue
        if not all(each.settings in told[name] for name, each in cell.models.items()):
            continue
        for name, each in cell.models.items():
            engine = told[name][each.settings]
            speed = engine.tokens_per_s
            yield Figure(
                model=name,
                n_gpu_layers=each.settings.n_gpu_layers,
                new=split_of(each.settings) not in trained[name],
                beyond=engine.beyond,
                expected=speed.expected,
                low=speed.low,
                high=speed.high,
                measured=measured_rate(calibration.study.models[name], each.samples, "tokens_per_s"),
            )


def _picks(
    table: RecordedTable, n_bytes: int, expected: Expected, layers: dict[str, dict[str, tuple[int, int]]]
) -> Iterator[Picked]:
    """Yield each pick next to the one that the true speeds give."""
    fitting = [
        settings
        for pair in product(*(truth.engines(table, name) for name in table.n_layers))
        if table.peak_bytes(settings := SplitSettings.of(dict(zip(table.n_layers, pair, strict=True)))) <= n_bytes
    ]
    known = [
        Candidate(
            place,
            {name: speed.tokens_per_s for name, speed in table.true_metrics(settings).models.items()},
            table.peak_bytes(settings),
        )
        for place, settings in enumerate(fitting)
    ]
    for pick, place in choose(known).items():
        predicted = expected.front[expected.picks[pick]].models
        for name, engine in fitting[place].items():
            least, most = layers.get(pick, {}).get(name, (None, None))
            yield Picked(pick, name, predicted[name].settings.n_gpu_layers, engine.n_gpu_layers, least, most)
