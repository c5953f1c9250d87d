"""Changes of speed for steps that no trial measured, by the search's model of speed fitted to the result."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from layertune.config.model_config import Workload
from layertune.explain.changes import recorded_plans
from layertune.explain.line import Change
from layertune.explain.steps import changed_settings
from layertune.memory import GPU, HOST, ModelPlan, PlannedBytes
from layertune.results.result import Result
from layertune.sampler.observations import observations
from layertune.sampler.posterior import ModelEngines
from layertune.settings import EngineSettings, Placement

# With fewer settings the posterior is nearly the prior (sampler/time_model.py).
_LEAST_ENGINES = 3
_Z = NormalDist().inv_cdf(0.975)


class RecordedWeights:
    """Bytes of a model's weights on the device by its settings, as input of the model of speed; never shown.

    They are the recorded bytes of a planned trial, or lie on a line through the two nearest ones. With fewer than two
    recorded splits, the number of layers is used for all settings, since bytes and layers cannot be mixed.
    """

    def __init__(self, result: Result, model: str) -> None:
        self._held: dict[Placement, dict[int, int]] = {}  # bytes by what is kept, then by n_gpu_layers
        for engine, devices in recorded_plans(result, model).items():
            n_bytes = sum(held.weights_bytes for device, held in devices.items() if device != HOST)
            self._held.setdefault(_kept(engine), {})[engine.n_gpu_layers] = n_bytes
        self._is_counted = not self._held or min(map(len, self._held.values())) < 2

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return a plan of the weights on the device alone."""
        return ModelPlan({GPU: PlannedBytes(round(self._on_device(settings)), None, None)}, None, None)

    def _on_device(self, settings: EngineSettings) -> float:
        if self._is_counted or _kept(settings) not in self._held:
            return settings.n_gpu_layers
        known = sorted(self._held[_kept(settings)].items())
        layers = [at for at, _ in known]
        after = min(max(int(np.searchsorted(layers, settings.n_gpu_layers)), 1), len(known) - 1)
        (low, below), (high, above) = known[after - 1], known[after]
        return max(0.0, below + (above - below) * (settings.n_gpu_layers - low) / (high - low))


def _kept(engine: EngineSettings) -> Placement:
    return engine.placement._replace(n_gpu_layers=0, tensor_split=())


class ModelledSpeeds:
    """Posterior of one model's tokens/s alone, at its measured settings and at those `wanted`."""

    def __init__(self, result: Result, model: str, wanted: Sequence[EngineSettings]) -> None:
        found = observations(result, model)
        self._seen = list(dict.fromkeys(engine for engine, _ in found))
        self._places = {engine: place for place, engine in enumerate(dict.fromkeys(wanted))}
        if len(self._seen) >= _LEAST_ENGINES:
            load = result.workload[model]
            every = [*self._seen, *self._places]
            engines = ModelEngines(
                every,
                partial(result.canonical, model),
                np.zeros((len(every), 1), dtype=np.int64),  # whether a setting fits does not affect its speed
                RecordedWeights(result, model),
                Workload(n_prompt=load.n_prompt, n_generate=load.n_generate),
            )
            measured = [(engines.rows[engine], samples) for engine, samples in found]
            self._rates, self._covariance = engines.rates(measured, [engines.rows[each] for each in self._places])

    def missing(self, before: EngineSettings, after: EngineSettings) -> str | None:
        """Return why the model cannot predict a step, None if it can."""
        if len(self._seen) < _LEAST_ENGINES:
            return f"too few settings measured to model its speed: {len(self._seen)}"
        changed = set(changed_settings(before, after))
        if not any(_unlike(one, other, changed) for one, other in combinations(self._seen, 2)):
            return f"no two trials differ in {' and '.join(sorted(changed))} alone"
        return None

    def change(self, before: EngineSettings, after: EngineSettings) -> Change:
        """Return the difference of two expected speeds, with the interval of its posterior standard deviation."""
        one, other = self._places[before], self._places[after]
        rates, covariance = self._rates, self._covariance
        difference = float(rates[other] - rates[one])
        variance = float(covariance[one, one] + covariance[other, other] - 2 * covariance[one, other])
        half = _Z * sqrt(max(0.0, variance))
        return Change(difference, difference - half, difference + half, float(rates[one]), "modelled")


def _unlike(one: EngineSettings, other: EngineSettings, changed: set[str]) -> bool:
    """Return whether two engines differ in all settings of `changed`, and otherwise at most in layers."""
    if any(getattr(one, knob) == getattr(other, knob) for knob in changed):
        return False
    free: dict[str, Any] = {knob: getattr(other, knob) for knob in changed | {"n_gpu_layers"}}
    return replace(one, **free) == other
