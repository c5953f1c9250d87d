"""Comparison of several studies with the first of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from layertune.compare.comparability import Difference, hardware_differences, refuse_unlike
from layertune.compare.cost import Cost, cost
from layertune.compare.flips import Flips, flips
from layertune.compare.front_comparison import Overlap, Reference, hypervolumes, overlap
from layertune.compare.study_summary import StudySummary, predicted_summary, summary
from layertune.prediction import Prediction
from layertune.results.result import Result


@dataclass(frozen=True, slots=True)
class PairComparison:
    """One study compared with the first one."""

    first: str
    other: str
    hardware: tuple[Difference, ...]
    overlap: Overlap
    flips: Flips
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class StudyComparison:
    """The studies, their hypervolumes by label, and each study compared with the first.

    All hypervolumes have the same `reference`; both are None if the studies have no objectives in common. Predictions
    come last in `studies`. They have no hypervolume and are in no pair, since nothing of them was measured.
    """

    studies: tuple[StudySummary, ...]
    reference: Reference | None
    hypervolumes: dict[str, float | None]
    pairs: tuple[PairComparison, ...]


def compare_studies(
    studies: Sequence[tuple[str, Result]], predictions: Sequence[tuple[str, Prediction]] = ()
) -> StudyComparison:
    """Compare two or more studies and predictions, each with a unique label.

    Raises:
        UnlikeStudies: they measured different models or workloads.
    """
    (first_label, first), *others = studies
    for label, other in others:
        refuse_unlike(first_label, first, label, other)
    for label, prediction in predictions:
        refuse_unlike(first_label, first, label, prediction)
    reference, volumes = hypervolumes([result for _, result in studies])
    labels = [label for label, _ in studies]
    return StudyComparison(
        studies=(
            *(summary(label, result) for label, result in studies),
            *(predicted_summary(label, prediction) for label, prediction in predictions),
        ),
        reference=reference,
        hypervolumes=dict(zip(labels, volumes, strict=True)),
        pairs=tuple(
            PairComparison(
                first=first_label,
                other=label,
                hardware=tuple(hardware_differences(first, other)),
                overlap=overlap(first, other),
                flips=flips(first, other),
                cost=cost(first_label, first, label, other),
            )
            for label, other in others
        ),
    )
