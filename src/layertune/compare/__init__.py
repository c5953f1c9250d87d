"""Comparison of studies of the same models on several devices or budgets, from their `Result`s."""

from layertune.compare.studies import StudyComparison, compare_studies

__all__ = ["StudyComparison", "compare_studies"]
