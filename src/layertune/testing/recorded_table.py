"""A recorded table: the memory and the speeds of a small study's engines, for a replay without llama.cpp.

It has every engine of each model in at least one cell, but not every pair of engines. When a model runs alone, its
speed depends only on its own engine. The joint cells of the table test this (`factorisation_error`).
"""

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from layertune.errors import ResultFileError
from layertune.memory import ModelPlan, Planner
from layertune.memory.plan import Overhead
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.search_space import Dimension, SearchSpace
from layertune.trial.outcome import ModelSamples
from layertune.written_files import replacing

CellKind = Literal["factor", "joint"]

_REMEDY = "give a table that benchmarks/search_efficiency/record.py has written"


@dataclass(frozen=True, slots=True)
class ModelCell:
    """The measurement of one model's engine, in canonical form, in one cell."""

    settings: EngineSettings
    samples: ModelSamples
    load_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """All models on the device at once.

    Factor cells contain every engine at least once. Joint cells are more pairs of engines. `disturbances` are those of
    the last measurement.
    """

    kind: CellKind
    models: dict[str, ModelCell]
    peak_bytes: int
    disturbances: tuple[str, ...] = ()

    @property
    def settings(self) -> SplitSettings:
        return SplitSettings.of({name: each.settings for name, each in self.models.items()})


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The memory plan of all engines whose `memory_key` are these settings."""

    settings: EngineSettings
    plan: ModelPlan


@dataclass(frozen=True, slots=True)
class Speed:
    """A model's tokens/s in each phase, and the resulting times of its workload."""

    pp_tokens_per_s: float
    tg_tokens_per_s: float
    n_prompt: int
    n_generate: int

    @property
    def ttft_s(self) -> float:
        """The time to the first token, without its sampling, which takes less than a thousandth of it."""
        return self.n_prompt / self.pp_tokens_per_s

    @property
    def duration_s(self) -> float:
        return self.ttft_s + self.n_generate / self.tg_tokens_per_s

    @property
    def tokens_per_s(self) -> float:
        return self.n_generate / self.duration_s


@dataclass(frozen=True, slots=True)
class TrueMetrics:
    """A setting's speeds and memory without noise."""

    models: dict[str, Speed]
    peak_bytes: int


@dataclass(frozen=True)
class RecordedTable:
    """A table with its search space.

    Attributes:
        device: A description of the measured device.
        workloads: Prompt and generated tokens, by model.
        n_layers: Repeating layers, by `variant`: a model's name, and its file if it has several.
        n_parallel: Slots, by model.
    """

    name: str
    device: str
    workloads: dict[str, tuple[int, int]]
    n_layers: dict[str, int]
    n_parallel: dict[str, int]
    dimensions: tuple[Dimension, ...]
    plans: dict[str, tuple[EnginePlan, ...]]
    cells: tuple[Cell, ...]

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace(self.dimensions, self.n_parallel, self.n_layers, {})

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self.workloads)

    @cached_property
    def planner(self) -> Planner:
        models = {name: _RecordedMemory(plans, self.space, name) for name, plans in self.plans.items()}
        return Planner(models, Overhead(0, "the table's device had none"), n_processes=len(models))

    def cells_of(self, model: str, kind: CellKind | None = None) -> dict[EngineSettings, list[ModelCell]]:
        """Return a model's cells by engine, those of one kind or all, in the order of the table."""
        found: dict[EngineSettings, list[ModelCell]] = {}
        for cell in self.cells:
            if kind in (None, cell.kind):
                found.setdefault(cell.models[model].settings, []).append(cell.models[model])
        return found

    def true_speed(self, model: str, engine: EngineSettings) -> Speed:
        """Return the median over the cells that ran this engine; raises KeyError if none did."""
        return self._speeds[model][self.space.canonical_engine(model, engine)]

    def true_load_s(self, model: str, engine: EngineSettings) -> float:
        return median(cell.load_s for cell in self._cells[model][self.space.canonical_engine(model, engine)])

    def true_metrics(self, settings: SplitSettings) -> TrueMetrics:
        """Return what a measurement without noise would give; raises KeyError for an engine that no cell ran."""
        speeds = {name: self.true_speed(name, engine) for name, engine in settings.items()}
        return TrueMetrics(speeds, self.peak_bytes(settings))

    def peak_bytes(self, settings: SplitSettings) -> int:
        """Return the planned bytes on the device. The emulated card's ledger measures the same."""
        planned = self.planner.plan(settings).device_bytes
        if planned is None:
            raise ValueError(f"the table {self.name} has no bytes for {settings.as_dict()}")
        return planned

    def missing(self) -> list[str]:
        """Return descriptions of the space's engines that have no cell or no plan."""
        return [
            f"{name} {engine}"
            for name in self.models
            for engine in self.space.engines(name)
            if self.space.canonical_engine(name, engine) not in self._speeds[name] or not self._is_planned(name, engine)
        ]

    def _is_planned(self, name: str, engine: EngineSettings) -> bool:
        key = engine.memory_key(self.space.n_layer(name, engine))
        return any(
            each.settings == key and all(planned.buffers() is not None for planned in each.plan.devices.values())
            for each in self.plans.get(name, ())
        )

    @cached_property
    def _cells(self) -> dict[str, dict[EngineSettings, list[ModelCell]]]:
        return {name: self.cells_of(name) for name in self.models}

    @cached_property
    def _speeds(self) -> dict[str, dict[EngineSettings, Speed]]:
        return {
            name: {engine: _speed(cells, *self.workloads[name]) for engine, cells in found.items()}
            for name, found in self._cells.items()
        }


class _RecordedMemory:
    """One model's memory, from the table's plans."""

    def __init__(self, plans: Iterable[EnginePlan], space: SearchSpace, name: str) -> None:
        self._plans = {each.settings: each.plan for each in plans}
        self._space = space
        self._name = name

    def plan(self, settings: EngineSettings) -> ModelPlan:
        return self._plans[settings.memory_key(self._space.n_layer(self._name, settings))]


_TABLE: TypeAdapter[RecordedTable] = TypeAdapter(RecordedTable)


def save_table(table: RecordedTable, path: Path) -> None:
    """Write a `.json.gz`; equal tables give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(gzip.compress(_TABLE.dump_json(table), mtime=0))


def load_table(path: Path) -> RecordedTable:
    """Read a `.json.gz`.

    Raises:
        ResultFileError: it is missing, is not a table, or lacks an engine of its own space.
    """
    try:
        table = _TABLE.validate_json(gzip.decompress(path.read_bytes()))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ResultFileError(f"{path} is not a whole .json.gz: {error}", remedy=_REMEDY) from error
    except OSError as error:
        raise ResultFileError(f"cannot read {path}: {error.strerror}", remedy=_REMEDY) from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ResultFileError(f"{path} is not a recorded table: {where}: {problem['msg']}", remedy=_REMEDY) from error
    if missing := table.missing():
        raise ResultFileError(f"{path} lacks {len(missing)} engines of its space, {missing[0]} first", remedy=_REMEDY)
    return table


def _speed(cells: Iterable[ModelCell], n_prompt: int, n_generate: int) -> Speed:
    samples = [cell.samples for cell in cells]
    pp = median(median(each.pp_tokens_per_s) for each in samples)
    tg = median(median(each.tg_tokens_per_s) for each in samples)
    return Speed(pp, tg, n_prompt, n_generate)
