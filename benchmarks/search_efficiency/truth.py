"""What a table's settings really are under a cap: all of them, without noise, against which a search counts."""

import heapq
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from layertune.results.pareto import pareto_front
from layertune.sampler.hypervolume import hypervolume
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import RecordedTable

# One row a setting: each model's tokens/s, negative, then the bytes where they are an objective; less is better.
Costs = NDArray[np.float64]


class Truth:
    """The settings of a table that fit `cap_bytes`, and how much of their front a choice of them covers.

    The reference point of hypervolumes is each objective's worst value among them; an objective in which they are all
    the same, as that of a model of which no layer fits, is left out.
    """

    def __init__(self, table: RecordedTable, cap_bytes: int, *, with_vram: bool) -> None:
        self._table, self._cap_bytes = table, cap_bytes
        self._n_objectives = len(table.models) + with_vram
        self._engines = {name: engines(table, name) for name in table.models}
        rates, taken = zip(*(self._figures(name) for name in self._engines), strict=True)
        totals = reduce(np.add.outer, taken)
        fits = totals <= cap_bytes
        if not fits.any():
            raise ValueError(f"nothing of {table.name} fits {cap_bytes} bytes")
        worst = [
            -rate[fits.any(axis=tuple(axis for axis in range(fits.ndim) if axis != place))].min()
            for place, rate in enumerate(rates)
        ]
        self._reference = np.array([*worst, totals[fits].max()])[: self._n_objectives]
        self.n_settings = int(fits.sum())
        self.best_score = float(np.where(fits, reduce(np.multiply.outer, rates), 0).max() ** (1 / len(rates)))
        self.front = self._front(rates, taken)
        self._varies = self.front.min(axis=0) < self._reference
        self.volume = self._volume(self.front)

    def share(self, chosen: Sequence[SplitSettings]) -> float:
        """Return the share of the exhaustive hypervolume that these settings have; those that do not fit have none."""
        return self._volume(self._costs(chosen)) / self.volume

    def n_trials_to(self, share: float, ran: Sequence[SplitSettings]) -> int | None:
        """Return how many of the trials, in their order, it took to reach this share; None where all were too few."""
        costs = self._costs(ran)
        low, high = 0, len(ran) + 1  # more trials never have less
        while high - low > 1:
            middle = (low + high) // 2
            reached = self._volume(costs[:middle]) >= share * self.volume
            low, high = (low, middle) if reached else (middle, high)
        return high if high <= len(ran) else None

    def score(self, settings: SplitSettings) -> float:
        """Return the geometric mean of the models' tokens/s, which the balanced pick is the best of."""
        found = self._table.true_metrics(settings).models.values()
        return float(prod(speed.tokens_per_s for speed in found) ** (1 / len(found)))

    def greedy(self, first: Sequence[SplitSettings] = ()) -> Iterator[float]:
        """Yield the shares after 1, 2, … trials more than `first`, that know all figures: each takes what adds most to
        those before it.

        What a point adds only shrinks as others join it, so only the best of the last turn need be looked at again.
        """
        chosen = self._costs(first)
        volume = self._volume(chosen)
        queue = [(-self._volume(self.front[[place]]), place) for place in range(len(self.front))]
        heapq.heapify(queue)
        while queue:
            _, place = heapq.heappop(queue)
            with_it = np.vstack([chosen, self.front[[place]]])
            added = self._volume(with_it) - volume
            if queue and added < -queue[0][0]:
                heapq.heappush(queue, (-added, place))
                continue
            chosen, volume = with_it, volume + added
            yield volume / self.volume

    def _volume(self, costs: Costs) -> float:
        return hypervolume(costs[:, self._varies], self._reference[self._varies])

    def _figures(self, name: str) -> tuple[Costs, NDArray[np.int64]]:
        """Return a model's engines' tokens/s and bytes."""
        of_model = self._engines[name]
        rates = np.array([self._table.true_speed(name, engine).tokens_per_s for engine in of_model])
        taken = [self._table.peak_bytes(SplitSettings.of({name: engine})) for engine in of_model]
        return rates, np.array(taken, dtype=np.int64)

    def _front(self, rates: Sequence[Costs], taken: Sequence[NDArray[np.int64]]) -> Costs:
        """Only engines that no other of their model beats in both speed and bytes can be on the joint front."""
        kept = []
        for rate, n_bytes in zip(rates, taken, strict=True):
            there = np.flatnonzero(pareto_front(np.column_stack([rate, n_bytes]), ["maximize", "minimize"]))
            kept.append([(-float(rate[each]), int(n_bytes[each])) for each in there])
        rows = [
            [*(rate for rate, _ in row), total]
            for row in product(*kept)
            if (total := sum(n_bytes for _, n_bytes in row)) <= self._cap_bytes
        ]
        costs = np.unique(np.array(rows, dtype=np.float64)[:, : self._n_objectives], axis=0)
        return costs[pareto_front(costs, ["minimize"] * costs.shape[1])]

    def _costs(self, chosen: Sequence[SplitSettings]) -> Costs:
        """Settings over the cap cost as much as the reference: they add nothing."""
        rows = []
        for settings in chosen:
            found = self._table.true_metrics(settings)
            row = [*(-speed.tokens_per_s for speed in found.models.values()), found.peak_bytes]
            rows.append(row[: self._n_objectives] if found.peak_bytes <= self._cap_bytes else list(self._reference))
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self._reference))


def engines(table: RecordedTable, name: str) -> list[EngineSettings]:
    """Return a model's engines, each once."""
    return list(dict.fromkeys(table.space.canonical_engine(name, each) for each in table.space.engines(name)))


def whole_bytes(table: RecordedTable) -> int:
    """Return what all models, each with its first file, need on the device to be there as a whole, with their largest
    buffers."""
    return sum(
        max(
            table.peak_bytes(SplitSettings.of({name: engine}))
            for engine in engines(table, name)
            if engine.file == table.space.files(name)[0]
        )
        for name in table.models
    )
