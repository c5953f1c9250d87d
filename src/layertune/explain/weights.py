"""How much of a model's weights is on the host, as the model of its speed needs it. Never shown as bytes."""

import numpy as np

from layertune.explain.changes import recorded_plans
from layertune.memory import GPU, HOST, ModelPlan, PlannedBytes
from layertune.results.result import Result
from layertune.settings import EngineSettings

_WHOLE = 1_000_000


class RecordedWeights:
    """Recorded where a trial was planned; on a line through the nearest two elsewhere; by the count of layers where
    fewer than two splits were."""

    def __init__(self, result: Result, model: str) -> None:
        self._n_layer = result.models[model].n_layer
        self._shares: dict[int, dict[int, float]] = {}  # by n_cpu_moe, then by n_gpu_layers
        for engine, held in recorded_plans(result, model).items():
            whole = sum(each.weights_bytes for each in held.values())
            on_host = held[HOST].weights_bytes if HOST in held else 0
            if whole > 0:
                self._shares.setdefault(engine.n_cpu_moe, {})[engine.n_gpu_layers] = on_host / whole

    def plan(self, settings: EngineSettings) -> ModelPlan:
        """Return a plan of the weights alone, in millionths of them."""
        on_host = round(_WHOLE * self._on_host(settings))
        devices = {HOST: PlannedBytes(on_host, None, None), GPU: PlannedBytes(_WHOLE - on_host, None, None)}
        return ModelPlan(devices, None, None)

    def _on_host(self, settings: EngineSettings) -> float:
        known = sorted(self._shares.get(settings.n_cpu_moe, {}).items())
        if len(known) < 2:
            return 1 - settings.n_gpu_layers / (self._n_layer + 1)
        layers = [at for at, _ in known]
        after = min(max(int(np.searchsorted(layers, settings.n_gpu_layers)), 1), len(known) - 1)
        (low, on_low), (high, on_high) = known[after - 1], known[after]
        share = on_low + (on_high - on_low) * (settings.n_gpu_layers - low) / (high - low)
        return min(max(share, 0.0), 1.0)
