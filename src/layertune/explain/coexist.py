"""Should the models share the device, or take turns on it?

Coexist: all models loaded, split as the pick has it. Swap: one model loaded at a time, with all layers that fit alone
and that the study's space has; to ask another one, the first is freed and the other loaded.

A round is one request to each model; what each asks is the study's workload, c and a are seconds of it:

    c   a round where they coexist: in turns, the sum of the models' requests alone; at once, the longest of their
        requests while all run, since the others end within it
    a   a round of a swap: the sum of the requests, each model with the device to itself
    l   loading every model once

With r rounds a minute, and every model loaded once a minute (so that no request waits for a model longer than that), a
minute's work takes r·c where they coexist and r·a + l with a swap. The two are equal at

    r = l / (c − a)

and the swap is possible up to r = (60 − l) / a. Where c ≤ a sharing costs nothing, and a swap never pays. One model by
itself pays for its load after l_m / (c_m − a_m) requests in a row, alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.explain.measured import figure
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
    """A time, of median rates, with the ends of its 95 % interval, each None where it is not known."""

    time_s: float
    low_s: float | None
    high_s: float | None

    @property
    def is_unsure(self) -> bool:
        """Say whether it is above 0 and nothing tells it from noise."""
        return self.time_s > 0 and self.low_s is None


@dataclass(frozen=True, slots=True)
class Alone:
    """A model with the device to itself, as `trial` measured it: `shared` and `alone` are what its workload takes, by
    itself in both. `load_s` is its weights' and context's load, its file in the page cache; a swap to it pays after
    `n_in_a_row` requests, None where it never does."""

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
    """How requests come: one at a time (`in turns`) or all models asked together (`at once`).

    `slower` is what a round takes longer where the models coexist. `per_minute` is the break-even in requests a minute
    to each model, None where a swap never pays; `most_per_minute` what a swap can serve. The verdict is unknown where a
    round seems to take longer and nothing tells that from noise.
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
    """The verdict on trial `trial`. Where something was not measured, `missing` says what, and there is no case."""

    trial: int
    models: tuple[Alone, ...]
    load_s: float | None
    cases: tuple[Case, ...]
    missing: tuple[str, ...]


def coexist_or_swap(result: Result, pick: TrialInfo) -> Swap:
    """Return the verdict on a measured trial, from measured figures only."""
    missing = _no_swap(result)
    found = {} if missing else {name: _trial_alone(result, pick, name) for name in result.models}
    missing += [each for each in found.values() if isinstance(each, str)]
    trials = {name: each for name, each in found.items() if not isinstance(each, str)}
    missing += [
        f"the load time of {name}: this result.json is older than its record"
        for name, trial in trials.items()
        if name not in trial.load_s
    ]
    if missing:
        return Swap(pick.number, (), None, (), tuple(missing))
    measured_in = last_in_common([pick, *trials.values()])
    models, together = [], []
    for name, trial in trials.items():
        shared, alone = (_seconds(result, each, name, "tokens_per_s", measured_in) for each in (pick, trial))
        at_once = _seconds(result, pick, name, "tokens_per_s_together", measured_in)
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
        return ["another model: a single one shares the device with nobody"]
    if result.hardware.device.kind == "cpu":
        return ["a device: without one there is nothing to take turns on"]
    return []


def _trial_alone(result: Result, pick: TrialInfo, model: str) -> TrialInfo | str:
    """Return the trial that measured `model` with all layers that fit alone and the pick's other settings: the pick, or
    a finalist before others; or what is missing. Its speed alone is that of having the device to itself, since the
    others rest."""
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
    """Return how many layers fit alone by the study's plan; None where it planned other contexts or batches."""
    baseline = result.baselines.get(_FIT_ALONE)
    if baseline is None or baseline.settings is None or model not in baseline.settings:
        return None
    n_layer, engine = result.models[model].n_layer, baseline.settings[model]
    mine = with_setting(pick.settings[model], "n_gpu_layers", engine.n_gpu_layers, n_layer)
    return engine.n_gpu_layers if mine.memory_key(n_layer) == engine.memory_key(n_layer) else None


def _ran(trial: TrialInfo, model: str, engine: EngineSettings, n_layer: int) -> bool:
    """Say whether a trial measured the engine within the limits, and so shows that it fits."""
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
    """Say whether sharing costs time beyond the noise."""
    return slower.low_s is not None and slower.low_s > 0


def _seconds(result: Result, trial: TrialInfo, model: str, quantity: str, measured_in: MeasuredIn) -> Seconds | None:
    """Return what the model's workload takes at a measured rate; None where it is missing."""
    rate, n_generate = figure(trial, model, quantity, measured_in), result.workload[model].n_generate
    if rate is None:
        return None
    if rate.half is None:
        return Seconds(n_generate / rate.rate, None, None)
    # A rate that may be none at all may take for ever.
    high_s = n_generate / (rate.rate - rate.half) if rate.half < rate.rate else None
    return Seconds(n_generate / rate.rate, n_generate / (rate.rate + rate.half), high_s)


def _sum(parts: Sequence[Seconds]) -> Seconds:
    """Add the ends too: too wide rather than too narrow, like all that is done with them here."""
    lows, highs = [each.low_s for each in parts], [each.high_s for each in parts]
    return Seconds(sum(each.time_s for each in parts), _whole(lows), _whole(highs))


def _longest(parts: Sequence[Seconds]) -> Seconds:
    """Return the longest of times at once, each end being the longest one."""
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
