"""Weights on the device as input of the model of speed; never shown as bytes."""

import numpy as np

from layertune.explain.changes import recorded_plans
from layertune.memory import GPU, HOST, ModelPlan, PlannedBytes
from layertune.results.result import Result
from layertune.settings import EngineSettings


class RecordedWeights:
    """Bytes of a model's weights on the device, by its settings.

    They are the recorded bytes of a planned trial, or lie on a line through the two nearest ones. With fewer than two
    recorded splits, the number of layers is used for all settings, since bytes and layers cannot be mixed.
    """

    def __init__(self, result: Result, model: str) -> None:
        self._held: dict[int, dict[int, int]] = {}  # bytes by n_cpu_moe, then by n_gpu_layers
        for engine, devices in recorded_plans(result, model).items():
            n_bytes = sum(held.weights_bytes for device, held in devices.items() if device != HOST)
            self._held.setdefault(engine.n_cpu_moe, {})[engine.n_gpu_layers] = n_bytes
        self._is_counted = not self._held or min(map(len, self._held.values())) < 2

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return a plan of the weights on the device alone."""
        return ModelPlan({GPU: PlannedBytes(round(self._on_device(settings)), None, None)}, None, None)

    def _on_device(self, settings: EngineSettings) -> float:
        if self._is_counted or settings.n_cpu_moe not in self._held:
            return settings.n_gpu_layers
        known = sorted(self._held[settings.n_cpu_moe].items())
        layers = [at for at, _ in known]
        after = min(max(int(np.searchsorted(layers, settings.n_gpu_layers)), 1), len(known) - 1)
        (low, below), (high, above) = known[after - 1], known[after]
        return max(0.0, below + (above - below) * (settings.n_gpu_layers - low) / (high - low))
