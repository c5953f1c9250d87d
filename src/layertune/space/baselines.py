"""Settings that a search has to beat: what others would choose for the same models, contexts and budget.

They differ in n_gpu_layers only; everything else is the space's first value. A rule that chooses more layers than the
space has gets the most it has below them.
"""

from collections.abc import Mapping, Sequence

from layertune.memory import GPU, Planner
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import SearchSpace
from layertune.units import MIB

_FIT_TARGET_BYTES = 1024 * MIB  # llama.cpp, common/common.h: what --fit leaves free of a device, without --fit-target
_NEVER = 2**62
_OLLAMA_SHARE = 0.8  # ollama, server/sched.go: how much of the free memory a further model may be predicted to take


def baselines(space: SearchSpace, planner: Planner, capacity_bytes: int, device_bytes: int) -> list[Baseline]:
    """Return every rule's setting. `capacity_bytes` is what the study may use of a device of `device_bytes`."""
    rules = _Rules(space, planner)
    names = list(space.n_layers)
    found = [
        Baseline(
            f"fit-{first}-first" if len(names) > 1 else "fit",
            rules.one_after_the_other([first, *(name for name in names if name != first)], capacity_bytes, 0),
            "llama.cpp's --fit, one model after the other, each taking all that is left of the budget",
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
                "ollama: a further model joins only whole and within 80 % of what is free, else another is evicted",
            )
        )
    found.append(
        Baseline(
            "llama-server-defaults",
            rules.one_after_the_other(names, device_bytes, _FIT_TARGET_BYTES),
            "servers started one after the other with llama.cpp's defaults: --fit that leaves 1024 MiB free",
        )
    )
    return found


def corners(space: SearchSpace, planner: Planner, capacities: Sequence[int]) -> list[SplitSettings]:
    """Return the ends of what there is to trade: the smallest setting, that with the host's most threads where these
    are searched, then each model with as many layers as fit beside the others' smallest, over several devices by the
    first tensor_split that holds so many. `capacities` are what the study may use of each device."""
    smallest = space.smallest()
    most_threads = {each.name: max(each.values) for each in space.dimensions if each.field == "n_threads"}
    found = list(dict.fromkeys([smallest, space.settings(space.params(smallest) | most_threads)]))
    for dimension in space.dimensions:
        if dimension.field != "n_gpu_layers" or len(dimension.values) == 1:
            continue
        splits = space.over_devices(smallest, dimension.model)
        fitting = (
            settings
            for n_gpu_layers in sorted(dimension.values, reverse=True)
            for split in splits
            if planner.plan(settings := split.with_layers(dimension.model, n_gpu_layers)).fits(*capacities)
        )
        found.append(next(fitting, smallest))
    return found


def first_settings(
    space: SearchSpace, feasible: FeasibleSpace | None, capacities: Sequence[int], rules: Sequence[Baseline]
) -> list[SplitSettings]:
    """Return what is measured before anything is searched: the corners and the baselines, as far as they fit."""
    first = [space.smallest()]
    if feasible is not None and capacities:
        first = corners(space, feasible.planner, capacities)
    first += [each.settings for each in rules if each.settings is not None]
    return [each for each in first if feasible is None or not feasible.exceeded(each)]


class _Rules:
    """The rules' common ground: the space's first values, and what a model takes with so many layers."""

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
        """llama.cpp, common/fit.cpp: whole layers from the back, as many as fit; the least there is where none do."""
        for n_gpu_layers in reversed(self._layers[name]):
            if self._taken_bytes(name, n_gpu_layers) <= free_bytes:
                return n_gpu_layers
        return self._layers[name][0]

    def one_after_the_other(self, names: Sequence[str], free_bytes: int, target_bytes: int) -> SplitSettings:
        layers = {}
        for name in names:
            layers[name] = self.most_layers(name, free_bytes - target_bytes)
            free_bytes -= self._taken_bytes(name, layers[name])
        return self.settings(layers)

    def ollama(self, names: Sequence[str], free_bytes: int) -> SplitSettings | None:
        layers: dict[str, int] = {}
        for name in names:
            whole = self._layers[name][-1]
            if layers and self._taken_bytes(name, whole) > _OLLAMA_SHARE * free_bytes:
                return None
            layers[name] = whole if layers else self.most_layers(name, free_bytes)
            free_bytes -= self._taken_bytes(name, layers[name])
        return self.settings(layers)

    def _taken_bytes(self, name: str, n_gpu_layers: int) -> int:
        """Settings that llama.cpp refuses take more than any device has."""
        engine = self._base.with_layers(name, n_gpu_layers)[name]
        plan = self._planner.models[name].plan(engine)
        total_bytes = plan.devices[GPU].total_bytes
        return _NEVER if total_bytes is None else total_bytes + plan.log_error_bytes
