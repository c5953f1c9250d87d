"""Studies of the same models on several devices or budgets, side by side. Everything is read from `Result`s."""

from layertune.compare.studies import StudyComparison, compare_studies

__all__ = ["StudyComparison", "compare_studies"]
