"""The engines of a study's space, placed by the weights that a token reads on the host."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from layertune.config import Workload
from layertune.memory import GPU, HOST, EngineMemory, ModelPlan
from layertune.search.feasible import FeasibleSpace
from layertune.search.space import SearchSpace
from layertune.search.speeds import ModelEngines
from layertune.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class ReadWeights:
    """One model's plans, its host's weights being those that the device holds in the engine that has most there and
    does not hold here.

    What the host's buffers take is more, and no line: an input embedding of which a token reads a row, a mapped file
    from the first tensor to the last, copies that were repacked.
    """

    memory: EngineMemory
    most_bytes: int

    def plan(self, settings: EngineSettings) -> ModelPlan:
        plan = self.memory.plan(settings)
        left_bytes = self.most_bytes - plan.devices[GPU].weights_bytes
        return replace(plan, devices={**plan.devices, HOST: replace(plan.devices[HOST], weights_bytes=left_bytes)})


def model_engines(
    space: SearchSpace, feasible: FeasibleSpace, workloads: Mapping[str, Workload]
) -> dict[str, ModelEngines]:
    """Return every model's engines, of which a device without weights on it would tell nothing apart."""
    found = {}
    for name, n_layer in space.n_layers.items():
        engines, memory = list(space.engines(name)), feasible.planner.models[name]
        # At least one byte: a space without any layer on the device has one share, whatever it is called.
        most_bytes = max(1, *(memory.plan(each).devices[GPU].weights_bytes for each in engines))
        found[name] = ModelEngines(
            engines, n_layer, feasible.engine_bytes(name), ReadWeights(memory, most_bytes), workloads[name]
        )
    return found
