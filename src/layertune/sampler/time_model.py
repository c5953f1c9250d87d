"""A model of time: how long one piece of work takes with each engine of a model, from the few that were measured.

It is a Gaussian process over engines (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
chapter 2). Its covariance has what is known of offloading:

- a line: the time is nearly linear in the bytes of weights that stay on the host;
- a step where the output matrix moves to the device, which is the first layer to do so (llama-model.cpp, i_gpu_start);
- a step where the first repeating layer follows, with its KV cache and attention;
- a smooth residual over the number of layers, so that a kink is learned where it is measured;
- a length scale for every other setting, such as batch size and threads: the more alike two engines are in these, the
  more alike are their times.

The hyperparameters are those with the highest marginal likelihood.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

Floats = NDArray[np.float64]

# Variances relative to the square of a typical time: of the line's slope (a device may be many times as fast as the
# host), of the step from no layer on the device to one, and of the step from one layer to two.
_LINE_VARIANCES = np.array([4.0, 0.25, 0.05])
_JITTER = 1e-10


@dataclass(frozen=True, slots=True)
class Features:
    """What the time of an engine depends on.

    Attributes:
        n_layers: layers on the device, shape (n,).
        on_host: the share of the weights on the host, from 0 to 1, shape (n,).
        others: the other settings, shape (n, k), scaled so that a difference of 1 is a doubling or another choice.
    """

    n_layers: Floats
    on_host: Floats
    others: Floats

    def __getitem__(self, rows: Sequence[int] | NDArray[np.intp]) -> "Features":
        return Features(self.n_layers[rows], self.on_host[rows], self.others[rows])

    def __len__(self) -> int:
        return len(self.n_layers)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The hyperparameters of the Gaussian process; all scales are relative to a typical time.

    Attributes:
        prior_scale: standard deviation of the line and its steps from the prior times.
        noise: standard deviation of a measurement.
        residual_scale: standard deviation of the smooth residual.
        length_scale: of the residual, in layers.
        other_length_scales: for each column of `Features.others`, over which difference times stay alike.
    """

    prior_scale: float
    noise: float
    residual_scale: float
    length_scale: float
    other_length_scales: tuple[float, ...]


_PRIOR_SCALES = (0.1, 0.3, 1.0)  # with another machine's times as prior; without them, the largest
_NOISES = (0.005, 0.01, 0.02, 0.04, 0.08)
_RESIDUAL_SCALES = (0.02, 0.05, 0.12, 0.3)
_LENGTH_SCALES = (1.5, 4.0, 12.0)
_OTHER_LENGTH_SCALES = (2.0, 16.0, 128.0, 2048.0)


@dataclass(frozen=True, slots=True)
class Times:
    """The posterior of the seconds of every engine: mean and standard deviation, each of shape (n,)."""

    mean_s: Floats
    std_s: Floats


class TimeModel:
    """The times of one piece of work of one model.

    Args:
        features: of every engine.
        prior_s: the seconds that are expected of each engine. Only their shape counts, not their scale.
        measured: whether another study measured them, so that they may be trusted more than an expectation.
    """

    def __init__(self, features: Features, prior_s: Floats, *, measured: bool = False) -> None:
        self._features = features
        self._prior = prior_s
        self._prior_scales = _PRIOR_SCALES if measured else _PRIOR_SCALES[-1:]

    def learn(self, rows: NDArray[np.intp], measured_s: Floats) -> tuple[Times, float]:
        """Return the posterior of every engine's time, and the relative noise of a measurement.

        Args:
            rows: the engines that were measured, shape (n,), n at least 1. An engine may be there more than once.
            measured_s: their seconds, shape (n,).
        """
        fit = self._fit(rows, measured_s)
        across = _covariance(self._features, fit.features, fit.parameters)
        explained = np.einsum("ij,ji->i", across, cho_solve((fit.factor, True), across.T))
        variance = np.maximum(_variance(self._features, fit.parameters) - explained, 0.0)
        scale = fit.scale * self._prior
        return Times(fit.mean(across) * scale, np.sqrt(variance) * scale), fit.parameters.noise

    def joint(self, rows: NDArray[np.intp], measured_s: Floats, wanted: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return the posterior mean of the engines `wanted` in seconds, shape (k,), and their covariance, (k, k).

        Neighbours are correlated, so their difference is known better than each time by itself.
        """
        fit, there = self._fit(rows, measured_s), self._features[wanted]
        across = _covariance(there, fit.features, fit.parameters)
        covariance = _covariance(there, there, fit.parameters) - across @ cho_solve((fit.factor, True), across.T)
        scale = fit.scale * self._prior[wanted]
        return fit.mean(across) * scale, covariance * np.outer(scale, scale)

    def _fit(self, rows: NDArray[np.intp], measured_s: Floats) -> "_Fit":
        relative = measured_s / self._prior[rows]
        scale = float(np.median(relative))
        observed, features = relative / scale, self._features[rows]
        parameters = _most_likely(features, observed, self._prior_scales)
        covariance = _covariance(features, features, parameters) + np.diag((parameters.noise * observed) ** 2)
        factor = cholesky(covariance + _JITTER * np.eye(len(rows)), lower=True)
        return _Fit(features, observed, scale, parameters, factor)


@dataclass(frozen=True, slots=True)
class _Fit:
    """The process after measurements.

    Attributes:
        features: of the measured engines.
        observed: their times, relative to `scale` and to the prior times.
        scale: seconds of a typical time.
        parameters: the most likely hyperparameters.
        factor: the Cholesky factor of the covariance of the measurements.
    """

    features: Features
    observed: Floats
    scale: float
    parameters: Hyperparameters
    factor: Floats

    def mean(self, across: Floats) -> Floats:
        """Return the posterior mean of engines whose covariance with the measured ones is `across`."""
        mean = 1.0 + across @ cho_solve((self.factor, True), self.observed - 1.0)
        # Far from all measurements the line can fall below 0.
        return np.asarray(np.maximum(mean, self.observed.min() / 4))


def _most_likely(seen: Features, observed: Floats, prior_scales: Sequence[float]) -> Hyperparameters:
    """Return the most likely hyperparameters: each is optimised in turn over its grid, twice."""
    n_others = seen.others.shape[1]
    parameters = Hyperparameters(prior_scales[len(prior_scales) // 2], 0.02, 0.05, 4.0, (128.0,) * n_others)
    if len(observed) < 3:
        return parameters
    best = _log_likelihood(seen, observed, parameters)
    variations: list[Callable[[Hyperparameters], list[Hyperparameters]]] = [
        lambda other: [replace(other, prior_scale=value) for value in prior_scales],
        lambda other: [replace(other, noise=value) for value in _NOISES],
        lambda other: [replace(other, residual_scale=value) for value in _RESIDUAL_SCALES],
        lambda other: [replace(other, length_scale=value) for value in _LENGTH_SCALES],
        *(partial(_with_length_scales, index=index) for index in range(n_others)),
    ]
    for _ in range(2):
        for vary in variations:
            for changed in vary(parameters):
                likelihood = _log_likelihood(seen, observed, changed)
                if likelihood > best:
                    parameters, best = changed, likelihood
    return parameters


def _with_length_scales(parameters: Hyperparameters, index: int) -> list[Hyperparameters]:
    """Return the hyperparameters with every length scale of one other setting."""
    return [
        replace(
            parameters,
            other_length_scales=(
                *parameters.other_length_scales[:index],
                value,
                *parameters.other_length_scales[index + 1 :],
            ),
        )
        for value in _OTHER_LENGTH_SCALES
    ]


def _log_likelihood(seen: Features, observed: Floats, parameters: Hyperparameters) -> float:
    """Return the log marginal likelihood (Rasmussen and Williams, equation 2.30).

    A weak prior keeps noise and residual small.
    """
    covariance = _covariance(seen, seen, parameters) + np.diag((parameters.noise * observed) ** 2 + _JITTER)
    factor = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(factor, observed - 1.0)
    prior = -(np.log(parameters.noise / 0.02) ** 2) / 2 - np.log(parameters.residual_scale / 0.05) ** 2 / 4
    return float(-0.5 * whitened @ whitened - np.log(np.diag(factor)).sum() + prior)


def _covariance(ours: Features, theirs: Features, parameters: Hyperparameters) -> Floats:
    """Return the prior covariance between two sets of engines, shape (n, m)."""
    line = (1.0 + _linear(ours) * _LINE_VARIANCES @ _linear(theirs).T) * parameters.prior_scale**2
    apart = np.sqrt(5.0) * np.abs(ours.n_layers[:, None] - theirs.n_layers[None, :]) / parameters.length_scale
    residual = parameters.residual_scale**2 * (1 + apart + apart**2 / 3) * np.exp(-apart)  # Matérn 5/2, equation 4.17
    if not parameters.other_length_scales:
        return np.asarray(line + residual)
    differences = np.abs(ours.others[:, None, :] - theirs.others[None, :, :]) @ (
        1.0 / np.array(parameters.other_length_scales)
    )
    return np.asarray((line + residual) * np.exp(-differences))


def _variance(features: Features, parameters: Hyperparameters) -> Floats:
    """Return the diagonal of the covariance of `features` with themselves."""
    line = 1.0 + _linear(features) ** 2 @ _LINE_VARIANCES
    return np.asarray(line * parameters.prior_scale**2 + parameters.residual_scale**2)


def _linear(features: Features) -> Floats:
    """Return what times are linear in, centred, shape (n, 3): the host's share, and the two steps."""
    return np.stack([features.on_host, features.n_layers > 0, features.n_layers > 1], axis=1) - 0.5
