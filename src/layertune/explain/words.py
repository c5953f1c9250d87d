"""Sentences of an explanation, the same in the report and in the terminal."""

from layertune.explain.coexist import Alone, Case, Swap
from layertune.explain.file_steps import File, FileStep
from layertune.explain.line import Change, Gives, Line
from layertune.explain.steps import NoStep, written
from layertune.results.trial_info import MeasuredIn
from layertune.units import format_bytes

_MEASURED_IN: dict[MeasuredIn, str] = {"search": "", "finals": ", finals", "confirming": ", validation runs"}


def title(gives: Gives, *, on_device: bool) -> str:
    """Return the heading of a group of lines."""
    where = "the device" if on_device else "the host"
    return {
        "memory": f"Steps that free memory of {where}, least speed lost per byte first",
        "speed": "Steps that gain speed, most first",
        "neither": f"Steps that do neither: no clear gain of speed, no memory of {where} freed",
        "unknown": "Steps with unknown speed or memory",
    }[gives]


def step_words(line: Line) -> str:
    """Return the change, like `n_ubatch 128 → 256, with n_batch`."""
    along = f", with {' and '.join(line.along)}" if line.along else ""
    return f"{line.knob} {written(line.knob, line.before)} → {written(line.knob, line.to)}{along}"


def speed_source(line: Line) -> str:
    """Return the source of the speed, or why there is none."""
    return line.no_speed or "" if line.speed is None else _change_source(line.speed)


def memory_source(line: Line) -> str:
    """Return the source of the bytes, or why there are none."""
    if line.memory is None:
        return line.no_memory or ""
    over = "" if line.over is None else f"; does not fit: {format_bytes(line.over.n_bytes)} over {line.over.limit}"
    return line.memory.source + over


def no_step_words(step: NoStep) -> str:
    return f"{step.model} {step.knob} {'up' if step.up else 'down'}: {step.why}"


def file_words(step: FileStep) -> str:
    """Return what another file of a model gives and costs."""
    size = "smaller" if step.to.n_bytes < step.before.n_bytes else "larger"
    what = f"{step.model} with {_file(step.to)} instead of {_file(step.before)}"
    if step.trial is None:
        return f"A file {size}: {what}. No trial within the limits has it."
    changes = [f"{name} {_share(change)}" for name, change in step.speeds.items()]
    if step.vram_bytes is not None:
        changes.append(f"peak VRAM {'+' if step.vram_bytes > 0 else ''}{format_bytes(step.vram_bytes)}")
    return f"A file {size}: {what}. The best trial with it is {step.trial}: {', '.join(changes)}."


def _file(file: File) -> str:
    quality = "" if file.quality is None else f"; quality: {file.quality}"
    return f"{file.name} ({format_bytes(file.n_bytes)}{quality})"


def _share(change: Change) -> str:
    """Return a change of tokens/s as a share of the pick's, with its interval if there is one."""
    if change.low is None or change.high is None:
        return f"{change.share:+.1%} tokens/s ({_change_source(change)})"
    low, high = change.low / change.before, change.high / change.before
    unclear = "" if change.clear else ", no clear difference"
    return f"{change.share:+.1%} tokens/s ({low:+.1%} to {high:+.1%}{unclear})"


def missing_words(swap: Swap) -> str:
    return f"No verdict, since this is missing: {'; '.join(swap.missing)}."


def case_words(case: Case) -> str:
    """Return the verdict on one pattern of requests."""
    how = {"in turns": "Requests one after the other", "at once": "Requests at the same time"}[case.name]
    if case.verdict == "unknown":
        return (
            f"{how}: no verdict. One of its speeds was measured once, or varies too much to separate a cost from noise."
        )
    if case.per_minute is None:
        clear = "no clear time" if case.slower.time_s > 0 else "no time"
        return f"{how}: coexist. Sharing the device costs {clear}, so a swap never pays."
    if case.verdict == "coexist":
        return (
            f"{how}: coexist. A swap would pay above {case.per_minute:.1f} requests per minute to each model, but can "
            f"serve only {case.most_per_minute:.1f}."
        )
    return (
        f"{how}: coexist below {case.per_minute:.1f} requests per minute to each model, swap above. A swap can "
        f"serve up to {case.most_per_minute:.1f}."
    )


def in_a_row_words(alone: Alone) -> str:
    if alone.slower.is_unsure:
        return f"Whether a swap to {alone.model} ever pays is unknown: a speed was measured once or varies too much."
    if alone.n_in_a_row is None:
        return f"{alone.model} is not clearly faster alone: a swap to it never pays."
    return f"A swap to {alone.model} pays after {alone.n_in_a_row:.1f} requests to it in a row."


def _change_source(change: Change) -> str:
    if change.source == "modelled":
        return "modelled"
    once = "" if change.clear is not None else ", once each"
    return f"measured: trial {change.trial}{_MEASURED_IN[change.measured_in]}{once}"
