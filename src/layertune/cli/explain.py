"""layertune export --explain: what each setting of a pick gives and costs, as tables on standard output, or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from layertune.cli.console import Table, say, show, show_heading, show_json, show_table
from layertune.errors import UsageError
from layertune.explain import Explanation, Line, Swap, coexist_or_swap, explain
from layertune.explain.words import (
    case_words,
    file_words,
    in_a_row_words,
    memory_source,
    missing_words,
    no_step_words,
    speed_source,
    step_words,
    title,
)
from layertune.results.result import Result, TrialInfo, read_result
from layertune.study.replanned import plan_again
from layertune.units import format_bytes

_HEADINGS = ("model", "step", "tokens/s alone", "95 % interval", "share", "speed is", "device", "host", "bytes are")


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
    for gives, lines in groupby(explanation.lines, key=lambda line: line.gives):
        show("")
        show_table(_table(title(gives, on_device=explanation.on_device), list(lines)))
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


def _table(heading: str, lines: list[Line]) -> Table:
    table = Table(heading)
    for column in _HEADINGS:
        table.column(column, wraps=True)
    for line in lines:
        table.row(*_cells(line))
    return table


def _cells(line: Line) -> list[str]:
    speed, memory = line.speed, line.memory
    change = interval = share = on_device = on_host = "–"
    if speed is not None:
        change, share = f"{speed.tokens_per_s:+.2f}", f"{speed.share:+.1%}"
        if speed.low is not None and speed.high is not None:
            interval = f"{speed.low:+.2f} to {speed.high:+.2f}"
    if memory is not None:
        on_device, on_host = _signed(memory.device_bytes), _signed(memory.host_bytes)
    sources = (speed_source(line), memory_source(line))
    return [line.model, step_words(line), change, interval, share, sources[0], on_device, on_host, sources[1]]


def _signed(n_bytes: int) -> str:
    return ("+" if n_bytes > 0 else "") + format_bytes(n_bytes)


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
