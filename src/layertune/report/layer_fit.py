"""A straight line through what a request takes, over the layers on the device.

Each layer on the device takes a fixed time off a request, if all repeating layers are alike and nothing else changes:
so the time of the workload, n_generate / tokens_per_s, is near a line in n_gpu_layers, and tokens/s is one over it.
Least squares on the time, every trial once, whatever its other settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Below this, a line through the points says nothing that the points do not.
LEAST_LAYERS = 4


@dataclass(frozen=True, slots=True)
class LayerFit:
    """Seconds a request: `base_s + layer_s * n_gpu_layers`. `explained` is R² of the times, `n` the trials."""

    base_s: float
    layer_s: float
    explained: float
    n: int
    n_generate: int

    def tokens_per_s(self, n_gpu_layers: float) -> float:
        return self.n_generate / (self.base_s + self.layer_s * n_gpu_layers)


def fit_layers(points: Sequence[tuple[int, float]], n_generate: int) -> LayerFit | None:
    """Fit (n_gpu_layers, tokens/s) points; None with fewer than four different layer counts, or where the line falls to
    no time at all within them."""
    layers = np.array([at for at, _ in points], dtype=np.float64)
    if len(set(layers.tolist())) < LEAST_LAYERS:
        return None
    times = n_generate / np.array([speed for _, speed in points], dtype=np.float64)
    slope, base = np.polyfit(layers, times, 1)
    if min(base + slope * layers) <= 0:
        return None
    spread = float(((times - times.mean()) ** 2).sum())
    left = float(((times - (base + slope * layers)) ** 2).sum())
    explained = 1 - left / spread if spread > 0 else 1.0
    return LayerFit(float(base), float(slope), explained, len(points), n_generate)
