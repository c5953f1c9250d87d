"""Should the models share the device, or take turns on it?

Coexist: all models are loaded, split as in the pick. Swap: one model is loaded at a time, with all layers that fit
alone and are in the study's space; for a request to another model, the first is freed and the other loaded.

A round is one request of the study's workload to each model. In seconds:

    c   a round of coexisting models. In turns: the sum of the models' requests alone. At once: the longest request
        while all models run, since the others end within it.
    a   a round of a swap: the sum of the requests, each model with the device to itself
    l   loading every model once

With r rounds per minute and every model loaded once a minute (so that no request waits longer than that for its model),
the work of a minute takes r·c for coexisting models and r·a + l with a swap. Both are equal at

    r = l / (c − a)

A swap is possible up to r = (60 − l) / a. If c ≤ a, sharing costs nothing and a swap never pays. A single model pays
for its load after l_m / (c_m − a_m) requests in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.explain.measured import measured_rate
from layertune.explain.steps import with_setting
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MeasuredIn, is_disturbed, last_in_common
from layertune.settings import EngineSettings

_MINUTE_S = 60.0
_FIT_ALONE = "fit-alone"  # space/baselines.py: each model's layers as if it had the budget to itself

CaseName = Literal["in turns", "at once"]
Verdict = Literal["coexist", "swap above break-even", "unknown"]


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time in seconds from median rates, with the ends of its 95 % interval; an unknown end is None."""

    time_s: float
    low_s: float | None
    high_s: float | None

    @property
    def is_unsure(self) -> bool:
        """Return whether the time is above 0 but may be noise."""
        return self.time_s > 0 and self.low_s is None


@dataclass(frozen=True, slots=True)
class Alone:
    """A model with the device to itself, as measured by `trial`.

    Attributes:
        load_s: loading its weights and context, with its file in the page cache.
        shared: one request as split in the pick, with the other models idle.
        alone: one request with the device to itself.
        slower: the difference of the two.
        n_in_a_row: requests after which a swap to it pays; None if it never does.
    """

    model: str
    trial: int
    n_gpu_layers: int
    load_s: float
    shared: Seconds
    alone: Seconds
    slower: Seconds
    n_in_a_row: float | None


@dataclass(frozen=True, slots=True)
class Case:
    """One pattern of requests: one model at a time (`in turns`), or all models together (`at once`).

    `slower` is the additional time of a round of coexisting models. `per_minute` is the break-even in requests per
    minute to each model, None if a swap never pays. `most_per_minute` is the most that a swap can serve. The verdict is
    unknown if the additional time may be noise.
    """

    name: CaseName
    shared: Seconds
    alone: Seconds
    slower: Seconds
    per_minute: float | None
    most_per_minute: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Swap:
    """The comparison for one trial. If something was not measured, it is listed in `missing` and there are no cases."""

    trial: int
    models: tuple[Alone, ...]
    load_s: float | None
    cases: tuple[Case, ...]
    missing: tuple[str, ...]


def coexist_or_swap(result: Result, pick: TrialInfo) -> Swap:
    """Compare coexisting with swapping for a measured trial, from measured values only."""
    missing = _no_swap(result)
    found = {} if missing else {name: _trial_alone(result, pick, name) for name in result.models}
    missing += [each for each in found.values() if isinstance(each, str)]
    trials = {name: each for name, each in found.items() if not isinstance(each, str)}
    missing += [
        f"the load time of {name}: this result.json does not record it"
        for name, trial in trials.items()
        if name not in trial.load_s
    ]
    if missing:
        return Swap(pick.number, (), None, (), tuple(missing))
    measured_in = last_in_common([pick, *trials.values()])
    models, together = [], []
    for name, trial in trials.items():
        shared, alone = (_seconds(result, each, name, "tokens_per_s", measured_in) for each in (pick, trial))
        at_once = None if shared is None else _at_once(result, pick, name, shared, measured_in)
        if shared is None or alone is None or at_once is None:
            return Swap(pick.number, (), None, (), (f"a speed of {name} in trial {pick.number} or {trial.number}",))
        slower = _less(shared, alone) if trial is not pick else Seconds(0.0, 0.0, 0.0)
        models.append(_alone(name, trial, shared, alone, slower))
        together.append(at_once)
    load_s, whole = sum(each.load_s for each in models), _sum([each.alone for each in models])
    longest = _longest(together)
    in_turns = _sum([each.shared for each in models])
    cases = (
        _case("in turns", in_turns, whole, _sum([each.slower for each in models]), load_s),
        _case("at once", longest, whole, _less(longest, whole), load_s),
    )
    return Swap(pick.number, tuple(models), load_s, cases, ())


def _no_swap(result: Result) -> list[str]:
    if len(result.models) == 1:
        return ["another model: a single model does not share the device"]
    if result.hardware.device.kind == "cpu":
        return ["a device: without one there is nothing to share"]
    return []


def _trial_alone(result: Result, pick: TrialInfo, model: str) -> TrialInfo | str:
    """Return the trial that measured `model` with all layers that fit alone and the pick's other settings.

    The pick is preferred, then finalists. Without such a trial, return what is missing. A trial's speed alone is that
    with the device to itself, since the other models are idle.
    """
    n_most = result.models[model].n_layer + 1
    fitting = _fit_alone(result, pick, model)
    for n_layers in dict.fromkeys(each for each in (n_most, fitting) if each is not None):
        engine = with_setting(pick.settings[model], "n_gpu_layers", n_layers, n_most - 1)
        there = [trial for trial in result.trials if _ran(trial, model, engine, n_most - 1)]
        if there:
            return pick if pick in there else max(there, key=lambda trial: (trial.n_all_rounds(), -trial.number))
    if fitting is None:
        return f"how many layers of {model} fit alone: the result has no baseline {_FIT_ALONE} with the pick's context"
    return f"{model} alone: no trial has {fitting} of its layers on the device and the pick's other settings"


def _fit_alone(result: Result, pick: TrialInfo, model: str) -> int | None:
    """Return how many layers fit alone as planned by the study; None if it planned other contexts or batches."""
    baseline = result.baselines.get(_FIT_ALONE)
    if baseline is None or baseline.settings is None or model not in baseline.settings:
        return None
    n_layer, engine = result.models[model].n_layer, baseline.settings[model]
    mine = with_setting(pick.settings[model], "n_gpu_layers", engine.n_gpu_layers, n_layer)
    return engine.n_gpu_layers if mine.memory_key(n_layer) == engine.memory_key(n_layer) else None


def _ran(trial: TrialInfo, model: str, engine: EngineSettings, n_layer: int) -> bool:
    """Return whether a trial measured these settings within the limits, which shows that they fit."""
    fits = trial.state == "measured" and not trial.exceeded() and not is_disturbed(trial)
    return fits and trial.settings[model].canonical(n_layer) == engine


def _alone(model: str, trial: TrialInfo, shared: Seconds, alone: Seconds, slower: Seconds) -> Alone:
    load_s, n_layers = trial.load_s[model].median, trial.settings[model].n_gpu_layers
    n_in_a_row = load_s / slower.time_s if _is_clear(slower) else None
    return Alone(model, trial.number, n_layers, load_s, shared, alone, slower, n_in_a_row)


def _case(name: CaseName, shared: Seconds, alone: Seconds, slower: Seconds, load_s: float) -> Case:
    most = max(0.0, _MINUTE_S - load_s) / alone.time_s
    per_minute = load_s / slower.time_s if _is_clear(slower) else None
    verdict: Verdict = "coexist"
    if slower.is_unsure:
        verdict = "unknown"
    elif per_minute is not None and per_minute < most:
        verdict = "swap above break-even"
    return Case(name, shared, alone, slower, per_minute, most, verdict)


def _is_clear(slower: Seconds) -> bool:
    """Return whether sharing clearly costs time."""
    return slower.low_s is not None and slower.low_s > 0


def _seconds(result: Result, trial: TrialInfo, model: str, quantity: str, measured_in: MeasuredIn) -> Seconds | None:
    """Return the time of one request at a measured rate; None if the rate is missing."""
    rate, n_tokens = measured_rate(trial, model, quantity, measured_in), result.workload[model].n_counted
    if rate is None:
        return None
    if rate.half is None:
        return Seconds(n_tokens / rate.rate, None, None)
    # If the rate may be 0, the time has no upper end.
    high_s = n_tokens / (rate.rate - rate.half) if rate.half < rate.rate else None
    return Seconds(n_tokens / rate.rate, n_tokens / (rate.rate + rate.half), high_s)


def _at_once(result: Result, pick: TrialInfo, model: str, shared: Seconds, measured_in: MeasuredIn) -> Seconds | None:
    """Return the time of one request while all models run; None if it was never measured.

    Not every stage runs all models at once. If this one did not, `shared` is multiplied by the slow-down in the pick's
    last stage. The ends of both intervals are multiplied, too, which makes the result too wide rather than too narrow.
    """
    measured = _seconds(result, pick, model, "tokens_per_s_together", measured_in)
    if measured is not None:
        return measured
    last = pick.last_measured_in()
    together, alone = (_seconds(result, pick, model, each, last) for each in ("tokens_per_s_together", "tokens_per_s"))
    if together is None or alone is None:
        return None
    low_s = _scaled(shared.low_s, together.low_s, alone.high_s)
    return Seconds(
        shared.time_s * together.time_s / alone.time_s, low_s, _scaled(shared.high_s, together.high_s, alone.low_s)
    )


def _scaled(time_s: float | None, more_s: float | None, less_s: float | None) -> float | None:
    return None if time_s is None or more_s is None or less_s is None else time_s * more_s / less_s


def _sum(parts: Sequence[Seconds]) -> Seconds:
    """Add times and the ends of their intervals, which makes the interval too wide rather than too narrow."""
    lows, highs = [each.low_s for each in parts], [each.high_s for each in parts]
    return Seconds(sum(each.time_s for each in parts), _whole(lows), _whole(highs))


def _longest(parts: Sequence[Seconds]) -> Seconds:
    """Return the longest time; each end of its interval is the longest of the ends."""
    lows, highs = [each.low_s for each in parts], [each.high_s for each in parts]
    return Seconds(max(each.time_s for each in parts), _most(lows), _most(highs))


def _most(parts: Sequence[float | None]) -> float | None:
    known = [each for each in parts if each is not None]
    return max(known) if len(known) == len(parts) else None


def _whole(parts: Sequence[float | None]) -> float | None:
    known = [each for each in parts if each is not None]
    return sum(known) if len(known) == len(parts) else None


def _less(one: Seconds, other: Seconds) -> Seconds:
    low_s = None if one.low_s is None or other.high_s is None else one.low_s - other.high_s
    high_s = None if one.high_s is None or other.low_s is None else one.high_s - other.low_s
    return Seconds(one.time_s - other.time_s, low_s, high_s)
