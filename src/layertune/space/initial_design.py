"""The initial design: the settings that are measured before the sampler chooses."""

from collections.abc import Sequence

from layertune.memory import Planner
from layertune.results.summary import Baseline
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.least import LeastSettings
from layertune.space.search_space import THREAD_FIELDS, SearchSpace


def initial_design(
    space: SearchSpace,
    feasible: FeasibleSpace | None,
    capacities: Sequence[int],
    best: Sequence[SplitSettings],
    baselines: Sequence[Baseline],
) -> list[SplitSettings]:
    """Return the setting that needs the least memory, those that are expected to be best, and baselines, if they fit.

    Of models with several files, the extreme settings follow, since each file has a curve of its own.

    Args:
        space: the settings of the study.
        feasible: which of them fit.
        capacities: the usable bytes of each device; empty without a device.
        best: the settings that are expected to be best for each objective.
        baselines: settings that are measured in any case.
    """
    smallest = LeastSettings(space, feasible).left([])
    wanted = [*([] if smallest is None else [smallest]), *best]
    has_files = any(len(space.files(name)) > 1 for name in space.models)
    if feasible is not None and capacities and (has_files or not best):
        wanted += extreme_settings(space, feasible.planner, capacities)
    wanted += [each.settings for each in baselines if each.settings is not None]
    return [each for each in dict.fromkeys(wanted) if feasible is None or not feasible.exceeded(each)]


def extreme_settings(space: SearchSpace, planner: Planner, capacities: Sequence[int]) -> list[SplitSettings]:
    """Return the ends of each trade-off.

    These are, in this order: the smallest setting; the same with the most threads, where threads are searched; and for
    each place in the lists of files, and each model, as many layers of its file there on the device as fit next to the
    other models' files of that place, which have the fewest layers. So each of these trials measures one file of every
    model, and together they measure both ends of each file's curve. On several devices the layers are split by the
    first tensor_split that holds so many.
    """
    smallest = space.smallest()
    most_threads = {each.name: max(each.values) for each in space.searched if each.field in THREAD_FIELDS}
    found = [smallest, space.settings(space.params(smallest) | most_threads)]
    layers = [each for each in space.dimensions if each.field == "n_gpu_layers"]
    for place in range(max(len(space.files(name)) for name in space.models)):
        fewest = smallest
        for name in space.models:
            files = space.files(name)
            fewest = space.with_file(fewest, name, files[place % len(files)])
        for dimension in layers:
            if place >= len(space.files(dimension.model)):
                continue
            splits = space.over_devices(fewest, dimension.model)
            fitting = (
                settings
                for n_gpu_layers in sorted(dimension.values, reverse=True)
                for split in splits
                if planner.plan(settings := split.with_layers(dimension.model, n_gpu_layers)).fits(*capacities)
            )
            found.append(next(fitting, smallest))
    return list(dict.fromkeys(found))
