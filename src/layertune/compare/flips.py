"""The settings that differ between the balanced picks of two studies, and why."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from layertune.compare.study_summary import balanced, speed
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import last_in_common
from layertune.settings import EngineSettings
from layertune.units import format_bytes

# same        both pick the same settings
# memory      the first pick does not fit the other study's limits, by its recorded bytes or in a trial of that study
# bandwidth   it fits, and the other study measured it: clearly slower for a model, clearly faster for none
# preference  it fits, and the other study measured it: clearly faster for a model, so the other pick is a trade-off
# tie         it fits, and the other study measured it: the intervals overlap for every model
# unknown     it fits by its bytes, but the other study has no interval of it; or a study has no pick
Why = Literal["same", "memory", "bandwidth", "preference", "tie", "unknown"]


@dataclass(frozen=True, slots=True)
class Flip:
    model: str
    knob: str
    first: int | str
    other: int | str


@dataclass(frozen=True, slots=True)
class Flips:
    """The changes from the first study's balanced pick to the other's; `reason` is `why` as a sentence with values."""

    knobs: tuple[Flip, ...]
    why: Why
    reason: str


def flips(first: Result, other: Result) -> Flips:
    ours, theirs = balanced(first), balanced(other)
    if ours is None or theirs is None:
        return Flips((), "unknown", "no measured trial keeps the budget, so there is no pick to compare")
    knobs = _changed(first, ours, other, theirs)
    if not knobs:
        return Flips(knobs, "same", "both studies pick the same settings")
    why, reason = _why(ours, theirs, other)
    return Flips(knobs, why, reason)


def _changed(first: Result, ours: TrialInfo, other: Result, theirs: TrialInfo) -> tuple[Flip, ...]:
    return tuple(
        Flip(model, field.name, one.written(field.name), two.written(field.name))
        for model in ours.settings
        for one, two in [_with_files(first, ours, other, theirs, model)]
        for field in fields(EngineSettings)
        if getattr(one, field.name) != getattr(two, field.name)
    )


def _with_files(
    first: Result, ours: TrialInfo, other: Result, theirs: TrialInfo, model: str
) -> tuple[EngineSettings, EngineSettings]:
    """Return a model's settings in both, with the names of the files if these differ, also where a study has one."""
    one, two = ours.settings[model], theirs.settings[model]
    file, other_file = first.model_of(model, one), other.model_of(model, two)
    if file.sha256 == other_file.sha256:
        return replace(one, file=""), replace(two, file="")
    return replace(one, file=file.file), replace(two, file=other_file.file)


def _why(ours: TrialInfo, theirs: TrialInfo, other: Result) -> tuple[Why, str]:
    there = _same_settings(ours, other)
    if there is not None and (refused := _refused(there)):
        return "memory", f"the first's settings were tried there as trial {there.number}: {refused}"
    too_much = _too_much(ours, other.budget.capacity_bytes())
    if too_much and (there is None or there.state != "measured"):
        return "memory", too_much
    if there is not None and there.state == "measured":
        return _by_speed(there, theirs, f"the first's settings fit and were measured there as trial {there.number}")
    alike = _same_layers(ours, other)
    if alike is None:
        return "unknown", "the first's settings fit by their bytes and were not measured there"
    measured = f"the first's layers, not its other settings, were measured there as trial {alike.number}"
    return _by_speed(alike, theirs, measured)


def _same_settings(ours: TrialInfo, other: Result) -> TrialInfo | None:
    """Return the other study's trial with the first pick's settings, or else one that differs only in threads."""
    equal = [trial for trial in other.trials if trial.settings == ours.settings]
    wanted = _without_threads(ours.settings)
    equal += [trial for trial in other.trials if _without_threads(trial.settings) == wanted]
    return equal[0] if equal else None


def _same_layers(ours: TrialInfo, other: Result) -> TrialInfo | None:
    """Return a trial that the other study measured with the same layers on the device, preferably a finalist."""
    wanted = [(engine.file, engine.placement) for engine in ours.settings.values()]
    alike = [
        trial
        for trial in other.trials
        if trial.state == "measured"
        and not trial.exceeded()
        and [(engine.file, engine.placement) for engine in trial.settings.values()] == wanted
    ]
    return max(alike, key=lambda trial: (trial.n_all_rounds(), -trial.number), default=None)


def _without_threads(settings: dict[str, EngineSettings]) -> dict[str, EngineSettings]:
    return {name: engine.with_threads(1) for name, engine in settings.items()}


def _refused(there: TrialInfo) -> str:
    if there.state == "infeasible":
        return f"infeasible, {there.reason}"
    over = [f"{name} exceeded by {format_bytes(round(excess))}" for name, excess in there.exceeded().items()]
    return ", ".join(over)


def _too_much(ours: TrialInfo, capacity: int | None) -> str:
    """Return by how much the first pick's recorded bytes exceed the other budget, or an empty text."""
    if ours.vram is None or capacity is None:
        return ""
    planned_bytes, peak_bytes = ours.vram.planned_bytes or 0, ours.vram.peak_bytes
    needed_bytes = max(planned_bytes, peak_bytes)
    if needed_bytes <= capacity:
        return ""
    source = "at their measured peak" if peak_bytes >= planned_bytes else "as planned"
    excess = format_bytes(needed_bytes - capacity)
    return (
        f"the first's settings take {format_bytes(needed_bytes)} {source}, the other budget is "
        f"{format_bytes(capacity)}: {excess} too much"
    )


def _by_speed(there: TrialInfo, theirs: TrialInfo, measured: str) -> tuple[Why, str]:
    """Compare the trial nearest to the first pick with the other pick, by the last stage that measured both."""
    measured_in = last_in_common([there, theirs])
    slower, faster, words, sure = [], [], [], True
    for model in theirs.settings:
        mine, picked = speed(there, model, measured_in), speed(theirs, model, measured_in)
        if mine is None or picked is None or (behind := mine.slower_than(picked)) is None:
            sure = False
            continue
        slower += [model] if behind else []
        faster += [model] if picked.slower_than(mine) else []
        words.append(f"{model} {mine.tokens_per_s:.1f} instead of {picked.tokens_per_s:.1f} tokens/s")
    if not sure:
        return "unknown", f"{measured}, without an interval: whether they are slower is unknown"
    figures = ", ".join(words)
    if slower and not faster:
        return "bandwidth", f"{measured}: clearly slower for {' and '.join(slower)} ({figures})"
    if faster:
        trade = f" and slower for {' and '.join(slower)}" if slower else ""
        return "preference", f"{measured}: clearly faster for {' and '.join(faster)}{trade} ({figures})"
    return "tie", f"{measured}: no clear difference ({figures})"
