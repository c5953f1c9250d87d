"""What the search's model of speed, fitted to one result, says of steps that no trial has measured."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from layertune.config.study_config import Workload
from layertune.explain.line import Change
from layertune.explain.recorded_weights import RecordedWeights
from layertune.explain.steps import KNOBS, value
from layertune.results.result import Result
from layertune.sampler.observations import observations
from layertune.sampler.posterior import ModelEngines
from layertune.settings import EngineSettings

# Fewer engines leave the model what it believed before (sampler/time_model.py).
_LEAST_ENGINES = 3
_Z = NormalDist().inv_cdf(0.975)


class ModelledSpeeds:
    """One model's tokens/s alone: the posterior over the engines that were measured and those that are `wanted`."""

    def __init__(self, result: Result, model: str, wanted: Sequence[EngineSettings]) -> None:
        found = observations(result, model)
        self._seen = list(dict.fromkeys(engine for engine, _ in found))
        self._places = {engine: place for place, engine in enumerate(dict.fromkeys(wanted))}
        if len(self._seen) >= _LEAST_ENGINES:
            load = result.workload[model]
            every = [*self._seen, *self._places]
            engines = ModelEngines(
                every,
                result.models[model].n_layer,
                np.zeros((len(every), 1), dtype=np.int64),  # whether it fits is no matter of its speed
                RecordedWeights(result, model),
                Workload(n_prompt=load.n_prompt, n_generate=load.n_generate),
            )
            measured = [(engines.rows[engine], samples) for engine, samples in found]
            self._rates, self._covariance = engines.rates(measured, [engines.rows[each] for each in self._places])

    def missing(self, before: EngineSettings, after: EngineSettings) -> str | None:
        """Return why the model can say nothing of a step, None where it can."""
        if len(self._seen) < _LEAST_ENGINES:
            return f"too few settings measured to model its speed: {len(self._seen)}"
        changed = {knob for knob in KNOBS if value(before, knob) != value(after, knob)}
        if not any(_unlike(one, other, changed) for one, other in combinations(self._seen, 2)):
            return f"no two trials differ in {' and '.join(sorted(changed))} alone"
        return None

    def change(self, before: EngineSettings, after: EngineSettings) -> Change:
        """Return the difference of two expectations; the interval is of what the model does not know of it."""
        one, other = self._places[before], self._places[after]
        rates, covariance = self._rates, self._covariance
        difference = float(rates[other] - rates[one])
        variance = float(covariance[one, one] + covariance[other, other] - 2 * covariance[one, other])
        half = _Z * sqrt(max(0.0, variance))
        return Change(difference, difference - half, difference + half, float(rates[one]), "modelled")


def _unlike(one: EngineSettings, other: EngineSettings, changed: set[str]) -> bool:
    """Say whether two engines tell of the settings `changed`: they differ in all of them and, whatever their layers,
    in no other one."""
    if any(value(one, knob) == value(other, knob) for knob in changed):
        return False
    free: dict[str, Any] = {knob: value(other, knob) for knob in changed | {"n_gpu_layers"}}
    return replace(one, **free) == other
