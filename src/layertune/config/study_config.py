"""The study config. Every key of the TOML file is a field here; its description is the reference documentation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from layertune.config.budget import Budget, Deployment, HostLimits
from layertune.config.device import DeviceChoice, DeviceText, EmulatedOptions
from layertune.config.dimension import dimension_values
from layertune.config.fields import Duration, Table, Within
from layertune.config.measurement import FinalsConfig, Measurement, QualityConfig
from layertune.config.model_config import ModelConfig
from layertune.config.objective import KL_DIVERGENCE, SCORE, VRAM_PEAK, Floor, Objective
from layertune.settings import variant
from layertune.tensor_split import format_tensor_split
from layertune.units import quoted

SAMPLERS = ("layer-split", "tpe", "random")

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_MAX_MODELS = 64
_RESERVED_NAMES = frozenset({"vram", "host", "balanced", "even", "lean"})


class SearchConfig(Table):
    """How the study searches."""

    sampler: str = Field(
        default="layer-split",
        description="What chooses the next trial: `layer-split`, which also decides when to stop; `tpe`; `random`; or "
        "the import path of any Optuna sampler, such as `optuna.samplers.GPSampler`.",
    )
    warm_start: Path | None = Field(
        default=None,
        description="Another study of the same models (its folder or result.json) whose speeds layer-split begins "
        "with, until its own trials say otherwise; relative to the config file.",
    )
    preset: Literal["quick", "default", "thorough"] = Field(
        default="default",
        description="How much is measured: `quick` is a first look without finals, `thorough` spends many more rounds "
        "and has no time limit. It sets keys of [search], [measurement] and [finals] that the config does not set "
        "itself; `--quick` and `--thorough` set them in any case.",
    )
    n_trials: Annotated[int, Within(1, 100_000)] = Field(
        default=40, description="Stop after this many finished trials."
    )
    early_stop: bool = Field(
        default=True,
        description="With layer-split, stop before n_trials once all that is left would add less than noise makes.",
    )
    timeout: Duration | None = Field(default=3600.0, description='Stop after this time, like "30m".')
    trial_timeout: Duration = Field(default=600.0, description="Give up on one trial after this time.")

    @field_validator("sampler")
    @classmethod
    def _check_sampler(cls, name: str) -> str:
        if name in SAMPLERS or (all(part.isidentifier() for part in name.split(".")) and "." in name):
            return name
        raise ValueError(
            f"{name} is no sampler: choose {', '.join(SAMPLERS)}, or an import path like optuna.samplers.GPSampler"
        )

    @model_validator(mode="after")
    def _check_warm_start(self) -> "SearchConfig":
        if self.warm_start is not None and self.sampler != "layer-split":
            raise ValueError(f"warm_start is for the sampler layer-split, and this one is {self.sampler}")
        return self


# By preset, what is not set in the config.
PRESETS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "quick": {
        "search": {"n_trials": 8},
        "measurement": {"min_repeats": 2, "max_repeats": 2, "reference_every": 0},
        "finals": {"max_rounds": 0},
    },
    "default": {},
    "thorough": {
        "search": {"timeout": None},
        "finals": {"max_rounds": 12, "max_finalists": 8, "confirming_rounds": 8, "target_spread": 0.005},
    },
}


class StudyConfig(Table):
    """A whole study: models, device, budget, objectives and how to search."""

    name: str = Field(default="search", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the study folder.")
    seed: Annotated[int, Within(0, 2**32 - 1)] = Field(
        default=0, description="Seeds the sampler and the measured tokens."
    )
    device: DeviceText = Field(
        default="auto",
        description="auto, cpu, gpu:N or emulated:SIZE; several GPUs or cards are joined: gpu:0+1, emulated:4GiB+2GiB.",
    )
    emulated: EmulatedOptions = Field(default_factory=EmulatedOptions)
    models: dict[str, ModelConfig] = Field(
        min_length=1, max_length=_MAX_MODELS, description="The models that share the device, by name."
    )
    budget: Budget = Field(default_factory=Budget)
    host: HostLimits = Field(default_factory=HostLimits)
    deployment: Deployment = Field(default_factory=Deployment)
    search: SearchConfig = Field(default_factory=SearchConfig)
    measurement: Measurement = Field(default_factory=Measurement)
    quality: QualityConfig = Field(default_factory=QualityConfig)
    finals: FinalsConfig = Field(default_factory=FinalsConfig)
    baselines: dict[str, dict[str, dict[str, int | str]]] = Field(
        default_factory=dict,
        description="Settings to beat, measured first: NAME = { MODEL = { n_gpu_layers = 20, … }, … }.",
    )
    objectives: list[str] | None = Field(
        default=None,
        min_length=1,
        description="What to optimise; without it, each model's tokens_per_s, its n_ctx where searched, its quality "
        "where files or cache types are, and peak VRAM.",
    )

    floors: list[str] = Field(
        default_factory=list,
        description='What a setting must reach to be chosen, like "chat.tokens_per_s >= 20", "code.ttft_s <= 3" or '
        '"code.kl_divergence <= 0.05". A model whose tokens_per_s has a floor is no objective beyond it, unless every '
        "model has one.",
    )
    weights: dict[str, Annotated[float, Within(0.001, 1000.0)]] = Field(
        default_factory=dict,
        description="How much a model's speed counts in the balanced pick; else 1, or 0 for a model with a floor.",
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, table: Any) -> Any:
        """Add the preset's values where the config has none."""
        search = table.get("search") if isinstance(table, dict) else None
        preset = search.get("preset") if isinstance(search, dict) else None
        added = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        if not all(isinstance(table.get(section, {}), dict) for section in added):
            return table  # what is no table is refused later
        return table | {section: {**values, **table.get(section, {})} for section, values in added.items()}

    @field_validator("models")
    @classmethod
    def _check_names(cls, models: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        for name in models:
            if not _MODEL_NAME.fullmatch(name) or name in _RESERVED_NAMES:
                raise ValueError(
                    f"{quoted(name)} cannot name a model; use at most 64 lower-case letters, digits and _, "
                    f"and none of {', '.join(sorted(_RESERVED_NAMES))}"
                )
        return models

    @model_validator(mode="after")
    def _check_whole(self) -> "StudyConfig":
        for name, model in self.models.items():
            if self.host.n_cpus is not None and (most := model.most_threads or 1) > self.host.n_cpus:
                raise ValueError(
                    f"models.{name}: n_threads = {most} is more than its container has, host.n_cpus = "
                    f"{self.host.n_cpus}; lower the one or raise the other"
                )
        for name in self.weights.keys() - self.models.keys():
            raise ValueError(f"weights.{name}: there is no such model; the models are {', '.join(self.models)}")
        self._check_devices()
        self.resolved_objectives()
        try:
            self.resolved_floors()
        except ValueError as error:
            raise ValueError(f"floors: {error}") from error
        self._check_quality()
        return self

    def _check_quality(self) -> None:
        """Refuse an objective or a floor of a quality that is not to be measured."""
        objectives = ("objectives", self.resolved_objectives())
        floors = ("floors", [floor.objective for floor in self.named_quality_floors()])
        for key, named in () if self.quality.measure else (objectives, floors):
            for objective in named:
                if objective.is_quality and objective.quantity != SCORE:
                    raise ValueError(
                        f"{key}: {objective.name} needs a measurement of quality, and quality.measure is false "
                        "(--no-quality); leave one of them out"
                    )

    def _check_devices(self) -> None:
        """Refuse one size or one split for several devices: how to divide it is for the user to say."""
        n_devices, n_sizes = max(self.resolved_device().n_devices, 1), len(self.budget.each_device())
        if n_sizes not in (0, n_devices):
            raise ValueError(
                f"budget.vram has a size for {_devices(n_sizes)}, and {self.device} is {_devices(n_devices)}; write "
                "one for each, joined like 4GiB+2GiB"
            )
        for name, model in self.models.items():
            written = model.space.tensor_split
            for split in () if written is None else dimension_values(written):
                if len(split) != n_devices or n_devices == 1:
                    remedy = "leave it out" if n_devices == 1 else "give each its part"
                    raise ValueError(
                        f"models.{name}: tensor_split = {format_tensor_split(split)} is for {_devices(len(split))}, "
                        f"and {self.device} is {_devices(n_devices)}; {remedy}"
                    )

    @property
    def paths(self) -> dict[str, Path]:
        """The model files by `variant`."""
        return {variant(name, file): path for name, model in self.models.items() for file, path in model.paths.items()}

    @property
    def n_processes(self) -> int:
        """How many server processes will be deployed."""
        return len(self.models) if self.deployment.processes is None else self.deployment.processes

    def resolved_device(self) -> DeviceChoice:
        return DeviceChoice.parse(self.device)

    def resolved_objectives(self) -> list[Objective]:
        """Return the objectives, the default ones where the config names none (DESIGN, decision 7): a model with a
        floor is fast enough there, so its speed is no objective then unless every model has one. A quality is an
        objective by default, too, which the search adds once it is known."""
        names = self.objectives
        if names is None:
            names = [f"{name}.tokens_per_s" for name in self._to_be_fast()]
            names += [
                f"{name}.n_ctx"
                for name, model in self.models.items()
                if len(set(dimension_values(model.space.n_ctx))) > 1
            ]
            names.append(VRAM_PEAK)
        return [Objective.named(name, list(self.models)) for name in names]

    def resolved_weights(self) -> dict[str, float]:
        """Return how much each model counts in the balanced pick; one that only has to reach its floor does not, unless
        it has a weight."""
        fast = self._to_be_fast()
        return {name: self.weights.get(name, 1.0 if name in fast else 0.0) for name in self.models}

    def _to_be_fast(self) -> list[str]:
        floored = {floor.objective.name for floor in self.resolved_floors()}
        return [name for name in self.models if f"{name}.tokens_per_s" not in floored] or list(self.models)

    def resolved_floors(self) -> list[Floor]:
        """Return the floors that trials must reach."""
        return [floor for floor in self._floors() if not floor.objective.is_quality]

    def named_quality_floors(self) -> list[Floor]:
        """Return the config's own floors of quality."""
        return [floor for floor in self._floors() if floor.objective.is_quality]

    def quality_floors(self) -> list[Floor]:
        """Return the floors that files and cache types must reach to be searched: the config's own, and the largest KL
        divergence of each model without a floor of it."""
        floors = self.named_quality_floors()
        named = {floor.objective.name for floor in floors}
        objectives = (Objective.named(f"{model}.{KL_DIVERGENCE}", list(self.models)) for model in self.models)
        default = self.quality.max_kl_divergence
        return [*floors, *(Floor(each, default) for each in objectives if each.name not in named)]

    def _floors(self) -> list[Floor]:
        return [Floor.parse(text, list(self.models)) for text in self.floors]


def _devices(n: int) -> str:
    return "one device" if n == 1 else f"{n} devices"
