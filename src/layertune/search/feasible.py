"""Which settings of the space fit, by plan: known for all of them before the first trial."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from layertune.errors import NothingFits
from layertune.memory import GPU, HOST, Planner
from layertune.memory.residuals import Correction, Residual
from layertune.results.trials import FinishedTrial
from layertune.search.constraints import VRAM, Limits
from layertune.search.space import SearchSpace, permuted
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import Measured
from layertune.units import format_bytes

_NEVER = 2**60  # bytes; no device has them, and eight of them still fit into 64 bits
_BLOCK = 4096


class FeasibleSpace:
    """The settings of a space that keep the limits by plan. What trials measure corrects it: see `correction`."""

    def __init__(self, space: SearchSpace, planner: Planner, limits: Limits) -> None:
        self._space = space
        self.planner = planner
        self._limits = limits
        self._tables = {name: self._table(name) for name in space.n_layers}
        self.correction: Correction | None = None

    def learn(self, trials: Sequence[FinishedTrial]) -> None:
        """Correct the plan by what the study's own trials measured."""
        residuals = []
        for trial in trials:
            outcome, plan = trial.outcome, self.planner.plan(trial.settings)
            if isinstance(outcome, Measured) and outcome.vram is not None and plan.device_bytes is not None:
                # Within the resolution of llama.cpp's log nothing is beyond the plan.
                planned_bytes = plan.device_bytes + plan.log_error_bytes
                peak_bytes = outcome.vram.peak_bytes
                loaded_bytes = outcome.vram.phases.get("load", peak_bytes)
                residuals.append(Residual(planned_bytes, loaded_bytes, peak_bytes))
        self.correction = Correction.learn(residuals)

    def violations(self, settings: SplitSettings) -> dict[str, float]:
        """Return every limit's planned excess in bytes; a limit is kept at zero and below."""
        plan = self.planner.plan(settings)
        excess: dict[str, float] = {}
        if self._limits.capacity_bytes is not None and plan.device_bytes is not None:
            excess[VRAM] = float(plan.device_bytes + plan.log_error_bytes - self.room_bytes())
        for name, model in plan.models.items():
            planned = model.devices[HOST].buffers()
            if planned is not None and self._limits.ram_per_model_bytes is not None:
                excess[f"ram.{name}"] = float(self._limits.ram_excess_bytes(name, planned))
        return excess

    def exceeded(self, settings: SplitSettings) -> bool:
        """Say whether the settings break a limit by plan."""
        return any(excess > 0 for excess in self.violations(settings).values())

    def refused(self, settings: SplitSettings) -> str | None:
        """Return why llama.cpp would refuse these settings whatever the memory, None where it would not."""
        why = settings.impossible()
        if why is None and self.planner.plan(settings).device_bytes is None:
            why = "llama.cpp creates no context with these settings"
        return why

    def n_settings(self) -> int:
        """Return how many settings fit: those that run as one engine counted apart."""
        *others, last = self._tables.values()
        sums = np.zeros(1, dtype=np.int64)
        for table in others:
            sums = np.minimum(np.add.outer(sums, table).ravel(), _NEVER)
        return int(np.searchsorted(np.sort(last), self.room_bytes() - sums, side="right").sum())

    def check(self) -> None:
        """Raises NothingFits where no setting keeps the limits, with what the smallest would need."""
        if self.n_settings() > 0:
            return
        least_bytes = sum(int(table.min()) for table in self._tables.values())
        if least_bytes >= _NEVER:
            raise NothingFits(
                "no setting of the space keeps the RAM limit or is one that llama.cpp accepts",
                remedy="raise host.ram_per_model, or search other settings",
            )
        raise NothingFits(
            f"nothing fits the budget of {format_bytes(self._limits.capacity_bytes or 0)}: "
            f"by plan the smallest setting needs {format_bytes(least_bytes)}",
            remedy="raise the budget, or let n_gpu_layers begin lower and n_ctx be smaller",
        )

    def shuffled(self, seed: int | str) -> Iterator[SplitSettings]:
        """Yield every setting that fits once, in a seeded random order."""
        indices = permuted(self._space.n_settings(), random.Random(seed))
        while block := list(islice(indices, _BLOCK)):
            places = np.unravel_index(np.array(block), [len(table) for table in self._tables.values()])
            needed = sum(
                (table[place] for table, place in zip(self._tables.values(), places, strict=True)),
                start=np.zeros(len(block), dtype=np.int64),
            )
            for index in np.flatnonzero(needed <= self.room_bytes()):
                yield self._space.at(block[index])

    def engine_bytes(self, model: str) -> NDArray[np.int64]:
        """Return what every engine of one model takes of the device by plan, in the space's order; more than any device
        has where llama.cpp would refuse it or it breaks the RAM limit."""
        return self._tables[model]

    def room_bytes(self) -> int:
        """Return what the buffers may take together: the budget without its margin, overheads and headroom."""
        capacity_bytes = self._limits.capacity_bytes
        if capacity_bytes is None:
            return _NEVER - 1
        correction = self.correction
        if correction is None:
            return capacity_bytes
        return capacity_bytes - self._limits.n_processes * correction.overhead_bytes - correction.headroom_bytes

    def _table(self, name: str) -> NDArray[np.int64]:
        """Return what every engine of one model takes of the device, in the space's order."""
        known: dict[EngineSettings, int] = {}
        n_layer = self._space.n_layers[name]

        def device_bytes(engine: EngineSettings) -> int:
            key = engine.memory_key(n_layer)
            if key not in known:
                known[key] = self._device_bytes(name, key)
            return known[key]

        return np.array([device_bytes(engine) for engine in self._space.engines(name)], dtype=np.int64)

    def _device_bytes(self, name: str, engine: EngineSettings) -> int:
        plan = self.planner.models[name].plan(engine)
        held, on_host = plan.devices[GPU].buffers(), plan.devices[HOST].buffers()
        if held is None or on_host is None or engine.impossible() is not None:
            return _NEVER
        if self._limits.ram_excess_bytes(name, on_host) > 0:
            return _NEVER
        return held.total_bytes + plan.log_error_bytes
