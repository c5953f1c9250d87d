"""Engines far from all that taught: a part of a study's splits predicts the others, by how far they are from it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from comparison import Beyond, Direction
from studies import Calibrated
from tables import Searched

from layertune.prediction import Calibration
from layertune.prediction.held_back import HeldBack, Observed, bar_factor, beyond, hold_back, predicted, split_of
from layertune.prediction.interval_checks import scores
from layertune.sampler.posterior import ModelEngines

DISTANCES = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.0))

# How many splits teach: these, and two thirds of all.
_N_KNOWN = (3, 4, 6)

# An engine's distance, it as predicted and as measured, and how many of its spreads its interval has.
_Judged = tuple[Direction, float, HeldBack, float]


def of_studies(found: Sequence[Calibrated]) -> list[Beyond]:
    """Let a part of each study's splits predict its others."""
    judged = [
        one
        for each in found
        for name, observed in each.calibration.measured.items()
        for one in _judge(name, each.calibration, observed, observed)
    ]
    return _bands("recorded studies", judged)


def of_tables(found: Sequence[Searched]) -> list[Beyond]:
    """Let a part of each search's splits predict the cells of its table."""
    judged = []
    for each in found:
        study = each.calibration.study
        for name, observed in each.calibration.measured.items():
            rows = study.models[name].rows
            cells = [(cell.models[name], cell.disturbances) for cell in each.table.cells]
            others = [(rows[cell.settings], cell.samples) for cell, why in cells if not why and cell.settings in rows]
            judged += _judge(name, each.calibration, observed, others)
    return _bands("recorded tables", judged)


def _judge(name: str, calibration: Calibration, observed: Observed, others: Observed) -> Iterator[_Judged]:
    model = calibration.study.models[name]
    held = {split_of(model.engines[row]): model.features.on_host[row] for row, _ in observed}
    for direction, ordered in (("larger", _by_host(held)[::-1]), ("smaller", _by_host(held))):
        for n_known in sorted({*_N_KNOWN, 2 * len(ordered) // 3}):
            if 3 <= n_known < len(ordered):
                yield from _judge_part(name, model, observed, others, set(ordered[:n_known]), direction)


def _by_host(held: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Return the splits, those first that have the least on the host."""
    return sorted(held, key=lambda split: held[split])


def _judge_part(
    name: str,
    model: ModelEngines,
    observed: Observed,
    others: Observed,
    known: set[tuple[int, int]],
    direction: Direction,
) -> Iterator[_Judged]:
    taught = [each for each in observed if split_of(model.engines[each[0]]) in known]
    outside = [each for each in others if split_of(model.engines[each[0]]) not in known]
    distances = beyond(model, [row for row, _ in taught])
    least = min(model.features.on_host[row] for row, _ in taught)
    factor = bar_factor(scores(hold_back(name, model, taught)))
    places = {id(engine): row for row, engine in enumerate(model.engines)}
    unknown = {split_of(model.engines[row]) for row, _ in outside}
    for without in predicted(name, model, [*taught, *outside], unknown):
        for each in without.of("tokens_per_s"):
            row = places[id(each.settings)]
            is_larger = model.features.on_host[row] < least
            if distances[row] > 0 and is_larger == (direction == "larger"):
                yield direction, float(distances[row]), each, factor


def _bands(source: str, judged: Sequence[_Judged]) -> list[Beyond]:
    by_band: dict[tuple[Direction, tuple[float, float]], list[tuple[HeldBack, float]]] = defaultdict(list)
    for direction, distance, each, factor in judged:
        band = next(band for band in DISTANCES if distance <= band[1])
        by_band[direction, band].append((each, factor))
    return [
        Beyond(
            source,
            direction,
            band,
            len(found),
            sum(each.score <= factor for each, factor in found),
            _off([abs(each.expected / each.measured - 1) for each, _ in found]),
        )
        for (direction, band), found in sorted(by_band.items())
    ]


def _off(errors: Sequence[float]) -> tuple[float, float]:
    return median(errors), sorted(errors)[(9 * len(errors) - 1) // 10]
