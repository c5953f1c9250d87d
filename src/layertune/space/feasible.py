"""The settings of the space that fit by the memory plan, known before the first trial."""

import random
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial, reduce
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from layertune.errors import NothingFits
from layertune.memory import HOST, Planner
from layertune.memory.correction import Correction, Residual
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.limits import VRAM, Limits, worst_excess
from layertune.space.random_order import permuted
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import Infeasible, Measured
from layertune.units import join_bytes

NEVER = 2**60  # bytes; no device has them, and eight of them still fit into 64 bits
_BLOCK = 4096

_Counted = tuple[NDArray[np.int64], NDArray[np.int64]]  # bytes on each device, and how many engines take these


class FeasibleSpace:
    """The settings of a space whose planned memory keeps the limits. It does not change; see `corrected`."""

    def __init__(self, space: SearchSpace, planner: Planner, limits: Limits) -> None:
        self._space = space
        self.planner = planner
        self._limits = limits
        self._device_bytes_of: dict[str, dict[EngineSettings, tuple[int, ...]]] = {name: {} for name in space.models}
        self._tables = {name: self._table(name) for name in space.models}
        self._counts = [_counted(table) for table in self._tables.values()]
        self._correction: Correction | None = None

    def corrected(self, correction: Correction | None) -> "FeasibleSpace":
        """Return the settings that fit if models take as much beyond the plan as `correction` says.

        The new value shares this one's tables, so it costs nothing.
        """
        found = copy(self)
        found._correction = correction
        return found

    @property
    def correction(self) -> Correction | None:
        """What models take beyond the plan; None if nothing was measured yet."""
        return self._correction

    @property
    def capacities(self) -> tuple[int, ...]:
        """What llama.cpp's buffers may take of each device, in bytes.

        It is the budget without its margin and without what the correction adds: the overhead of each process, and the
        headroom for memory that grows.
        """
        capacities = self._limits.capacities or (NEVER - 1,)
        correction = self._correction
        if correction is None or not self._limits.capacities:
            return capacities
        reserved_bytes = self._limits.n_processes * correction.overhead_bytes + correction.headroom_bytes
        return tuple(capacity - reserved_bytes for capacity in capacities)

    @property
    def capacity_bytes(self) -> int:
        """What llama.cpp's buffers may take of all devices together."""
        return sum(self.capacities)

    def violations(self, settings: SplitSettings) -> dict[str, float]:
        """Return by how many bytes the plan exceeds each limit; at most 0 if it keeps the limit."""
        plan = self.planner.plan(settings)
        excess: dict[str, float] = {}
        taken = [plan.bytes_on(device) for device in plan.devices]
        on_host = {name: model.devices[HOST].buffers() for name, model in plan.models.items()}
        shared_bytes = sum(
            self._limits.shared_bytes(name, settings[name], each) for name, each in on_host.items() if each is not None
        )
        known = [n_bytes + plan.log_error_bytes + shared_bytes for n_bytes in taken if n_bytes is not None]
        if self._limits.capacities and len(known) == len(taken):
            excess[VRAM] = float(worst_excess(known, self.capacities))
        for name, planned in on_host.items():
            if planned is not None and self._limits.ram_per_model_bytes is not None:
                excess[f"ram.{name}"] = float(self._limits.ram_excess_bytes(name, settings[name], planned))
        return excess

    def exceeded(self, settings: SplitSettings) -> bool:
        """Return whether the planned memory of the settings exceeds a limit."""
        return any(excess > 0 for excess in self.violations(settings).values())

    def refused(self, settings: SplitSettings) -> str | None:
        """Return why llama.cpp would refuse these settings even with unlimited memory; None if it would not."""
        why = settings.impossible()
        if why is None and self.planner.plan(settings).device_bytes is None:
            why = "llama.cpp creates no context with these settings"
        return why

    def n_settings(self) -> int:
        """Return how many settings fit. Settings that llama.cpp runs alike are counted one by one.

        The models are joined in two halves, so that four of them take no more memory than a pair's combinations.
        """
        capacities = np.array(self.capacities, dtype=np.int64)
        middle = (len(self._counts) + 1) // 2
        sums, n_alike = reduce(partial(_joined, capacities=capacities), self._counts[:middle])
        start = np.zeros((1, len(capacities)), dtype=np.int64), np.ones(1, dtype=np.int64)
        table, n_engines = reduce(partial(_joined, capacities=capacities), self._counts[middle:], start)
        left = capacities - sums
        if len(capacities) == 1:
            order = np.argsort(table[:, 0])
            n_fitting = np.concatenate([[0], np.cumsum(n_engines[order])])
            fitting = n_fitting[np.searchsorted(table[order, 0], left[:, 0], side="right")]
            return int(np.dot(n_alike.astype(object), fitting.astype(object)))  # may be more than 64 bits hold
        return sum(
            int(n) * int(n_alike[(row <= left).all(axis=1)].sum()) for row, n in zip(table, n_engines, strict=True)
        )

    def check(self) -> None:
        """Check that at least one setting fits.

        Raises:
            NothingFits: none does; the message names what the smallest setting needs.
        """
        if self.n_settings() > 0:
            return
        least = [table[table.sum(axis=1).argmin()] for table in self._tables.values()]
        if max(int(each[0]) for each in least) >= NEVER:
            if self._limits.ram_per_model_bytes is None:
                raise NothingFits("llama.cpp accepts no setting of the space", remedy="search other settings")
            raise NothingFits(
                "no setting of the space keeps the RAM limit and is accepted by llama.cpp",
                remedy="raise host.ram_per_model, or search other settings",
            )
        raise NothingFits(
            f"no setting fits the budget of {join_bytes(self._limits.capacities)}: "
            f"the smallest is planned to need {join_bytes(map(int, sum(least, start=np.zeros_like(least[0]))))}",
            remedy="raise the budget, or allow fewer n_gpu_layers or a smaller n_ctx",
        )

    def shuffled(self, seed: int | str) -> Iterator[SplitSettings]:
        """Yield every setting that fits once, in a seeded random order."""
        indices = permuted(self._space.n_settings(), random.Random(seed))
        while block := list(islice(indices, _BLOCK)):
            rows = np.unravel_index(np.array(block), [len(table) for table in self._tables.values()])
            needed = sum(
                (table[row] for table, row in zip(self._tables.values(), rows, strict=True)),
                start=np.zeros((len(block), len(self.capacities)), dtype=np.int64),
            )
            for index in np.flatnonzero((needed <= self.capacities).all(axis=1)):
                yield self._space.at(block[index])

    def engine_bytes(self, model: str) -> NDArray[np.int64]:
        """Return the planned bytes of every engine of one model on each device, shape (engines, devices).

        The engines are in the space's order. One that llama.cpp would refuse, or that exceeds the RAM limit, has more
        bytes than any device.
        """
        return self._tables[model]

    def device_bytes(self, model: str, engine: EngineSettings) -> tuple[int, ...]:
        """Return the planned bytes of one engine on each device; see `engine_bytes`."""
        key = engine.memory_key(self._space.n_layer(model, engine))
        known = self._device_bytes_of[model]
        if key not in known:
            known[key] = self._device_bytes(model, key)
        return known[key]

    @property
    def has_devices(self) -> bool:
        """Whether there is device memory to fit into."""
        return bool(self._limits.capacities)

    def _table(self, name: str) -> NDArray[np.int64]:
        """Return the planned bytes of every engine on each device, in the space's order."""
        return np.array([self.device_bytes(name, engine) for engine in self._space.engines(name)], dtype=np.int64)

    def _device_bytes(self, name: str, engine: EngineSettings) -> tuple[int, ...]:
        plan = self.planner.models[name].plan(engine)
        held, on_host = [each.buffers() for each in plan.on_devices], plan.devices[HOST].buffers()
        known = [each.total_bytes + plan.log_error_bytes for each in held if each is not None]
        never = (NEVER, *[0] * (len(held) - 1))
        if len(known) < len(held) or on_host is None or engine.impossible() is not None:
            return never
        if self._limits.ram_excess_bytes(name, engine, on_host) > 0:
            return never
        shared_bytes = self._limits.shared_bytes(name, engine, on_host)
        return tuple(min(n_bytes + shared_bytes, NEVER) for n_bytes in known)


def learned_correction(planner: Planner, trials: Sequence[FinishedTrial], limits: Limits) -> Correction | None:
    """Return what models take beyond the plan, learned from a study's own trials; None if they show nothing.

    A trial that spilled shows what was really free of the device: the planned bytes less the excess. Later settings
    must fit into that.

    Args:
        planner: Plans the memory of the trials' settings.
        trials: The study's trials.
        limits: What the models may take.
    """
    residuals: dict[str, list[Residual]] = {}
    for trial in trials:
        outcome, plan = trial.outcome, planner.plan(trial.settings)
        if not isinstance(outcome, Measured) or outcome.vram is None:
            continue
        for device, report in zip(plan.devices, outcome.vram.each, strict=True):
            planned_bytes = plan.bytes_on(device)
            if planned_bytes is not None:
                # Differences within the resolution of llama.cpp's log do not count.
                planned_bytes += plan.log_error_bytes
                loaded_bytes = report.phases.get("load", report.peak_bytes)
                of_device = residuals.setdefault(device, [])
                of_device.append(Residual(planned_bytes, loaded_bytes, report.peak_bytes))
    learned = Correction.worst([Correction.learn(each) for each in residuals.values()])
    return _within(_spilled_capacity(planner, trials), limits, learned)


def _spilled_capacity(planner: Planner, trials: Sequence[FinishedTrial]) -> int | None:
    """Return the least that buffers had when a trial spilled from the only device; None if none did."""
    found = []
    for trial in trials:
        outcome = trial.outcome
        if isinstance(outcome, Infeasible) and outcome.stage == "spilled" and outcome.excess_bytes is not None:
            planned_bytes = planner.plan(trial.settings).device_bytes
            found += [] if planned_bytes is None else [planned_bytes - outcome.excess_bytes]
    return min(found, default=None)


def _within(capacity_bytes: int | None, limits: Limits, learned: Correction | None) -> Correction | None:
    """Return the correction with enough headroom that buffers keep a capacity; unchanged for several devices, of which
    it is not known which spilled."""
    if capacity_bytes is None or len(limits.capacities) != 1:
        return learned
    known = learned or Correction(0, 0, 0)
    # One process's overhead was in use when that was read.
    least_bytes = limits.capacities[0] - known.overhead_bytes - capacity_bytes
    return replace(known, headroom_bytes=max(known.headroom_bytes, least_bytes))


def _counted(table: NDArray[np.int64]) -> _Counted:
    """Return the different rows, sorted, and how many engines have each."""
    rows, n_engines = np.unique(table, axis=0, return_counts=True)
    return rows, n_engines


def _joined(ours: _Counted, theirs: _Counted, capacities: NDArray[np.int64]) -> _Counted:
    """Return the sums of two models' bytes that the devices hold, and how many pairs of engines have each."""
    sums = (ours[0][:, None, :] + theirs[0][None, :, :]).reshape(-1, len(capacities))
    fits = (sums <= capacities).all(axis=1)
    return sums[fits], np.outer(ours[1], theirs[1]).ravel()[fits]
