"""A study of a machine whose times are exactly what the model of time says: a line, a step, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import small_shapes
from layertune.memory import GPU
from layertune.prediction import MeasuredStudy
from layertune.sampler.posterior import model_engines
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.trial.outcome import ModelSamples
from small_study import N_LAYERS, config

PLANNER = small_shapes.planner(**{name: small_shapes.shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()})
SPACE = SearchSpace.of(config(), N_LAYERS, n_threads=2)
OBJECTIVES = config().resolved_objectives()
WHOLE_BYTES = sum(
    int(PLANNER.models[name].plan(small_shapes.engine(99)).devices[GPU].total_bytes or 0) for name in N_LAYERS
)


@dataclass(frozen=True)
class Machine:
    """Seconds that a token takes where all weights are on the host, and where all that can be are on the device;
    `fixed_s` comes on top everywhere. A prompt takes ten times as long."""

    host_s: float = 0.10
    device_s: float = 0.02
    fixed_s: float = 0.01

    def token_s(self, name: str, engine: EngineSettings) -> float:
        share = on_device(name, engine)
        return self.fixed_s + self.host_s * (1 - share) + self.device_s * share

    def samples(self, name: str, engine: EngineSettings, noise: float = 1.0) -> ModelSamples:
        token_s = self.token_s(name, engine) * noise
        prompt_s = 10 * token_s
        speed = 16 / (prompt_s + 16 * token_s)
        return ModelSamples((64 / prompt_s,), (1 / token_s,), (prompt_s,), (speed,), (speed / 2,))


def on_device(name: str, engine: EngineSettings) -> float:
    """Return how much of what the device can hold of a model is there."""

    def held(each: EngineSettings) -> int:
        return PLANNER.models[name].plan(each).devices[GPU].weights_bytes

    return held(engine) / held(small_shapes.engine(99))


def split(chat: int, code: int) -> SplitSettings:
    settings = SPACE.settings({"chat.n_gpu_layers": chat, "code.n_gpu_layers": code})
    return SPACE.canonical(settings)


def feasible(share: float) -> FeasibleSpace:
    """Return what fits a device that holds a share of both models."""
    limits = Limits((round(WHOLE_BYTES * share),), 0, None, n_processes=2, file_bytes=dict.fromkeys(N_LAYERS, 1))
    return FeasibleSpace(SPACE, PLANNER, limits)


def study(
    machine: Machine,
    splits: Sequence[tuple[int, int]],
    *,
    share: float = 0.6,
    noise: Mapping[int, float] | None = None,
    session: float = 0.0,
) -> MeasuredStudy:
    """Return a study that measured these splits; `noise` is a factor of the times of some trials, by number."""
    fitting = feasible(share)
    workloads = {name: model.workload for name, model in config().models.items()}
    factors = [(noise or {}).get(number, 1.0) for number in range(len(splits))]
    trials = [
        (settings, {name: machine.samples(name, engine, factor) for name, engine in settings.items()})
        for settings, factor in zip((split(*each) for each in splits), factors, strict=True)
    ]
    return MeasuredStudy(
        models=model_engines(SPACE, fitting, workloads),
        n_layers=N_LAYERS,
        planner=PLANNER,
        objectives=OBJECTIVES,
        trials=trials,
        session=session,
    )
