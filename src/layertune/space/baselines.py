"""Baselines: the settings that other tools would choose for the same models, contexts and budget.

They differ in n_gpu_layers only. Every other setting has the space's first value, and every model its first file. If a
rule chooses a number of layers that the space does not have, the next smaller number of the space is used.
"""

from collections.abc import Mapping, Sequence

from layertune.memory import GPU, Planner
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.search_space import SearchSpace
from layertune.units import MIB

_FIT_TARGET_BYTES = 1024 * MIB  # llama.cpp, common/common.h: --fit leaves this free without --fit-target
_NEVER = 2**62
_OLLAMA_SHARE = 0.8  # ollama, server/sched.go: the share of free memory that another model may take


def baselines(space: SearchSpace, planner: Planner, capacity_bytes: int, device_bytes: int) -> list[Baseline]:
    """Return the setting of every rule.

    Args:
        space: the settings of the study.
        planner: computes the memory of a setting.
        capacity_bytes: the usable bytes of the device.
        device_bytes: the memory of the whole device.
    """
    rules = _Rules(space, planner)
    names = list(space.models)
    found = [
        Baseline(
            f"fit-{first}-first" if len(names) > 1 else "fit",
            rules.in_order([first, *(name for name in names if name != first)], capacity_bytes, 0),
            "llama.cpp's --fit, one model after the other, each with all of the remaining budget",
        )
        for first in names
    ]
    if len(names) > 1:
        found.append(
            Baseline(
                "fit-alone",
                rules.settings({name: rules.most_layers(name, capacity_bytes) for name in names}),
                "llama.cpp's --fit, each model as if it had the budget to itself",
            )
        )
        found.append(
            Baseline(
                "ollama",
                rules.ollama(names, capacity_bytes),
                "ollama: another model is loaded only whole and within 80 % of free memory, else a model is evicted",
            )
        )
    found.append(
        Baseline(
            "llama-server-defaults",
            rules.in_order(names, device_bytes, _FIT_TARGET_BYTES),
            "servers started one after the other with llama.cpp's defaults: --fit leaves 1024 MiB free",
        )
    )
    return found


class _Rules:
    """Chooses layers for settings that otherwise have the space's first values."""

    def __init__(self, space: SearchSpace, planner: Planner) -> None:
        self._planner = planner
        self._base = space.settings({})
        self._layers: Mapping[str, Sequence[int]] = {
            each.model: sorted(each.values) for each in space.dimensions if each.field == "n_gpu_layers"
        }

    def settings(self, layers: Mapping[str, int]) -> SplitSettings:
        settings = self._base
        for name, n_gpu_layers in layers.items():
            settings = settings.with_layers(name, n_gpu_layers)
        return settings

    def most_layers(self, name: str, free_bytes: int) -> int:
        """Return as many layers as fit (llama.cpp, common/fit.cpp); the space's smallest number if none fit."""
        for n_gpu_layers in reversed(self._layers[name]):
            if self._taken_bytes(name, n_gpu_layers) <= free_bytes:
                return n_gpu_layers
        return self._layers[name][0]

    def in_order(self, names: Sequence[str], free_bytes: int, target_bytes: int) -> SplitSettings:
        """Give each model in turn as many layers as fit, with `target_bytes` left free."""
        layers = {}
        for name in names:
            layers[name] = self.most_layers(name, free_bytes - target_bytes)
            free_bytes -= self._taken_bytes(name, layers[name])
        return self.settings(layers)

    def ollama(self, names: Sequence[str], free_bytes: int) -> SplitSettings | None:
        """Return what ollama would load; None if it would evict a model."""
        layers: dict[str, int] = {}
        for name in names:
            whole = self._layers[name][-1]
            if layers and self._taken_bytes(name, whole) > _OLLAMA_SHARE * free_bytes:
                return None
            layers[name] = whole if layers else self.most_layers(name, free_bytes)
            free_bytes -= self._taken_bytes(name, layers[name])
        return self.settings(layers)

    def _taken_bytes(self, name: str, n_gpu_layers: int) -> int:
        """Return the planned bytes of one model; more than any device has if llama.cpp refuses the settings."""
        engine = self._base.with_layers(name, n_gpu_layers)[name]
        plan = self._planner.models[name].plan(engine)
        total_bytes = plan.devices[GPU].total_bytes
        return _NEVER if total_bytes is None else total_bytes + plan.log_error_bytes
