"""How long one model takes for a piece of work, over all of its engines, from the few that were measured.

A Gaussian process over engines (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2) whose
prior is what is known of offloading: the time is near-linear in the bytes of weights that stay on the host, with a step
where the output matrix leaves it, which is the first layer that does (llama-model.cpp, i_gpu_start), another where the
first repeating layer follows with its KV cache and attention, and rough by a little everywhere, so that a kink is
learned where one is measured. Batches, threads and the like bend that line, the less the nearer they are. How much of
each there is, and how noisy a measurement, is chosen by the marginal likelihood.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

Floats = NDArray[np.float64]

# Variances, relative to the square of a typical time: of the line's slope, since a device may be many times as fast as
# the host, of the step between no layer on the device and one, and of that between one and two.
_LINE_VARIANCES = np.array([4.0, 0.25, 0.05])
_JITTER = 1e-10


@dataclass(frozen=True, slots=True)
class Places:
    """Engines as the model sees them: layers on the device, the share of the weights on the host from 0 to 1, and the
    other settings, of shape (n, k), scaled so that a difference of 1 is a doubling or another choice."""

    n_layers: Floats
    on_host: Floats
    others: Floats

    def __getitem__(self, rows: Sequence[int] | NDArray[np.intp]) -> "Places":
        return Places(self.n_layers[rows], self.on_host[rows], self.others[rows])

    def __len__(self) -> int:
        return len(self.n_layers)


@dataclass(frozen=True, slots=True)
class Belief:
    """What the process believes before it sees anything: how far times depart from what was expected of them, relative
    noise of a measurement, relative roughness and its length in layers, and for each other setting over how many
    doublings times stay alike."""

    departure: float
    noise: float
    roughness: float
    length: float
    reach: tuple[float, ...]


_DEPARTURE = (0.1, 0.3, 1.0)  # from another machine's times; without these anything is possible
_NOISE = (0.005, 0.01, 0.02, 0.04, 0.08)
_ROUGHNESS = (0.02, 0.05, 0.12, 0.3)
_LENGTH = (1.5, 4.0, 12.0)
_REACH = (2.0, 16.0, 128.0, 2048.0)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every engine: the mean, and the standard deviation of what is not known of it."""

    mean_s: Floats
    std_s: Floats


class TimeModel:
    """One piece of work of one model. `prior_s`, where given, is how another study's machine took it, by engine: its
    shape is believed, its scale is not."""

    def __init__(self, places: Places, prior_s: Floats | None = None) -> None:
        self._places = places
        self._prior = np.ones(len(places)) if prior_s is None else prior_s
        self._departures = _DEPARTURE[-1:] if prior_s is None else _DEPARTURE

    def learn(self, rows: NDArray[np.intp], measured_s: Floats) -> tuple[Times, float]:
        """Return what to expect of every engine, and the relative noise of a measurement, after the engines `rows` took
        `measured_s`, both of shape (n,) with n of at least 1."""
        seen = self._see(rows, measured_s)
        across = _covariance(self._places, seen.places, seen.belief)
        explained = np.einsum("ij,ji->i", across, cho_solve((seen.factor, True), across.T))
        variance = np.maximum(_variance(self._places, seen.belief) - explained, 0.0)
        scale = seen.scale * self._prior
        return Times(seen.expected(across) * scale, np.sqrt(variance) * scale), seen.belief.noise

    def joint(self, rows: NDArray[np.intp], measured_s: Floats, wanted: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return what to expect of the engines `wanted` in seconds, shape (k,), and the covariance of what is not known
        of them, (k, k): neighbours are known better against each other than each by itself."""
        seen, there = self._see(rows, measured_s), self._places[wanted]
        across = _covariance(there, seen.places, seen.belief)
        covariance = _covariance(there, there, seen.belief) - across @ cho_solve((seen.factor, True), across.T)
        scale = seen.scale * self._prior[wanted]
        return seen.expected(across) * scale, covariance * np.outer(scale, scale)

    def _see(self, rows: NDArray[np.intp], measured_s: Floats) -> "_Seen":
        relative = measured_s / self._prior[rows]
        scale = float(np.median(relative))
        observed, places = relative / scale, self._places[rows]
        belief = _best_belief(places, observed, self._departures)
        covariance = _covariance(places, places, belief) + np.diag((belief.noise * observed) ** 2)
        factor = cholesky(covariance + _JITTER * np.eye(len(rows)), lower=True)
        return _Seen(places, observed, scale, belief, factor)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was measured, as shares of what was expected times `scale`, what is believed of it, and the Cholesky factor
    of its covariance."""

    places: Places
    observed: Floats
    scale: float
    belief: Belief
    factor: Floats

    def expected(self, across: Floats) -> Floats:
        """Return the mean of engines whose covariance with what was measured is `across`."""
        mean = 1.0 + across @ cho_solve((self.factor, True), self.observed - 1.0)
        # Far from all that was measured a line can fall below nothing.
        return np.asarray(np.maximum(mean, self.observed.min() / 4))


def _best_belief(seen: Places, observed: Floats, departures: Sequence[float]) -> Belief:
    """Return the likeliest belief, one quantity after the other, twice."""
    n_others = seen.others.shape[1]
    belief = Belief(departures[len(departures) // 2], 0.02, 0.05, 4.0, (128.0,) * n_others)
    if len(observed) < 3:
        return belief
    best = _log_likelihood(seen, observed, belief)
    variations: list[Callable[[Belief], list[Belief]]] = [
        lambda other: [replace(other, departure=value) for value in departures],
        lambda other: [replace(other, noise=value) for value in _NOISE],
        lambda other: [replace(other, roughness=value) for value in _ROUGHNESS],
        lambda other: [replace(other, length=value) for value in _LENGTH],
        *(partial(_reaching, place=place) for place in range(n_others)),
    ]
    for _ in range(2):
        for vary in variations:
            for changed in vary(belief):
                likelihood = _log_likelihood(seen, observed, changed)
                if likelihood > best:
                    belief, best = changed, likelihood
    return belief


def _reaching(belief: Belief, place: int) -> list[Belief]:
    """Return the belief with every reach of one setting."""
    return [replace(belief, reach=(*belief.reach[:place], value, *belief.reach[place + 1 :])) for value in _REACH]


def _log_likelihood(seen: Places, observed: Floats, belief: Belief) -> float:
    """Rasmussen and Williams, equation 2.30, with a weak prior against much noise and much roughness."""
    covariance = _covariance(seen, seen, belief) + np.diag((belief.noise * observed) ** 2 + _JITTER)
    factor = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(factor, observed - 1.0)
    prior = -(np.log(belief.noise / 0.02) ** 2) / 2 - np.log(belief.roughness / 0.05) ** 2 / 4
    return float(-0.5 * whitened @ whitened - np.log(np.diag(factor)).sum() + prior)


def _covariance(ours: Places, theirs: Places, belief: Belief) -> Floats:
    line = (1.0 + _linear(ours) * _LINE_VARIANCES @ _linear(theirs).T) * belief.departure**2
    apart = np.sqrt(5.0) * np.abs(ours.n_layers[:, None] - theirs.n_layers[None, :]) / belief.length
    rough = belief.roughness**2 * (1 + apart + apart**2 / 3) * np.exp(-apart)  # Matérn 5/2, equation 4.17
    if not belief.reach:
        return np.asarray(line + rough)
    differences = np.abs(ours.others[:, None, :] - theirs.others[None, :, :]) @ (1.0 / np.array(belief.reach))
    return np.asarray((line + rough) * np.exp(-differences))


def _variance(places: Places, belief: Belief) -> Floats:
    """Return the diagonal of the covariance of `places` with themselves."""
    line = 1.0 + _linear(places) ** 2 @ _LINE_VARIANCES
    return np.asarray(line * belief.departure**2 + belief.roughness**2)


def _linear(places: Places) -> Floats:
    """Return what times are linear in, around the middle of each, shape (n, 3)."""
    return np.stack([places.on_host, places.n_layers > 0, places.n_layers > 1], axis=1) - 0.5
