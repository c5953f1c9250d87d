"""The initial design: the settings that are measured before the sampler chooses."""

from collections.abc import Sequence

from layertune.memory import Planner
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.least import LeastSettings
from layertune.space.search_space import SearchSpace


def initial_design(
    space: SearchSpace, feasible: FeasibleSpace | None, capacities: Sequence[int], baselines: Sequence[Baseline]
) -> list[SplitSettings]:
    """Return the setting that needs the least memory, the extreme settings and the baselines, as far as they fit.

    Args:
        space: the settings of the study.
        feasible: which of them fit; without it, of the extremes only the smallest setting is returned.
        capacities: the usable bytes of each device; empty without a device.
        baselines: the settings that the search is compared with.
    """
    smallest = LeastSettings(space, feasible).left([])
    wanted = [] if smallest is None else [smallest]
    if feasible is not None and capacities:
        wanted += extreme_settings(space, feasible.planner, capacities)
    wanted += [each.settings for each in baselines if each.settings is not None]
    return [each for each in wanted if feasible is None or not feasible.exceeded(each)]


def extreme_settings(space: SearchSpace, planner: Planner, capacities: Sequence[int]) -> list[SplitSettings]:
    """Return the ends of each trade-off.

    These are, in this order: the smallest setting; the same with the most threads, where threads are searched; and for
    each model and each of its files, as many of its layers on the device as fit next to the other models' smallest
    settings. On several devices that is by the first tensor_split that holds so many layers.
    """
    smallest = space.smallest()
    most_threads = {each.name: max(each.values) for each in space.dimensions if each.field == "n_threads"}
    found = list(dict.fromkeys([smallest, space.settings(space.params(smallest) | most_threads)]))
    for dimension in space.dimensions:
        if dimension.field != "n_gpu_layers":
            continue
        files = space.files(dimension.model)
        for file in files if len(dimension.values) > 1 else files[1:]:
            splits = space.over_devices(space.with_file(smallest, dimension.model, file), dimension.model)
            fitting = (
                settings
                for n_gpu_layers in sorted(dimension.values, reverse=True)
                for split in splits
                if planner.plan(settings := split.with_layers(dimension.model, n_gpu_layers)).fits(*capacities)
            )
            found.append(next(fitting, smallest))
    return found
