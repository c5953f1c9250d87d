"""Which qualities are objectives of a study, and which files and cache types reach its floors of quality."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from layertune.config import Floor, Objective, StudyConfig
from layertune.config.objective import BITS_PER_BYTE, KL_DIVERGENCE, SCORE
from layertune.errors import ConfigError, listed
from layertune.results.qualities import objective_qualities
from layertune.results.study_info import QualityInfo
from layertune.settings import CACHE_TYPES, CacheType

# By model, what each of its files and pairs of cache types costs.
Qualities = Mapping[str, Sequence[QualityInfo]]

# The settings that quality depends on.
_CHOICES = ("file", "type_k", "type_v")
_PAIRED_CHOICES = ("file", CACHE_TYPES)


def objectives_of(config: StudyConfig, qualities: Qualities) -> list[Objective]:
    """Return the objectives, with the values of those of quality.

    Where the config names none, each model whose quality varies has one: the user's scores, else the KL divergence, and
    between different models the bits per byte. Scores do not know what cache types cost. In a space that is `auto`, the
    cache types of one file are none: the floors decide about them.

    Raises:
        ConfigError: the config names a quality that is not known for every file and cache type.
    """
    objectives = config.resolved_objectives()
    if config.objectives is None:
        added = (_default(config, name, measured) for name, measured in qualities.items())
        objectives[-1:-1] = [each for each in added if each is not None]  # peak VRAM stays the last one
    return [_with_values(config, each, qualities) if each.is_quality else each for each in objectives]


def _default(config: StudyConfig, name: str, measured: Sequence[QualityInfo]) -> Objective | None:
    model = config.models[name]
    if model.space.auto and len(model.paths) == 1:
        return None  # cache types that reach the floors count as equally good
    n_choices, n_types = len(model.paths) * len(model.cache_types), len(model.cache_types)
    wanted = (SCORE,) if model.quality and n_types == 1 else (KL_DIVERGENCE, BITS_PER_BYTE)
    for quantity in wanted if n_choices > 1 else ():
        objective = Objective.named(f"{name}.{quantity}", list(config.models))
        if len(_values(config, objective, measured)) == n_choices:
            return objective
    return None


def _with_values(config: StudyConfig, objective: Objective, qualities: Qualities) -> Objective:
    """Return an objective with its values."""
    name, measured = objective.subject, qualities.get(objective.subject, ())
    values, model = _values(config, objective, measured), config.models[objective.subject]
    for key, path in model.paths.items():
        for types in model.cache_types:
            if (key, *types) not in values:
                why = _why_unknown(measured, path.name, types)
                raise ConfigError(
                    f"objectives: {objective.name} is not known for {path.name}: {why}",
                    remedy=f"leave out the objective, or the file with models.{name}.space.file",
                )
    return objective.with_qualities(values)


def _values(
    config: StudyConfig, objective: Objective, measured: Sequence[QualityInfo]
) -> dict[tuple[str, str, str], float]:
    model = config.models[objective.subject]
    there = {(key, *types) for key in model.paths for types in model.cache_types}
    values = objective_qualities(objective, measured, {key: path.name for key, path in model.paths.items()})
    return {choice: value for choice, value in values.items() if choice in there}


def _why_unknown(measured: Sequence[QualityInfo], file: str, types: tuple[CacheType, CacheType]) -> str:
    reasons = (each.unknown or each.not_comparable for each in measured if _choice(each) == (file, *types))
    return next((reason for reason in reasons if reason is not None), "nothing was measured")


def _choice(quality: QualityInfo) -> tuple[str, str, str]:
    return quality.file, quality.type_k, quality.type_v


def without_worse(config: StudyConfig, qualities: Qualities, notify: Callable[[str], None]) -> StudyConfig:
    """Return the config without the files and cache types that miss a floor of quality, alone or together.

    Of a file and a cache type that miss it only together, the one is left out that more often does.
    """
    models = dict(config.models)
    for name, measured in qualities.items():
        floors = [floor for floor in config.quality_floors() if floor.objective.subject == name]
        choices = _CHOICES if models[name].space.cache_types is None else _PAIRED_CHOICES
        there = {choice: list(dict.fromkeys(getattr(each, choice) for each in measured)) for choice in choices}
        kept = _within(measured, there, floors)
        changes = {choice: values for choice, values in kept.items() if len(values) < len(there[choice])}
        worse = [value for choice in changes for value in there[choice] if value not in kept[choice]]
        words = " and ".join(str(floor) for floor in floors if _missing(measured, [floor]))
        if models[name].space.auto and CACHE_TYPES in kept and any(each.unknown for each in measured):
            changes[CACHE_TYPES], words = kept[CACHE_TYPES][:1], "a floor, or their quality is unknown"
            worse += [each for each in kept[CACHE_TYPES][1:] if each not in worse]
        if worse:
            notify(f"{name}: not searched, since they miss {words}: {listed(worse)}")
            space = models[name].space.model_copy(update=changes)
            models[name] = models[name].model_copy(update={"space": space})
        if _missing(_among(measured, kept), floors):
            rest = ", ".join(value for choice in choices for value in kept[choice])
            notify(f"warning: {name}: every choice misses {words}; {rest} is searched")
    return config if models == config.models else config.model_copy(update={"models": models})


def _within(
    measured: Sequence[QualityInfo], there: Mapping[str, Sequence[str]], floors: Sequence[Floor]
) -> dict[str, list[str]]:
    """Return the values of each choice of which no combination misses a floor, and at least one value of each."""
    kept = {choice: list(values) for choice, values in there.items()}
    while True:
        left = _among(measured, kept)
        missing = _missing(left, floors)
        values = [(choice, value) for choice, values in kept.items() for value in values if len(values) > 1]
        if not missing or not values:
            return kept

        choice, value = max(values, key=partial(_badness, left, missing, floors))
        kept[choice].remove(value)


def _badness(
    left: Sequence[QualityInfo],
    missing: Sequence[QualityInfo],
    floors: Sequence[Floor],
    choice_and_value: tuple[str, str],
) -> tuple[float, float]:
    """Return the share of a value's combinations that miss a floor, and by how much the worst of them does."""
    choice, value = choice_and_value
    mine = [_shortfall(each, floors) for each in missing if getattr(each, choice) == value]
    n_all = sum(getattr(each, choice) == value for each in left)
    return len(mine) / n_all, max(mine, default=0.0)


def _among(measured: Sequence[QualityInfo], kept: Mapping[str, Sequence[str]]) -> list[QualityInfo]:
    return [each for each in measured if all(getattr(each, choice) in values for choice, values in kept.items())]


def _missing(measured: Sequence[QualityInfo], floors: Sequence[Floor]) -> list[QualityInfo]:
    return [each for each in measured if _shortfall(each, floors) > 0]


def _shortfall(quality: QualityInfo, floors: Sequence[Floor]) -> float:
    """Return by how much a quality misses the floors; one that is not known misses none."""
    values = [(floor, quality.value(floor.objective.quantity)) for floor in floors]
    return max((floor.shortfall(value) for floor, value in values if value is not None), default=0.0)
