"""One model's times on the other device, from those on the study's own.

The model of time is that of the search (sampler/time_model.py): the weights that a token reads on the host, those that
it reads on the device, steps where the first layers leave the host, and what is left. Only the device's part changes:
at most the whole time with all layers there, less in proportion as fewer weights are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from layertune.memory import GPU, EngineMemory
from layertune.prediction.device_change import DeviceChange
from layertune.sampler.candidates import Rows
from layertune.sampler.posterior import ModelEngines, Speeds
from layertune.sampler.time_model import Times

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Offload:
    """Of every engine of a model, in the order of its rows: how much of the weights that the device can hold are
    there, from 0 to 1, and the row of the engine that is alike and has all of them there."""

    share: Floats
    whole: Rows


@dataclass(frozen=True, slots=True)
class Curve:
    """A model's speeds on the other device: as expected, and where the device's part takes the most and the least."""

    expected: Speeds
    slowest: Speeds
    fastest: Speeds


def offload_of(model: ModelEngines, memory: EngineMemory, n_layer: int) -> Offload | None:
    """Return None where the space never has the whole model on the device: its part of the time is not told apart."""
    engines = list(model.rows)
    whole = [model.rows.get(replace(each, n_gpu_layers=n_layer + 1, n_cpu_moe=0)) for each in engines]
    if None in whole:
        return None
    held = np.array([memory.plan(each).devices[GPU].weights_bytes for each in engines], dtype=float)
    rows = np.array(whole, dtype=np.intp)
    return Offload(held / held[rows], rows)


def unchanged(speeds: Speeds) -> Curve:
    return Curve(speeds, speeds, speeds)


def elsewhere(speeds: Speeds, offload: Offload, change: DeviceChange) -> Curve:
    """Return the speeds where the device takes another time for its part; what is not known stays as large a share."""

    def with_factors(prompt: float, token: float) -> Speeds:
        return replace(
            speeds,
            prompt=_changed(speeds.prompt, offload, prompt),
            token=_changed(speeds.token, offload, token),
        )

    return Curve(
        with_factors(change.prompt.expected, change.token.expected),
        with_factors(change.prompt.most, change.token.most),
        with_factors(change.prompt.least, change.token.least),
    )


def _changed(times: Times, offload: Offload, factor: float) -> Times:
    device_s = offload.share * times.mean_s[offload.whole]
    # Where a split is faster than its parts, all of its time is the device's at most.
    mean_s = np.maximum(times.mean_s + (factor - 1) * device_s, min(factor, 1.0) * times.mean_s)
    return Times(mean_s, times.std_s * mean_s / times.mean_s)
