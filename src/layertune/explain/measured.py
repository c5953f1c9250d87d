"""Trials that differ from the pick in one setting only, and the change of speed between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

from layertune.explain.line import Change
from layertune.explain.steps import STEPPED_SETTINGS, Step, canonical_engine, value, with_setting
from layertune.results.bounds import LOAD_SPREAD
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MeasuredIn, is_disturbed, last_in_common


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """A measured rate in tokens/s, and half its 95 % interval if there is one."""

    rate: float
    half: float | None


def measured_steps(result: Result, pick: TrialInfo, model: str) -> Iterator[tuple[Step, TrialInfo]]:
    """Yield the nearest measured values below and above the pick's, for every setting of `model`, with their trials.

    These trials differ from the pick in nothing else, in any model. Disturbed trials are left out.
    """
    found = [pair for trial in result.trials if (pair := _difference(result, pick, trial, model)) is not None]
    for knob in STEPPED_SETTINGS:
        now = value(canonical_engine(result, pick, model), knob)
        of_knob = [pair for pair in found if pair[0].knob == knob]
        below = [pair for pair in of_knob if pair[0].to < now]
        above = [pair for pair in of_knob if pair[0].to > now]
        yield from [max(below, key=_below)] if below else []
        yield from [min(above, key=_above)] if above else []


def measured_change(pick: TrialInfo, other: TrialInfo, model: str) -> Change | None:
    """Return the difference of the two trials' tokens/s, both from the last stage that measured both."""
    measured_in = last_in_common([pick, other])
    before, after = (measured_rate(trial, model, "tokens_per_s", measured_in) for trial in (pick, other))
    if before is None or after is None:
        return None
    difference = after.rate - before.rate
    low = high = None
    if before.half is not None and after.half is not None:
        half = hypot(before.half, after.half)  # independent measurements
        low, high = difference - half, difference + half
    return Change(difference, low, high, before.rate, "measured", other.number, measured_in)


def _difference(result: Result, pick: TrialInfo, trial: TrialInfo, model: str) -> tuple[Step, TrialInfo] | None:
    if trial.state != "measured" or is_disturbed(trial):
        return None
    there = {name: canonical_engine(result, trial, name) for name in result.models}
    here = {name: canonical_engine(result, pick, name) for name in result.models}
    if any(there[name] != here[name] for name in result.models if name != model) or there[model] == here[model]:
        return None
    n_layer = result.models[model].n_layer
    for knob in STEPPED_SETTINGS:
        to = value(there[model], knob)
        if to != value(here[model], knob) and with_setting(here[model], knob, to, n_layer) == there[model]:
            return Step(model, knob, there[model]), trial
    return None


def _below(pair: tuple[Step, TrialInfo]) -> tuple[int, int, int]:
    step, trial = pair
    return step.to, trial.n_all_rounds(), -trial.number


def _above(pair: tuple[Step, TrialInfo]) -> tuple[int, int, int]:
    step, trial = pair
    return step.to, -trial.n_all_rounds(), trial.number


def measured_rate(trial: TrialInfo, model: str, quantity: str, measured_in: MeasuredIn) -> MeasuredRate | None:
    """Return a rate as measured in one stage; None if it is missing."""
    metric = (trial.metrics_of(measured_in) or {}).get(model, {}).get(quantity)
    if metric is None or metric.median <= 0:
        return None
    if metric.low is None or metric.high is None:
        return MeasuredRate(metric.median, None)
    half = (metric.high - metric.low) / 2
    # Repetitions within one load vary less than two loads do.
    return MeasuredRate(metric.median, max(half, LOAD_SPREAD * metric.median) if measured_in == "search" else half)
