"""The qualities of a result: which of them tables show, and the values of those that are objectives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from layertune.config.objective import BITS_PER_BYTE, KL_DIVERGENCE, SCORE, Objective, QualityChoice
from layertune.results.result import Result
from layertune.results.study_info import QualityInfo


@dataclass(frozen=True, slots=True)
class ShownQuality:
    """The quantity that a table shows of a model's quality.

    Attributes:
        quantity: As in the name of an objective.
        field: Its field in `QualityInfo`.
        heading: A short heading.
        name: The name in full.
        number_format: How a value is written.
    """

    quantity: str
    field: str
    heading: str
    name: str
    number_format: str

    def text(self, quality: QualityInfo | None) -> str:
        """Return a value for a table, "?" where it is not known."""
        return self.value_text(None if quality is None else quality.value(self.quantity))

    def value_text(self, value: float | None) -> str:
        return "?" if value is None else format(value, self.number_format)


SHOWN_QUALITIES = (
    ShownQuality(KL_DIVERGENCE, "kl_divergence", "KL div.", "KL divergence", ".3g"),
    ShownQuality(BITS_PER_BYTE, "bits_per_byte", "bits/byte", "bits per byte", ".3f"),
    ShownQuality(SCORE, "score", "score", "score", ".6g"),
)


def shown_quality(result: Result, name: str) -> ShownQuality | None:
    """Return the quality of a model that tables show: its objective, else the one that is known of most choices.

    None where no quality is known.
    """
    measured, objectives = result.quality.get(name, ()), {each.name for each in result.objectives}
    n_known = {each: sum(info.value(each.quantity) is not None for info in measured) for each in SHOWN_QUALITIES}
    known = [each for each in SHOWN_QUALITIES if n_known[each]]
    return max(known, key=lambda each: (f"{name}.{each.quantity}" in objectives, n_known[each]), default=None)


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
