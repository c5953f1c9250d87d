"""Everything a study needs to know before its first trial, gathered without loading a model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from layertune.cli.console import say
from layertune.cli.hardware import hardware_info
from layertune.cli.planning import Planning, plan_study
from layertune.cli.warm_start import COPY_NAME, read_elsewhere
from layertune.config import StudyConfig, dump_config
from layertune.config.objective import with_floors
from layertune.devices.hardware import Machine, this_machine
from layertune.devices.inspection import inspect
from layertune.devices.target import Target
from layertune.engine.library import BuildInfo
from layertune.errors import BuildError, ConfigError
from layertune.models import ModelShape, file_sha256
from layertune.results.result import BudgetInfo, HostLimitsInfo, LlamaCpp, ModelInfo, WorkloadInfo
from layertune.results.summary import Baseline, Planned, Provenance
from layertune.search.baselines import baselines, first_settings
from layertune.search.constraints import Limits
from layertune.search.feasible import FeasibleSpace
from layertune.search.measuring import FinalsPlan, Measuring
from layertune.search.plan import Plan
from layertune.search.space import SearchSpace
from layertune.search.speeds import Observation
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.process import Workplace
from layertune.units import GIB

_MANY = 500  # settings, which take several seconds to ask for


@dataclass(frozen=True, slots=True)
class Preparation:
    """A study ready to start. Without `feasible`, llama.cpp could not say what its models take: a load will."""

    config: StudyConfig
    planning: Planning
    machine: Machine
    build: BuildInfo
    space: SearchSpace
    limits: Limits
    feasible: FeasibleSpace | None
    elsewhere: Mapping[str, Sequence[Observation]]

    @property
    def shapes(self) -> dict[str, ModelShape]:
        return self.planning.shapes

    @property
    def target(self) -> Target:
        return self.planning.target

    def workplace(self) -> Workplace:
        models = self.config.models
        return Workplace(
            target=self.target,
            paths={name: str(model.path) for name, model in models.items()},
            workloads={name: (model.workload.n_prompt, model.workload.n_generate) for name, model in models.items()},
            seed=self.config.seed,
            trial_timeout_s=self.config.search.trial_timeout,
        )

    def plan(self) -> Plan:
        search = self.config.search
        return Plan(
            name=self.config.name,
            space=self.space,
            objectives=self.config.resolved_objectives(),
            limits=self.limits,
            identity=self._identity(),
            sampler=search.sampler,
            seed=self.config.seed,
            n_trials=search.n_trials,
            early_stop=search.early_stop,
            timeout_s=search.timeout,
            first=self._first(),
            feasible=self.feasible,
            baselines=frozenset(
                self.space.canonical(each.settings) for each in self.baselines() if each.settings is not None
            ),
            floors=self.config.resolved_floors(),
            weights=self.config.resolved_weights(),
            elsewhere=self.elsewhere,
            workloads={name: model.workload for name, model in self.config.models.items()},
            measuring=self._measuring(),
        )

    def _measuring(self) -> Measuring:
        measurement, finals = self.config.measurement, self.config.finals
        effort = Effort(
            measurement.min_repeats,
            measurement.max_repeats,
            measurement.target_spread,
            measurement.warm_up,
            repeat_together=any(
                each.quantity == "tokens_per_s_together"
                for each in with_floors(self.config.resolved_objectives(), self.config.resolved_floors())
            ),
            max_s=measurement.max_time,
        )
        again = replace(
            effort,
            min_repeats=finals.n_repeats,
            max_repeats=finals.n_repeats,
            target_spread=finals.target_spread,
            repeat_together=True,
            n_beside_prefill=1,
        )
        return Measuring(
            effort=effort,
            n_attempts=measurement.max_attempts,
            reference=self._reference(),
            n_between=measurement.reference_every,
            finals=FinalsPlan(
                finals.max_rounds, finals.max_finalists, again, finals.beside_prefill, finals.confirming_rounds
            ),
        )

    def _reference(self) -> SplitSettings:
        """Return what tells whether the machine is still the same: of the first settings the one with most layers on
        the device, so that it tells of both."""
        return max(self._first(), default=self.space.smallest(), key=_n_layers)

    def planned(self) -> Planned | None:
        """Return what a result tells of the plan; to be called after the search, which corrects it."""
        if self.feasible is None:
            return None
        return Planned(
            self.feasible.planner,
            self.space.n_settings(),
            self.feasible.n_settings(),
            self.feasible.correction,
            self.feasible.room_bytes() if self.limits.vram else None,
        )

    def provenance(self, created: datetime) -> Provenance:
        models = self.config.models
        return Provenance(
            name=self.config.name,
            created=created,
            sampler=self.config.search.sampler,
            seed=self.config.seed,
            llama_cpp=LlamaCpp(version=self.build.version, commit=self.build.commit),
            hardware=hardware_info(self.target, self.machine),
            models={name: _model_info(shape) for name, shape in self.shapes.items()},
            workload={name: WorkloadInfo(**model.workload.model_dump()) for name, model in models.items()},
            budget=BudgetInfo(
                vram_bytes=self.limits.vram_bytes,
                margin_bytes=self.limits.margin_bytes,
                devices=list(self.limits.vram) if len(self.limits.vram) > 1 else None,
            ),
            objectives=self.config.resolved_objectives(),
            floors=self.config.resolved_floors(),
            weights=self.config.resolved_weights(),
            baselines=self.baselines(),
            host_limits=HostLimitsInfo(
                n_cpus=self.config.host.n_cpus, ram_per_model_bytes=self.config.host.ram_per_model
            ),
        )

    def resolved_toml(self, folder: Path) -> str:
        """Return the config as the study folder keeps it: its paths are relative to the folder."""
        models = {
            name: model.model_copy(update={"path": Path(_relative(model.path, folder))})
            for name, model in self.config.models.items()
        }
        changes: dict[str, Any] = {"models": models}
        search = self.config.search
        if search.warm_start is not None:
            changes["search"] = search.model_copy(update={"warm_start": Path(COPY_NAME)})
        return dump_config(self.config.model_copy(update=changes))

    def _first(self) -> list[SplitSettings]:
        return first_settings(self.space, self.feasible, self.limits.capacities, self.baselines())

    def baselines(self) -> list[Baseline]:
        """Return the config's own baselines, then those that follow from the models and the budget; the rules of these
        are for one device."""
        found = [
            Baseline(name, self.space.baseline(name, values), "from the config")
            for name, values in self.config.baselines.items()
        ]
        capacities, device_bytes = self.limits.capacities, self.target.vram_bytes
        if self.feasible is not None and len(capacities) == 1 and device_bytes is not None:
            found += baselines(self.space, self.feasible.planner, capacities[0], device_bytes)
        names = [each.name for each in found]
        if taken := next((name for name in self.config.baselines if names.count(name) > 1), None):
            raise ConfigError(f"baselines.{taken}: layertune computes one of that name", remedy="rename yours")
        return found

    def _identity(self) -> dict[str, str]:
        """All that must be the same for two trials to be comparable, in words that a refusal can quote."""
        hardware, build = hardware_info(self.target, self.machine), self.build
        device = hardware.device
        threads = f", {self.target.n_threads} threads" if self.target.n_threads else ""
        identity = {
            "cpu": f"{hardware.cpu.model}, {hardware.cpu.n_cores} cores",
            "ram": f"{hardware.ram_bytes // GIB} GiB",
            "device": f"{device.kind} {device.name}, {device.vram_bytes} bytes{threads}, driver {device.driver}",
            "llama.cpp": f"{build.version} {build.commit}, {build.system_info}",
            "budget": f"{' + '.join(map(str, self.limits.vram)) or None} bytes, margin {self.limits.margin_bytes}",
            "RAM per model": f"{self.limits.ram_per_model_bytes} bytes",
            "processes": f"{self.limits.n_processes}",
            "objectives": ", ".join(objective.name for objective in self.config.resolved_objectives()),
            "measurement": self.config.measurement.model_dump_json(
                exclude={"reference_every", "max_attempts", "max_time"}
            ),
            "finals": f"{self.config.finals.n_repeats} repetitions a round",
        }
        if self.config.floors:
            identity["floors"] = ", ".join(map(str, self.config.resolved_floors()))
        for name, model in self.config.models.items():
            identity[f"model {name}"] = " ".join(file_sha256(file) for file in self.shapes[name].files)
            identity[f"workload {name}"] = f"{model.workload.n_prompt} + {model.workload.n_generate} tokens"
        for dimension in self.space.dimensions:
            if dimension.field == "n_cpu_moe" and dimension.values == (0,):
                continue  # studies of before this dimension was there can go on
            identity[dimension.name] = " ".join(str(value) for value in dimension.values)
        return identity


def prepare(config: StudyConfig) -> Preparation:
    """Read the models' headers and ask llama.cpp what it sees.

    Raises:
        ModelFileError: a model cannot be read.
        DeviceError: the device is not here.
        ResultFileError, ConfigError: there is nothing of these models to begin with where `search.warm_start` says.
    """
    planning, machine, build = plan_study(config), this_machine(), inspect().build
    target, shapes = planning.target, planning.shapes
    space = SearchSpace.of(
        config,
        {name: shape.n_layer for name, shape in shapes.items()},
        n_threads=config.host.n_cpus_of(machine.n_cores),
        offloads=target.kind != "cpu",
        capacities=planning.budgets_bytes(config),
    )
    limits = Limits(
        vram=planning.vram_bytes(config),
        margin_bytes=config.budget.margin,
        ram_per_model_bytes=config.host.ram_per_model,
        n_processes=planning.n_processes,
        file_bytes={name: shape.file_bytes for name, shape in shapes.items()},
    )
    feasible = None
    try:
        ask_llama_cpp(planning, space)
        feasible = FeasibleSpace(space, planning.planner(), limits)
    except BuildError as error:
        say(f"no plan: {error}; a trial tells whether a setting fits, and layer-split searches as tpe")
    warm_start = config.search.warm_start
    elsewhere = {} if warm_start is None else read_elsewhere(warm_start, shapes)
    return Preparation(config, planning, machine, build, space, limits, feasible, elsewhere)


def ask_llama_cpp(planning: Planning, space: SearchSpace) -> None:
    """Have what every setting of the space takes; raises BuildError where llama.cpp cannot load a model."""
    projections = planning.projections
    n_missing = sum(len(projections.missing(name, space.engines(name))) for name in planning.shapes)
    if n_missing >= _MANY:
        say(f"asking llama.cpp what {n_missing} settings would take; it will be remembered")
    projections.learn({name: space.engines(name) for name in planning.shapes})


def _model_info(shape: ModelShape) -> ModelInfo:
    return ModelInfo(
        file=shape.files[0].name,
        sha256=file_sha256(shape.files[0]),
        architecture=shape.architecture,
        n_layer=shape.n_layer,
        file_bytes=shape.file_bytes,
        quantization=shape.quantization,
    )


def _n_layers(settings: SplitSettings) -> int:
    return sum(engine.n_gpu_layers for _, engine in settings.items())


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive, on Windows
        return str(path.resolve())
