"""Baselines: the settings that other tools would choose for the same models, contexts and budget.

They differ in n_gpu_layers only. Every other setting has the space's first value, and every model its first file. Where
that file does not fit whole, --fit is also tried with the file of each model that takes the least memory. If a rule
chooses a number of layers that the space does not have, the next smaller number of the space is used.
"""

from collections.abc import Mapping, Sequence

from layertune.memory import GPU, Planner
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.search_space import SearchSpace
from layertune.units import MIB

_FIT_TARGET_BYTES = 1024 * MIB  # llama.cpp, common/common.h: --fit leaves this free without --fit-target
_FIT = "llama.cpp's --fit, one model after the other, each with all of the remaining budget"
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
    rules = _Rules(space, planner, space.settings({}))
    smallest = rules.with_smallest_files()
    names = list(space.models)
    found, with_smallest = list[Baseline](), list[Baseline]()
    for first in names:
        name = f"fit-{first}-first" if len(names) > 1 else "fit"
        order = [first, *(other for other in names if other != first)]
        settings = rules.in_order(order, capacity_bytes, 0)
        found.append(Baseline(name, settings, _FIT))
        if smallest is not None and settings != rules.whole():
            again = smallest.in_order(order, capacity_bytes, 0)
            with_smallest.append(Baseline(f"{name}-smallest", again, f"{_FIT}; of each model the smallest file"))
    found += with_smallest
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
    """Chooses layers for settings that otherwise stay as they are in `base`."""

    def __init__(self, space: SearchSpace, planner: Planner, base: SplitSettings) -> None:
        self._space = space
        self._planner = planner
        self._base = base
        self._layers: Mapping[str, Sequence[int]] = {
            each.model: sorted(each.values) for each in space.dimensions if each.field == "n_gpu_layers"
        }

    def with_smallest_files(self) -> "_Rules | None":
        """Return the rules with the file of each model that takes the least when whole; None if these are the same."""
        base = self._base
        for name in self._space.models:
            each = [self._space.with_file(self._base, name, file) for file in self._space.files(name)]
            sizes = [_Rules(self._space, self._planner, one)._taken_bytes(name, self._most(name)) for one in each]
            base = self._space.with_file(base, name, self._space.files(name)[sizes.index(min(sizes))])
        return None if base == self._base else _Rules(self._space, self._planner, base)

    def whole(self) -> SplitSettings:
        """Return all layers of every model on the device."""
        return self.settings({name: self._most(name) for name in self._space.models})

    def _most(self, name: str) -> int:
        return self._layers[name][-1]

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
            whole = self._most(name)
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
