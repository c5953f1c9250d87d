"""The objectives of a result, with the values of those of quality."""

from collections.abc import Mapping, Sequence
from itertools import product

from layertune.config.objective import KL_DIVERGENCE, Objective, QualityChoice
from layertune.results.result import Result
from layertune.results.study_info import QualityInfo


def resolved_objectives(result: Result) -> list[Objective]:
    """Return the objectives of a result; those of quality have the values that were known."""
    found = []
    for objective in (Objective(each.name, each.direction) for each in result.objectives):
        name = objective.subject
        if objective.is_quality:
            models = result.files.get(name) or {"": result.models[name]}
            files = {file: model.file for file, model in models.items()}
            values = objective_qualities(objective, result.quality.get(name, ()), files)
            objective = objective.with_qualities(values)
        found.append(objective)
    return found


def objective_qualities(
    objective: Objective, measured: Sequence[QualityInfo], files: Mapping[str, str]
) -> dict[QualityChoice, float]:
    """Return the values of an objective of quality, where they are known. A loss that is not visible is none.

    Args:
        objective: The objective.
        measured: The quality of its model's choices.
        files: The names of the model's files, by what settings call them.
    """
    found: dict[QualityChoice, float] = {}
    for each, (key, file) in product(measured, files.items()):
        value = each.value(objective.quantity)
        if each.file == file and value is not None:
            invisible = objective.quantity == KL_DIVERGENCE and each.is_visible is False
            found[key, each.type_k, each.type_v] = 0.0 if invisible else value
    return found
