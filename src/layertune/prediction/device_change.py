"""One model's times on another device, computed from its times on the study's device.

The model of time is the search's (sampler/time_model.py). A token's time has four parts: the weights that it reads on
the host, those that it reads on the device, steps where the first layers leave the host, and the rest. Only the
device's part changes. It is at most the whole time with all layers there, and shrinks in proportion to the weights on
the device.

How much longer another device takes for its part is not known exactly. `Factor` has its bounds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from layertune.memory import GPU, EngineMemory
from layertune.sampler.candidates import Rows
from layertune.sampler.posterior import ModelEngines
from layertune.sampler.speeds import Speeds
from layertune.sampler.time_model import Times

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Factor:
    """How many times as long the other device takes, at least and at most; the middle is expected."""

    least: float
    most: float

    @classmethod
    def between(cls, one: float, other: float) -> "Factor":
        return cls(min(one, other), max(one, other))

    @property
    def expected(self) -> float:
        return (self.least + self.most) / 2


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """The factors of the prompt's time and of each generated token's time."""

    prompt: Factor
    token: Factor


def between_cards(ratio: float, token_share: float) -> DeviceChange:
    """Return the change between two cards of known memory bandwidth.

    A prompt is bound by arithmetic, which the bandwidth does not determine. Its time is between the study's own and one
    that scales with bandwidth.

    Args:
        ratio: the bandwidth of the study's card divided by the other's.
        token_share: the least share of a token's device time that scales with bandwidth. A token reads every weight
            once, which takes bytes / bandwidth. Whether the rest scales is unknown (kernel launches do not).
    """
    return DeviceChange(Factor.between(1.0, ratio), Factor.between(1 + (ratio - 1) * min(token_share, 1.0), ratio))


def between_threads(thread_ratio: float) -> DeviceChange:
    """Return the change between emulated cards with different numbers of threads of the same processor.

    `thread_ratio` is the study's number divided by the other's. The share of the work that runs in parallel is unknown.
    It may be all, or none if memory bandwidth is the limit or threads wait for each other (Amdahl, Validity of the
    single processor approach, AFIPS 1967).
    """
    factor = Factor.between(1.0, thread_ratio)
    return DeviceChange(factor, factor)


@dataclass(frozen=True, slots=True)
class Offload:
    """How much of a model is on the device, for each of its engines in the order of the rows.

    `share` is from 0 to 1, of the weights that the device can hold. `whole` is the row of the same engine with all of
    them there.
    """

    share: Floats
    whole: Rows


@dataclass(frozen=True, slots=True)
class ScaledSpeeds:
    """A model's speeds on another device: expected, and with the longest and the shortest time of the device's part."""

    expected: Speeds
    slowest: Speeds
    fastest: Speeds


def offload_of(model: ModelEngines, memory: EngineMemory, n_layer: int) -> Offload | None:
    """Return None if the space never has the whole model on the device, so that its part of the time is unknown."""
    engines = list(model.rows)
    whole = [
        model.rows.get(replace(each, n_gpu_layers=n_layer + 1, n_cpu_moe=0, n_cpu_ffn=0, tensor_overrides=()))
        for each in engines
    ]
    if None in whole:
        return None
    weights_bytes = np.array([memory.plan(each).devices[GPU].weights_bytes for each in engines], dtype=float)
    rows = np.array(whole, dtype=np.intp)
    return Offload(weights_bytes / weights_bytes[rows], rows)


def unchanged(speeds: Speeds) -> ScaledSpeeds:
    return ScaledSpeeds(speeds, speeds, speeds)


def scaled(speeds: Speeds, offload: Offload, change: DeviceChange) -> ScaledSpeeds:
    """Return the speeds if the device's part takes another time. The relative uncertainty stays the same."""

    def with_factors(prompt: float, token: float) -> Speeds:
        return replace(
            speeds,
            prompt=_changed(speeds.prompt, offload, prompt),
            token=_changed(speeds.token, offload, token),
        )

    return ScaledSpeeds(
        with_factors(change.prompt.expected, change.token.expected),
        with_factors(change.prompt.most, change.token.most),
        with_factors(change.prompt.least, change.token.least),
    )


def _changed(times: Times, offload: Offload, factor: float) -> Times:
    device_s = offload.share * times.mean_s[offload.whole]
    # A split may be faster than the sum of its parts: its device part is at most its whole time.
    mean_s = np.maximum(times.mean_s + (factor - 1) * device_s, min(factor, 1.0) * times.mean_s)
    return Times(mean_s, times.std_s * mean_s / times.mean_s)
