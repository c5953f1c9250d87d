"""layertune export --explain: what each setting of a pick gives and costs, as tables on standard output, or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from layertune.cli.console import say, show, show_heading, show_json, show_table
from layertune.errors import UsageError
from layertune.explain import Explanation, Swap, coexist_or_swap, explain
from layertune.explain.explanation_tables import explanation_tables
from layertune.explain.words import (
    case_words,
    file_words,
    in_a_row_words,
    missing_words,
    no_step_words,
)
from layertune.results.result import Result, TrialInfo, read_result
from layertune.study.replanned import plan_again


def run(study: Path, pick: str, *, about_files: Mapping[str, object], as_json: bool) -> None:
    """`about_files` are the options that say which files to write, None where one is not given."""
    for option, given in about_files.items():
        if given is not None:
            raise UsageError(f"{option} is about files, and --explain prints", remedy="leave one of the two out")
    result = read_result(study)
    trial = result.picked(pick)
    explanation = explain(result, trial, plan_again(study, result, [trial], say))
    swap = coexist_or_swap(result, trial)
    if as_json:
        emulated = result.hardware.device.kind == "emulated"
        show_json({"emulated": emulated, **asdict(explanation), "swap": asdict(swap)})
    else:
        print_explanation(result, trial, explanation, swap)


def print_explanation(result: Result, trial: TrialInfo, explanation: Explanation, swap: Swap) -> None:
    emulated = " (EMULATED: bytes are exact, speeds are this CPU's)" if _is_emulated(result) else ""
    show_heading(f"Trial {trial.number} of {result.study.name}{emulated}")
    for table in explanation_tables(explanation):
        show("")
        show_table(table)
    if explanation.no_steps:
        show("")
        show_heading("No further step:")
        show(*map(no_step_words, explanation.no_steps))
    if explanation.files:
        show("", *map(file_words, explanation.files))
    show("")
    show_heading("Coexist or swap?")
    words = [missing_words(swap)] if swap.missing else [*map(case_words, swap.cases), *map(in_a_row_words, swap.models)]
    show(*words, *_loads(swap))


def _loads(swap: Swap) -> list[str]:
    """Return the load times that the swap was compared with."""
    if not swap.models:
        return []
    loads = ", ".join(
        f"{each.model} {each.load_s:.2f} s with {each.n_gpu_layers} layers (trial {each.trial})" for each in swap.models
    )
    return [f"Loads, measured, files in the page cache: {loads}."]


def _is_emulated(result: Result) -> bool:
    return result.hardware.device.kind == "emulated"
