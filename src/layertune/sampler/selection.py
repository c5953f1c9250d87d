"""Which of the best trials is best: what the search knows of their speeds, and what common rounds add to it.

The logarithm of a model's tokens/s in round r is θ(engine) + d(r) + noise.

- Before the rounds, θ has the posterior of the model of time (`posterior.py`). All trials of a model inform it, so the
  speed of a trial that was lucky is drawn toward those of its neighbours.
- d(r) is how fast the machine was in round r. Nothing is assumed of it, so only differences within a round count.
- The noise is that between two loads of one setting. Its variance is estimated from the rounds, together with what the
  search found.

This is ranking and selection with correlated normal beliefs (Frazier, Powell and Dayanik, The Knowledge-Gradient Policy
for Correlated Normal Beliefs, INFORMS Journal on Computing 21, 2009) and common random numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, pi, sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.special import stdtr

from layertune.results.estimates import Difference, Estimates
from layertune.results.trials import FinishedTrial
from layertune.sampler.posterior import ModelEngines, measured_rows
from layertune.settings import EngineSettings
from layertune.trial.outcome import Measured, ModelSamples

Floats = NDArray[np.float64]

# How much the search's estimate of the noise counts: as much as this many differences between two loads.
_N_PRIOR_DEGREES = 6

# Without a model of time: the noise of a load, relative.
_TYPICAL_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class SpeedPrior:
    """What the search knows of one model's engines: the logarithms of their tokens/s.

    Attributes:
        rows: the row of each engine.
        mean: shape (n,).
        covariance: shape (n, n).
        noise: standard deviation of one load's measurement.
    """

    rows: Mapping[EngineSettings, int]
    mean: Floats
    covariance: Floats
    noise: float


def speed_priors(
    models: Mapping[str, ModelEngines], trials: Sequence[FinishedTrial], contenders: Sequence[FinishedTrial]
) -> dict[str, SpeedPrior]:
    """Return what the search knows of the speeds of `contenders`.

    It is the posterior of the model of time after all `trials`. Where there is no such model, it is what the search
    measured of the contenders.
    """
    known = all(
        name in models and each.settings[name] in models[name].rows for each in contenders for name in each.settings
    )
    if not contenders or not known:
        return _measured_priors(contenders)
    needed = {each.number for each in contenders}
    seen = [
        (each.settings, {name: report.samples for name, report in each.outcome.models.items()})
        for each in trials
        if isinstance(each.outcome, Measured) and (each.number in needed or not each.outcome.disturbances)
    ]
    return {
        name: _prior_of_model(models[name], rows, [each.settings[name] for each in contenders])
        for name, rows in measured_rows(models, seen).items()
    }


def _prior_of_model(
    model: ModelEngines, measured: Sequence[tuple[int, ModelSamples]], engines: Sequence[EngineSettings]
) -> SpeedPrior:
    distinct = list(dict.fromkeys(engines))
    rates, covariance = model.rates(measured, [model.rows[each] for each in distinct])
    noise = model.learn(measured).noise
    return SpeedPrior(
        {each: row for row, each in enumerate(distinct)},
        np.log(rates),
        covariance / np.outer(rates, rates),
        noise,
    )


def _measured_priors(contenders: Sequence[FinishedTrial]) -> dict[str, SpeedPrior]:
    found = {}
    for name in contenders[0].settings if contenders else ():
        by_engine: dict[EngineSettings, list[float]] = {}
        for each in contenders:
            values = each.by_round(name, "tokens_per_s", "search").values()
            by_engine.setdefault(each.settings[name], []).extend(map(log, values))
        found[name] = SpeedPrior(
            {engine: row for row, engine in enumerate(by_engine)},
            np.array([median(values) for values in by_engine.values()]),
            np.diag([_TYPICAL_NOISE**2 / len(values) for values in by_engine.values()]),
            _TYPICAL_NOISE,
        )
    return found


def estimates(contenders: Sequence[FinishedTrial], priors: Mapping[str, SpeedPrior]) -> Estimates:
    """Return what is known of the contenders' speeds after their rounds of the finals."""
    mean, covariance, degrees = {}, {}, []
    for name, prior in priors.items():
        rows = np.array([prior.rows[each.settings[name]] for each in contenders], dtype=np.intp)
        rounds = _rounds(contenders, name, rows)
        noise, n_degrees = _noise(rounds, prior.noise, len(prior.mean))
        of_engines, between = _update(prior, rounds, noise)
        mean[name], covariance[name] = of_engines[rows], between[np.ix_(rows, rows)]
        degrees.append(n_degrees)
    return Estimates([each.number for each in contenders], mean, covariance, min(degrees, default=1))


def expected_gain(difference: Difference) -> float:
    """Return the expected value of max(0, difference): what is lost on average by not picking the first of the two.

    Student's loss function (Chick and Inoue 2001, equation 5).
    """
    if difference.scale == 0:
        return max(0.0, difference.mean)
    standardised, n = -difference.mean / difference.scale, difference.n_degrees
    density = exp(lgamma((n + 1) / 2) - lgamma(n / 2)) / sqrt(n * pi) * (1 + standardised**2 / n) ** (-(n + 1) / 2)
    loss = (n + standardised**2) / (n - 1) * density - standardised * float(stdtr(n, -standardised))
    return float(difference.scale * loss)


# For each round: the rows of the engines that were measured, and the logarithms of their tokens/s.
_Round = tuple[NDArray[np.intp], Floats]


def _rounds(contenders: Sequence[FinishedTrial], name: str, rows: NDArray[np.intp]) -> list[_Round]:
    by_round: dict[int, list[tuple[int, float]]] = {}
    for each, row in zip(contenders, rows, strict=True):
        for key, speed in each.by_round(name, "tokens_per_s", "finals").items():
            by_round.setdefault(key.number, []).append((int(row), log(speed)))
    return [
        (np.array([row for row, _ in found], dtype=np.intp), np.array([value for _, value in found]))
        for found in by_round.values()
    ]


def _noise(rounds: Sequence[_Round], expected: float, n_engines: int) -> tuple[float, int]:
    """Return the standard deviation of the noise, and its degrees of freedom: those of the residuals from engine and
    round, and those that the search's estimate counts for."""
    n_seen = len({int(row) for rows, _ in rounds for row in rows})
    n_values = sum(len(values) for _, values in rounds)
    n_free = n_values - len(rounds) - max(0, n_seen - 1)
    squares = _residual_squares(rounds, n_engines) if n_free > 0 else 0.0
    degrees = _N_PRIOR_DEGREES + max(0, n_free)
    return float(np.sqrt((_N_PRIOR_DEGREES * expected**2 + squares) / degrees)), degrees


def _residual_squares(rounds: Sequence[_Round], n_engines: int) -> float:
    """Return the sum of squares that engines and rounds leave unexplained."""
    values = np.concatenate([each for _, each in rounds])
    columns = np.zeros((len(values), n_engines + len(rounds)))
    place = 0
    for n_round, (rows, each) in enumerate(rounds):
        here = np.arange(place, place + len(each))
        columns[here, rows] = 1
        columns[here, n_engines + n_round] = 1
        place += len(each)
    solution = np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(np.sum((values - columns @ solution) ** 2))


def _update(prior: SpeedPrior, rounds: Sequence[_Round], noise: float) -> tuple[Floats, Floats]:
    """Return the posterior of the engines. Contrasts take the constant of each round out."""
    mean, covariance = prior.mean, prior.covariance
    for rows, values in rounds:
        if len(rows) < 2:
            continue
        contrasts = np.zeros((len(rows) - 1, len(mean)))
        helmert_rows = helmert(len(rows))
        np.add.at(contrasts.T, rows, helmert_rows.T)
        across = covariance @ contrasts.T
        gain = np.linalg.solve(contrasts @ across + noise**2 * np.eye(len(contrasts)), across.T).T
        mean = mean + gain @ (helmert_rows @ values - contrasts @ mean)
        covariance = covariance - gain @ across.T
    return mean, covariance
