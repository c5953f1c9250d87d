"""The noise of a recorded table: its own residuals, so that no distribution is assumed.

A residual is a logarithm, so noise is a factor. pp and tg of one measurement stay a pair, because a slow machine slows
both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from random import Random
from statistics import fmean, median, stdev

from layertune.testing.recorded_table import ModelCell, RecordedTable, Speed

Pair = tuple[float, float]  # of pp and of tg

_NONE: Pair = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class RecordedNoise:
    """One model's residuals between loads of an engine, and between repetitions in one load."""

    loads: tuple[Pair, ...]
    repeats: tuple[Pair, ...]

    @classmethod
    def of(cls, table: RecordedTable, model: str) -> "RecordedNoise":
        """Return the noise of a table; none if it measures nothing twice."""
        by_engine = table.cells_of(model).values()
        repeats = _residuals(_repetitions(cell) for cells in by_engine for cell in cells)
        loads = _residuals([_middle(cell) for cell in cells] for cells in by_engine)
        n_repeats = median(len(cell.samples.pp_tokens_per_s) for cells in by_engine for cell in cells)
        # A cell's median includes the noise of its repetitions, which a replay adds separately.
        pp, tg = (_share_of_loads(loads, repeats, phase, n_repeats) for phase in (0, 1))
        return cls(tuple((pp * each[0], tg * each[1]) for each in loads) or (_NONE,), repeats or (_NONE,))

    def load(self, speed: Speed, generator: Random) -> Speed:
        """Return a model's speed after one load, from its true speed."""
        return _scaled(speed, generator.choice(self.loads))

    def repeat(self, speed: Speed, generator: Random) -> Speed:
        """Return one repetition of a loaded model."""
        return _scaled(speed, generator.choice(self.repeats))


@dataclass(frozen=True, slots=True)
class FactorisationError:
    """The difference of a model's tokens/s between joint cells and factor cells, as log ratios.

    For a few percent, log ratios are relative differences. `noise_…` is the same between factor cells of one engine,
    which differ only by their loads. A value is None if there are too few cells.
    """

    n_joint: int
    bias: float | None
    median_absolute: float | None
    spread: float | None
    n_noise: int
    noise_median_absolute: float | None
    noise_spread: float | None


def factorisation_error(table: RecordedTable, model: str) -> FactorisationError:
    """Compare every joint cell with its engine's factor cells; spreads are standard deviations."""
    factor, joint = table.cells_of(model, "factor"), table.cells_of(model, "joint")
    ratios = [
        _rate(cell) - median(map(_rate, factor[engine]))
        for engine, cells in joint.items()
        if engine in factor
        for cell in cells
    ]
    noise = [
        _rate(cell) - median(map(_rate, [*cells[:place], *cells[place + 1 :]]))
        for cells in factor.values()
        if len(cells) > 1
        for place, cell in enumerate(cells)
    ]
    return FactorisationError(
        len(ratios),
        median(ratios) if ratios else None,
        median(map(abs, ratios)) if ratios else None,
        stdev(ratios) if len(ratios) > 1 else None,
        len(noise),
        median(map(abs, noise)) if noise else None,
        stdev(noise) if len(noise) > 1 else None,
    )


def _residuals(groups: Iterable[Sequence[Pair]]) -> tuple[Pair, ...]:
    """Return the difference of each value from its group's mean, times √(n / (n − 1)).

    The factor is Bessel's correction. For a median it would depend on the noise.
    """
    found: list[Pair] = []
    for group in groups:
        if len(group) > 1:
            larger = sqrt(len(group) / (len(group) - 1))
            pp, tg = (fmean(values) for values in zip(*group, strict=True))
            found += [(larger * (each[0] - pp), larger * (each[1] - tg)) for each in group]
    return tuple(found)


def _share_of_loads(loads: Sequence[Pair], repeats: Sequence[Pair], phase: int, n_repeats: float) -> float:
    """Return the factor that removes the repetitions' noise from the residuals of cells.

    It is computed from typical residuals, so that one outlier among the repetitions does not remove all noise of loads.
    """
    of_cells = median(abs(each[phase]) for each in loads) if loads else 0.0
    of_repeats = median(abs(each[phase]) for each in repeats) if repeats else 0.0
    if of_cells == 0.0:
        return 1.0
    return sqrt(max(0.0, 1 - of_repeats**2 / n_repeats / of_cells**2))


def _repetitions(cell: ModelCell) -> list[Pair]:
    rates = zip(cell.samples.pp_tokens_per_s, cell.samples.tg_tokens_per_s, strict=True)
    return [(log(pp), log(tg)) for pp, tg in rates]


def _middle(cell: ModelCell) -> Pair:
    return log(median(cell.samples.pp_tokens_per_s)), log(median(cell.samples.tg_tokens_per_s))


def _rate(cell: ModelCell) -> float:
    return log(median(cell.samples.tokens_per_s))


def _scaled(speed: Speed, by: Pair) -> Speed:
    return replace(
        speed,
        pp_tokens_per_s=speed.pp_tokens_per_s * exp(by[0]),
        tg_tokens_per_s=speed.tg_tokens_per_s * exp(by[1]),
    )
