"""A search on a recorded table under one cap predicts the table's cells under another: their truth is known."""

import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from comparison import Comparison, Figure, Picked, trained_splits
from optuna.storages import InMemoryStorage

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "search_efficiency"))

from race import Field, Race, cap_bytes, opened, plan  # noqa: E402
from truth import Truth, engines  # noqa: E402

from layertune.prediction import Calibration, Study  # noqa: E402
from layertune.prediction.calibration import Expected  # noqa: E402
from layertune.prediction.held_back import split_of  # noqa: E402
from layertune.results.picks import Candidate, candidates, choose  # noqa: E402
from layertune.results.trials import front  # noqa: E402
from layertune.search.speeds import model_engines  # noqa: E402
from layertune.search.study import Search  # noqa: E402
from layertune.settings import SplitSettings  # noqa: E402
from layertune.testing import RecordedTable, ReplayRunner  # noqa: E402
from layertune.trial.outcome import Measured  # noqa: E402

# What both models need whole, as shares: the small cap and the large one of each pair.
PAIRS = (("smollm2-gemma3", 1, 0.75, 0.9), ("gemma3-qwen05b", None, 0.5, 0.75))
N_TRIALS = 20  # about as many as layer-split takes by itself


def compare(n_seeds: int) -> list[Comparison]:
    """Predict the large cap from a search under the small one, and the other way, with every seed."""
    found = []
    for table, n_threads, small, large in PAIRS:
        for train, other in ((small, large), (large, small)):
            fields = Field(table, n_threads, train, with_vram=False), Field(table, n_threads, other, with_vram=False)
            found += [_compare(*fields, seed) for seed in range(n_seeds)]
    return found


def _compare(train: Field, other: Field, seed: int) -> Comparison:
    table, _ = opened(train)
    _, truth = opened(other)
    calibration = _calibrated(table, train, seed)
    n_bytes = cap_bytes(table, other.cap)
    expected = calibration.expect(n_bytes, {})
    balanced = expected.front[expected.picks["balanced"]].models
    settings = SplitSettings.of({name: each.settings for name, each in balanced.items()})
    error = calibration.error(n_bytes, {})
    return Comparison(
        train=f"{train.table}, {train.cap:.0%}",
        other=f"{other.cap:.0%}",
        scaled="nothing",
        n_trials=len(calibration.study.trials),
        level=error.level,
        own_median=error.median,
        own_coverage=error.coverage,
        figures=tuple(_figures(table, calibration, n_bytes)),
        picks=tuple(_picks(table, truth, n_bytes, expected, error.layers_off)),
        regret=1 - truth.score(settings) / truth.best_score,
        n_unknown=0,
    )


def _calibrated(table: RecordedTable, field: Field, seed: int) -> Calibration:
    race = Race(field, "layer-split", planned=True, seed=seed, n_trials=N_TRIALS)
    raced = plan(table, race)
    with tempfile.TemporaryDirectory() as folder:
        search = Search(raced, InMemoryStorage(), Path(folder))
        search.run(ReplayRunner(table, cap_bytes(table, field.cap), seed), lambda _event: None)
        trials = search.finished()
    best = front(trials, raced.objectives)
    if raced.feasible is None:
        raise SystemExit(f"{table.name} has no plan")
    study = Study(
        models=model_engines(table.space, raced.feasible, raced.workloads),
        n_layers=table.n_layers,
        planner=table.planner,
        objectives=raced.objectives,
        room_bytes=raced.feasible.room_bytes(),
        trials=[
            (each.settings, {name: report.samples for name, report in each.outcome.models.items()})
            for each in trials
            if isinstance(each.outcome, Measured)
        ],
        picks={
            pick: next(each.settings for each in best if each.number == number)
            for pick, number in choose(candidates(best)).items()
        },
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
            measured = calibration.study.models[name].workload.n_generate / calibration.study.models[name].workload_s(
                each.samples
            )
            yield Figure(
                model=name,
                n_gpu_layers=each.settings.n_gpu_layers,
                new=split_of(each.settings) not in trained[name],
                beyond=engine.beyond,
                expected=speed.expected,
                low=speed.low,
                high=speed.high,
                measured=measured,
            )


def _picks(
    table: RecordedTable, truth: Truth, n_bytes: int, expected: Expected, layers_off: dict[str, dict[str, int]]
) -> Iterator[Picked]:
    """Yield each pick beside that of somebody who knows all figures without noise."""
    fitting = [
        settings
        for pair in product(*(engines(table, name) for name in table.n_layers))
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
            bar = layers_off.get(pick, {}).get(name)
            yield Picked(pick, name, predicted[name].settings.n_gpu_layers, engine.n_gpu_layers, bar)
