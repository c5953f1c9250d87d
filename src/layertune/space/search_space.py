"""The joint space of all models' settings, as Optuna parameters named like `chat.n_gpu_layers`.

A dimension with a single value is not a parameter. The ranges do not change during a search, since Optuna's samplers
leave dynamic ranges out of their joint model. Whether a setting fits is decided by `FeasibleSpace`, not here.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import Any

from layertune.config import StudyConfig, dimension_values
from layertune.config.dimension import ALL, parse_cache_types
from layertune.config.model_config import DIMENSIONS
from layertune.errors import ConfigError, listed
from layertune.pooling import Pooling
from layertune.settings import (
    CACHE_TYPES,
    KEPT_ON_HOST,
    OFFLOAD_SWITCHES,
    TENSOR_OVERRIDES,
    EngineSettings,
    SplitSettings,
    variant,
)  # fmt: skip
from layertune.space.random_order import permuted
from layertune.tensor_overrides import format_tensor_overrides, parse_tensor_overrides
from layertune.tensor_split import TensorSplit, format_tensor_split, parse_tensor_split
from layertune.units import MIB, quoted

Params = dict[str, Any]

# All engines of a model are planned before the first trial.
_MAX_ENGINES = 1_000_000
TENSOR_SPLIT = "tensor_split"  # of several devices only
FILE = "file"  # of a model with several files only
THREAD_FIELDS = ("n_threads", "n_threads_batch")
_FIELDS = tuple(field for field in DIMENSIONS if field not in (TENSOR_SPLIT, FILE, CACHE_TYPES))


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting of one model, and the values that it may take, in the config's order.

    Values of tensor_split and tensor_overrides are in llama.cpp's form, such as `"3,1"`, which any storage can hold.
    """

    model: str
    field: str
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        return f"{self.model}.{self.field}"


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """All dimensions of all models; `n_parallel` and `poolings` by model, and `n_layers` by `variant`. Models that
    generate text have no pooling; of the others n_batch is no dimension, since it equals n_ubatch. Of an `auto` model,
    n_cpu_moe and n_cpu_ffn have their first value unless all layers are on the device; so have the cache types if
    kv_offload is off."""

    dimensions: tuple[Dimension, ...]
    n_parallel: Mapping[str, int]
    n_layers: Mapping[str, int]
    poolings: Mapping[str, Pooling]
    auto: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        config: StudyConfig,
        n_layers: Mapping[str, int],
        *,
        n_threads: int,
        offloads: bool = True,
        capacities: Sequence[int] = (),
    ) -> "SearchSpace":
        """Return the space of a config.

        Args:
            config: names the values of each dimension.
            n_layers: the repeating layers of each model, by `variant`.
            n_threads: used if the config names no threads.
            offloads: whether there is a device to offload to; without one, n_gpu_layers is 0.
            capacities: the usable bytes of each device; with several, tensor_split is a dimension.
        """
        dimensions = []
        for name, model in config.models.items():
            files = tuple(model.paths)
            all_layers = max(n_layers[variant(name, file)] for file in files) + 1 if offloads else 0
            if len(files) > 1:
                dimensions.append(Dimension(name, FILE, files))
            dimensions += [
                Dimension(name, field, _values(field, getattr(model.space, field), all_layers, n_threads))
                for field in _FIELDS
                if (model.space.cache_types is None or field not in ("type_k", "type_v"))
                and not (model.pooling and field == "n_batch")
            ]
            if model.space.cache_types is not None:
                pairs = tuple(dict.fromkeys(dimension_values(model.space.cache_types)))
                dimensions.append(Dimension(name, CACHE_TYPES, pairs))
            if splits := tensor_splits(model.space.tensor_split, capacities):
                dimensions.append(Dimension(name, TENSOR_SPLIT, splits))
        n_parallel = {name: model.n_parallel for name, model in config.models.items()}
        poolings = {name: model.pooling for name, model in config.models.items() if model.pooling}
        auto = frozenset(name for name, model in config.models.items() if model.space.auto)
        return cls(tuple(dimensions), n_parallel, dict(n_layers), poolings, auto)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self.n_parallel)

    def files(self, model: str) -> tuple[str, ...]:
        """Return the names of a model's files; of a single one, the name is empty."""
        return next((each.values for each in self.dimensions if each.name == f"{model}.{FILE}"), ("",))

    def n_layer(self, model: str, engine: EngineSettings) -> int:
        """Return the repeating layers of the file that an engine of `model` loads."""
        return self.n_layers[variant(model, engine.file)]

    def canonical_engine(self, model: str, engine: EngineSettings) -> EngineSettings:
        return engine.canonical(self.n_layer(model, engine))

    @property
    def searched(self) -> list[Dimension]:
        """The dimensions with more than one value, which a search varies."""
        return [each for each in self.dimensions if len(each.values) > 1]

    def n_settings(self) -> int:
        """Return how many settings there are. Settings that llama.cpp runs alike or refuses are counted one by one."""
        return prod(len(dimension.values) for dimension in self.dimensions)

    def settings(self, params: Mapping[str, Any]) -> SplitSettings:
        """Return the settings of a trial's parameters, with the fixed dimensions filled in."""
        chosen: dict[str, Params] = {model: {} for model in self.n_parallel}
        for each in self.dimensions:
            chosen[each.model][each.field] = params.get(each.name, each.values[0])
        return SplitSettings.of({model: self._engine(model, fields) for model, fields in chosen.items()})

    def params(self, settings: SplitSettings) -> Params:
        """Return the Optuna parameters of `settings`: the searched dimensions only."""
        return {each.name: settings[each.model].written(each.field) for each in self.searched}

    def baseline(self, name: str, values: Mapping[str, Mapping[str, Any]]) -> SplitSettings:
        """Return a baseline of the config. A dimension that it does not name has its first value.

        Raises:
            ConfigError: it names a model, a dimension or a value that the space does not have.
        """
        params: Params = {}
        for key, value in ((f"{model}.{field}", value) for model in values for field, value in values[model].items()):
            found = [each for each in self.dimensions if each.name == key]
            if not found:
                raise ConfigError(f"baselines.{name}: there is no {key}", remedy="write it like code.n_gpu_layers")
            (dimension,) = found
            if dimension.field in _LAYER_FIELDS:
                most = max(self.n_layers[variant(dimension.model, file)] for file in self.files(dimension.model))
                value = most + 1 if value == ALL else min(value, most + 1) if isinstance(value, int) else value
            if value not in dimension.values:
                there = listed(map(str, dimension.values))
                raise ConfigError(
                    f"baselines.{name}: {key} = {quoted(value)} is not searched", remedy=f"choose one of {there}"
                )
            params[key] = value
        settings = self.settings(params)
        combined = params | self.params(settings)
        for key in (key for key, value in params.items() if combined[key] != value):
            raise ConfigError(
                f"baselines.{name}: {key} = {quoted(params[key])} is not searched next to its other values",
                remedy="leave auto out of that model's space",
            )
        return settings

    def engines(self, model: str) -> Iterator[EngineSettings]:
        """Yield every engine of one model, the last dimension changing fastest.

        Raises:
            ConfigError: there are more than can be planned.
        """
        dimensions = [each for each in self.dimensions if each.model == model]
        n_engines = prod(len(each.values) for each in dimensions)
        if n_engines > _MAX_ENGINES:
            raise ConfigError(
                f"models.{model}.space has {n_engines} settings, and at most {_MAX_ENGINES} can be planned",
                remedy="search fewer values, or give n_gpu_layers a larger step",
            )
        for values in product(*(each.values for each in dimensions)):
            yield self._engine(model, {each.field: value for each, value in zip(dimensions, values, strict=True)})

    def _engine(self, model: str, fields: Params) -> EngineSettings:
        if model in self.auto:
            fields = fields | self._inactive(model, fields)
        if TENSOR_SPLIT in fields:
            fields = fields | {TENSOR_SPLIT: parse_tensor_split(fields[TENSOR_SPLIT])}
        if TENSOR_OVERRIDES in fields:
            fields = fields | {TENSOR_OVERRIDES: parse_tensor_overrides(fields[TENSOR_OVERRIDES])}
        if CACHE_TYPES in fields:
            type_k, type_v = parse_cache_types(fields[CACHE_TYPES])
            fields = {field: value for field, value in fields.items() if field != CACHE_TYPES}
            fields |= {"type_k": type_k, "type_v": type_v}
        if pooling := self.poolings.get(model):
            fields = {**fields, "n_batch": fields["n_ubatch"], "pooling": pooling}
        return EngineSettings(n_parallel=self.n_parallel[model], **fields)

    def _inactive(self, model: str, fields: Params) -> Params:
        """Return the settings of an `auto` model that have their first value next to the others, with that value."""
        is_whole = fields["n_gpu_layers"] > self.n_layers[variant(model, fields.get(FILE, ""))]
        unused = [] if is_whole else list(KEPT_ON_HOST)
        if fields["kv_offload"] == "off":
            unused += [CACHE_TYPES, "type_k", "type_v"]
        return {each.field: each.values[0] for each in self.dimensions if each.model == model and each.field in unused}

    def canonical(self, settings: SplitSettings) -> SplitSettings:
        return settings.canonical(self.n_layers)

    def enumerate(self) -> Iterator[SplitSettings]:
        """Yield every possible setting, in the order of the dimensions' values."""
        return self._possible(range(self.n_settings()))

    def shuffled(self, seed: int | str) -> Iterator[SplitSettings]:
        """Yield every possible setting once, in a seeded random order; memory grows with what was yielded only."""
        return self._possible(permuted(self.n_settings(), random.Random(seed)))

    def _possible(self, indices: Iterable[int]) -> Iterator[SplitSettings]:
        settings = (self.at(index) for index in indices)
        return (each for each in settings if each.impossible() is None)

    def at(self, index: int) -> SplitSettings:
        """Return the setting with this index; the last dimension changes fastest."""
        params: Params = {}
        for dimension in reversed(self.dimensions):
            index, place = divmod(index, len(dimension.values))
            params[dimension.name] = dimension.values[place]
        return self.settings(params)

    def with_file(self, settings: SplitSettings, model: str, file: str) -> SplitSettings:
        """Return these settings with another file of one model; unchanged if the model has only one."""
        return self.settings(self.params(settings) | {f"{model}.{FILE}": file}) if file else settings

    def over_devices(self, settings: SplitSettings, model: str) -> list[SplitSettings]:
        """Return these settings with each tensor_split of one model; unchanged if there is only one."""
        name, params = f"{model}.{TENSOR_SPLIT}", self.params(settings)
        splits = next((each.values for each in self.dimensions if each.name == name), ())
        return [self.settings(params | {name: split}) for split in splits] or [settings]

    def smallest(self) -> SplitSettings:
        """Return the setting with the fewest layers on the device, and the smallest contexts and batches.

        Other dimensions have their first value. `LeastSettings` has the one that needs the least memory.
        """
        return self.settings(
            {each.name: min(each.values) for each in self.dimensions if each.field in _GROWING and len(each.values) > 1}
        )


def tensor_splits(written: TensorSplit | list[TensorSplit] | None, capacities: Sequence[int]) -> tuple[str, ...]:
    """Return the splits to search in llama.cpp's form, such as `"3,1"`; none for a single device.

    If the config names no splits, there is one in proportion to the capacities, as llama.cpp splits over empty devices.
    For each device there is one with all layers on it, so that two models can have a device each.

    Args:
        written: the splits that the config names.
        capacities: the usable bytes of each device.
    """
    n_devices = len(capacities)
    if n_devices < 2:
        return ()
    if written is not None:
        return tuple(dict.fromkeys(map(format_tensor_split, dimension_values(written))))
    sizes_mib = [max(1, round(capacity / MIB)) for capacity in capacities]
    by_size = tuple(size_mib / gcd(*sizes_mib) for size_mib in sizes_mib)
    alone = [tuple(float(device == each) for device in range(n_devices)) for each in range(n_devices)]
    return tuple(map(format_tensor_split, (by_size, *alone)))


_LAYER_FIELDS = frozenset({"n_gpu_layers", *KEPT_ON_HOST})
_GROWING = frozenset({"n_gpu_layers", "n_ctx", "n_batch", "n_ubatch"})


def _values(field: str, written: Any, all_layers: int, n_threads: int) -> tuple[Any, ...]:
    """Return a dimension's values. More layers than the model has are all its layers, without a device none."""
    choices: list[Any] = (
        [n_threads] if written is None and field == "n_threads" else dimension_values(written, all_layers)
    )
    if field in OFFLOAD_SWITCHES and all_layers == 0:
        choices = ["on"]  # there is no device to offload to
    if field == TENSOR_OVERRIDES:
        choices = [format_tensor_overrides(each) for each in choices] if all_layers else [""]
    if field in _LAYER_FIELDS:
        choices = [min(layers, all_layers) for layers in choices]
    return tuple(dict.fromkeys(choices))
