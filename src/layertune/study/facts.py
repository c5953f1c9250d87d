"""What is known of a study before its first trial: config, machine, models, space, limits. No model is loaded."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from layertune.config import Objective, StudyConfig
from layertune.devices.host import Machine
from layertune.devices.inspection import inspect
from layertune.devices.target import Target
from layertune.engine.build import BuildInfo
from layertune.errors import BuildError, ConfigError
from layertune.memory import Planner
from layertune.models import ModelFiles, ModelShape
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.study.models_on_device import ModelsOnDevice

if TYPE_CHECKING:  # slower to import than an estimate takes
    from layertune.results.study_info import QualityInfo
    from layertune.results.summary import Baseline
    from layertune.sampler.posterior import Observation
    from layertune.space.feasible import FeasibleSpace
    from layertune.study.expected_speeds import EnginesByModel
    from layertune.study.machine_rates import FoundRates

_MANY = 500  # settings: asking llama.cpp about so many takes several seconds


def ignore(_event: object) -> None:
    """Do nothing with an event or a message."""


@dataclass(frozen=True)
class StudyFacts:
    """One study on one machine. All of it is fixed when it is opened; what takes time is worked out at first use.

    Attributes:
        config: what the user wrote, with every default filled in.
        machine: the processor and the memory of this machine.
        models: the models' shapes, the device, and llama.cpp's projections of what settings take.
        space: all settings that may be tried.
        limits: what the models may take of the devices and of the host, in bytes.
        prior: by model, what another study measured (`search.warm_start`); empty without one.
        notify: called with a sentence when something takes long or cannot be had.
        space_notes: a sentence for each model whose space was open: what is searched, and why the rest is not.
        quality: by model, what its files and cache types cost in quality; empty until a search measures it.
        has_default_budget: whether the budget is what was free when the study was opened.
        opened_s: when the study was opened, of `time.monotonic`; the time that a result accounts for begins there.
    """

    config: StudyConfig
    machine: Machine
    models: ModelsOnDevice
    space: SearchSpace
    limits: Limits
    prior: Mapping[str, Sequence["Observation"]]
    notify: Callable[[str], None] = ignore
    space_notes: tuple[str, ...] = ()
    quality: "Mapping[str, Sequence[QualityInfo]]" = field(default_factory=dict)
    has_default_budget: bool = False
    opened_s: float = field(default_factory=time.monotonic)

    @property
    def default_folder(self) -> Path:
        """Where the study is kept unless another folder is given."""
        return Path("studies") / self.config.name

    @property
    def shapes(self) -> dict[str, ModelShape]:
        return self.models.shapes

    @cached_property
    def files(self) -> dict[str, ModelFiles]:
        """The model files of these shapes, which are known again by their contents.

        Raises:
            ModelFileError: one is gone, or was replaced since its header was read.
        """
        return {name: ModelFiles.of_shape(shape) for name, shape in self.shapes.items()}

    @property
    def target(self) -> Target:
        """The device that layers are offloaded to."""
        return self.models.target

    @cached_property
    def build(self) -> BuildInfo:
        """Which llama.cpp this is."""
        return inspect().build

    @cached_property
    def objectives(self) -> list[Objective]:
        """What the search optimises; see `objectives_of`.

        Raises:
            ConfigError: one is a quality that is not known.
        """
        from layertune.study.quality_objectives import objectives_of

        return objectives_of(self.config, self.quality)

    @cached_property
    def planner(self) -> Planner:
        """What plans the memory of any setting.

        Raises:
            BuildError: llama.cpp cannot load a model.
        """
        return self.models.planner()

    @cached_property
    def feasible(self) -> "FeasibleSpace | None":
        """The settings that fit. None where llama.cpp cannot plan these models, so that only a trial can tell."""
        from layertune.memory.correction import Correction
        from layertune.space.feasible import FeasibleSpace

        try:
            ask_llama_cpp(self.models, self.space, self.notify)
            overhead = self.models.overhead
            known = None if overhead.is_default or not overhead.n_bytes else Correction(overhead.n_bytes, 0, 0)
            return FeasibleSpace(self.space, self.planner, self.limits).corrected(known)
        except BuildError as error:
            self.notify(
                f"no plan: {error}; only a trial shows whether a setting fits, and layer-split searches as tpe does"
            )
            return None

    @cached_property
    def baselines(self) -> "list[Baseline]":
        """The config's own baselines, then what other tools would choose; these rules are for one device.

        Raises:
            ConfigError: a baseline of the config is wrong, or has the name of a computed one.
        """
        from layertune.results.summary import Baseline
        from layertune.space.baselines import baselines

        found = [
            Baseline(name, self.space.baseline(name, values), "from the config")
            for name, values in self.config.baselines.items()
        ]
        capacities = self.limits.capacities
        device_bytes = self.target.vram_bytes if self.target.free_bytes is None else self.target.free_bytes
        if self.feasible is not None and len(capacities) == 1 and device_bytes is not None:
            found += baselines(self.space, self.planner, capacities[0], device_bytes)
        names = [each.name for each in found]
        if taken := next((name for name in self.config.baselines if names.count(name) > 1), None):
            raise ConfigError(f"baselines.{taken}: layertune computes one of that name", remedy="rename yours")
        return found

    @cached_property
    def rates(self) -> "FoundRates":
        """How fast this machine is; measuring it takes a second."""
        from layertune.study.machine_rates import find_rates

        return find_rates(self.space, self.target)

    @cached_property
    def expected_engines(self) -> "EnginesByModel | None":
        """The speeds that are expected of every engine. None where llama.cpp cannot plan these models."""
        from layertune.study.expected_speeds import EnginesByModel

        if self.feasible is None:
            return None
        workloads = {name: model.workload for name, model in self.config.models.items()}
        return EnginesByModel(self.space, self.feasible, self.models.memories(), workloads, self.rates.rates)

    @cached_property
    def initial_design(self) -> list[SplitSettings]:
        """The settings that are measured before the sampler chooses; see `space.initial_design`."""
        from layertune.space.initial_design import initial_design

        expected, config = self.expected_engines, self.config
        best = [] if expected is None else expected.first(config.resolved_floors(), config.resolved_weights())
        at_the_end = expected is not None and config.search.sampler == "layer-split"  # the search adds the best one
        named = [each for each in self.baselines if not at_the_end or each.name in config.baselines]
        return initial_design(self.space, self.feasible, self.limits.capacities, best, named)

    @cached_property
    def reference(self) -> SplitSettings:
        """The setting of the reference runs, which show whether the machine has become slower.

        It is the same on every day: the extreme setting with most layers on the device, so that it covers device and
        host.
        """
        from layertune.space.initial_design import extreme_settings

        if self.feasible is None or not self.limits.capacities:
            return self.space.canonical(self.space.smallest())
        extremes = extreme_settings(self.space, self.feasible.planner, self.limits.capacities)
        fitting = [self.space.canonical(each) for each in extremes if not self.feasible.exceeded(each)]
        return max(fitting, default=self.space.smallest(), key=_n_layers)


def _n_layers(settings: SplitSettings) -> int:
    return sum(engine.n_gpu_layers for _, engine in settings.items())


def ask_llama_cpp(models: ModelsOnDevice, space: SearchSpace, notify: Callable[[str], None] = ignore) -> None:
    """Ask what every setting of the space takes, all at once; the answers are kept on disk.

    Raises:
        BuildError: llama.cpp cannot load a model.
    """
    n_missing = models.n_missing({name: space.engines(name) for name in space.models})
    if n_missing >= _MANY:
        notify(f"asking llama.cpp what {n_missing} settings would take; it will be remembered")
    models.learn({name: space.engines(name) for name in space.models})
