"""The engines of every model with the speeds that are expected of them from bandwidth, before anything is measured.

The choice among them is exact under the model: of each model only those engines count that no other beats in both speed
and bytes, and of their combinations only those that no other beats in both score and bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layertune.config import Floor, Workload
from layertune.sampler.candidates import Rows, unbeaten
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace
from layertune.study.bandwidth_model import EngineTime, MachineRates, ModelWork, device_share, engine_time

# Scores this close are a tie, and the setting with less memory wins: the rates themselves are not known better.
_TIE = 0.001
_MOST_COMBINATIONS = 20_000
# How much the other models count where the setting is to be the fastest for one: they get what it leaves.
_OTHERS = 0.1


@dataclass(frozen=True, slots=True)
class Expected:
    """One setting and what is expected of it; nothing of it is measured.

    Attributes:
        settings: By model.
        tokens_per_s: Of each model alone, over its workload; empty where the machine's rates are not known.
        planned_bytes: What llama.cpp's buffers take of all devices; None if llama.cpp refuses the settings.
        fits: Whether the plan keeps every limit.
    """

    settings: SplitSettings
    tokens_per_s: Mapping[str, float]
    planned_bytes: int | None
    fits: bool


class EnginesByModel:
    """The engines of every model of a study, with their bytes and what is expected of them."""

    def __init__(
        self,
        space: SearchSpace,
        feasible: FeasibleSpace,
        works: Mapping[str, ModelWork],
        workloads: Mapping[str, Workload],
        rates: MachineRates | None,
    ) -> None:
        """Compute the expected times of all engines.

        Args:
            space: The settings of the study.
            feasible: Those that fit.
            works: What each model reads.
            workloads: By model.
            rates: How fast the machine is; None if it is not known.
        """
        self._space, self._feasible = space, feasible
        self._works, self._workloads, self._rates = works, workloads, rates
        self._engines: dict[str, list[EngineSettings]] = {}
        self._times: dict[str, list[EngineTime]] = {}
        self._bytes: dict[str, NDArray[np.int64]] = {}
        self._values: dict[str, NDArray[np.float64]] = {}
        for name in space.models:
            first: dict[EngineSettings, int] = {}
            written = list(space.engines(name))
            for index, engine in enumerate(written):
                first.setdefault(space.canonical_engine(name, engine), index)
            rows = [row for row in first.values() if written[row].impossible() is None]
            self._engines[name] = [written[row] for row in rows]
            self._bytes[name] = feasible.engine_bytes(name)[rows]
            canonical = [space.canonical_engine(name, written[row]) for row in rows]
            work, workload = works[name], workloads[name]
            if rates is None:
                self._values[name] = np.array([device_share(work, engine) for engine in canonical])
            else:
                times = [engine_time(work, engine, workload, rates) for engine in canonical]
                self._times[name] = times
                self._values[name] = np.log([each.tokens_per_s(workload) for each in times])

    def best(self, floors: Sequence[Floor], weights: Mapping[str, float]) -> SplitSettings | None:
        """Return the setting with the highest balanced score that fits and reaches the floors; None if there is none.

        The score is the weighted geometric mean of the models' speeds (results/picks.py), or without rates the weighted
        mean of their shares on the device. Among ties the setting with the least memory wins.
        """
        kept = {name: self._kept(name, floors, weights.get(name, 1.0)) for name in self._engines}
        found = np.zeros((1, 0), dtype=np.intp)
        scores = np.zeros(1)
        taken = np.zeros((1, len(self._feasible.capacities)), dtype=np.int64)
        names = list(kept)
        if not all(len(rows) for rows in kept.values()):
            return None
        for place, name in enumerate(names):
            rows = kept[name]
            least = [self._bytes[other][kept[other]].min(axis=0) for other in names[place + 1 :]]
            left = np.array(self._feasible.capacities, dtype=np.int64) - sum(least)
            needed = taken[:, None, :] + self._bytes[name][rows][None, :, :]
            before, here = np.nonzero((needed <= left).all(axis=2))
            found = np.column_stack([found[before], rows[here]])
            taken = needed[before, here]
            scores = scores[before] + weights.get(name, 1.0) * self._values[name][rows[here]]
            if not len(found):
                return None
            there = _unbeaten(scores, taken)
            found, taken, scores = found[there], taken[there], scores[there]
        scores /= sum(weights.get(name, 1.0) for name in names)
        ties = np.flatnonzero(scores >= scores.max() - _TIE)
        chosen = min(ties, key=lambda row: (int(taken[row].sum()), -scores[row]))
        return SplitSettings.of({name: self._engines[name][found[chosen, place]] for place, name in enumerate(names)})

    def first(self, floors: Sequence[Floor], weights: Mapping[str, float]) -> list[SplitSettings]:
        """Return the settings to measure first: the best one, and the best for each model whose speed counts.

        Args:
            floors: They are not kept if nothing reaches them.
            weights: By model, how much its speed counts.
        """
        best = self.best(floors, weights) or self.best((), weights)
        fastest = [
            self.best((), {other: weight if other == name else _OTHERS for other in weights})
            for name, weight in weights.items()
            if weight > 0
        ]
        return [each for each in dict.fromkeys([best, *fastest]) if each is not None]

    def expected(self, settings: SplitSettings) -> Expected:
        """Return what is expected of a setting of the space."""
        planned_bytes = self._feasible.planner.plan(settings).device_bytes
        fits = planned_bytes is not None and not self._feasible.exceeded(settings)
        return Expected(settings, self._speeds(settings), planned_bytes, fits)

    def _speeds(self, settings: SplitSettings) -> dict[str, float]:
        if self._rates is None:
            return {}
        canonical = self._space.canonical(settings)
        return {
            name: engine_time(self._works[name], engine, self._workloads[name], self._rates).tokens_per_s(
                self._workloads[name]
            )
            for name, engine in canonical.items()
        }

    def _kept(self, name: str, floors: Sequence[Floor], weight: float) -> Rows:
        """Return the engines of a model that fit alone, reach its floors, and that no other beats."""
        fits = np.asarray((self._bytes[name] <= np.array(self._feasible.capacities)).all(axis=1))
        for floor in floors:
            if floor.objective.subject == name:
                reached = [self._reaches(name, row, floor) for row in range(len(fits))]
                fits = fits & np.array(reached, dtype=bool)
        rows = np.flatnonzero(fits)
        return rows[_unbeaten(weight * self._values[name][rows], self._bytes[name][rows])] if len(rows) else rows

    def _reaches(self, name: str, row: int, floor: Floor) -> bool:
        """Say whether an engine is expected to reach a floor. A speed that is not known, or not modelled, counts as
        reached: together with other models, or at full context."""
        workload, quantity = self._workloads[name], floor.objective.quantity
        if floor.objective.is_set:
            value = floor.objective.of_settings(self._engines[name][row])
            return value is None or floor.shortfall(value) <= 0
        if self._rates is None:
            return True
        time = self._times[name][row]
        modelled = {
            "tokens_per_s": time.tokens_per_s(workload),
            "pp_tokens_per_s": workload.n_prompt / time.prompt_s,
            "tg_tokens_per_s": 1 / time.token_s,
            "ttft_s": time.prompt_s,
            "tpot_s": time.token_s,
        }
        return quantity not in modelled or floor.shortfall(modelled[quantity]) <= 0


def _unbeaten(scores: NDArray[np.float64], n_bytes: NDArray[np.int64]) -> Rows:
    """Return the rows that no other beats in both score and bytes; of very many, an even part with the best."""
    if n_bytes.shape[1] > 1:
        there = unbeaten(np.column_stack([-scores, n_bytes]))
    else:
        order = np.lexsort((-scores, n_bytes[:, 0]))
        best = np.maximum.accumulate(scores[order])
        there = order[np.concatenate([[True], best[1:] > best[:-1]])]
    if len(there) > _MOST_COMBINATIONS:
        there = there[np.argsort(scores[there])]
        there = there[np.linspace(0, len(there) - 1, _MOST_COMBINATIONS).astype(np.intp)]
    return np.asarray(there, dtype=np.intp)
