"""What to know about a study's figures, in sentences under its table."""

from collections import Counter

from layertune.results.drift import CLEAR_DRIFT
from layertune.results.result import BaselineInfo, ClockInfo, ComparisonInfo, PlanInfo, Result
from layertune.units import format_bytes, format_duration


def study_remarks(result: Result, interval: str = "±") -> list[str]:
    """`interval` is how an interval is written beside its figure."""
    remarks = [finals_words(result, interval)]
    if result.plan is not None:
        remarks.append(plan_words(result.plan))
    remarks += [drift_words(result), disturbance_words(result), *_common_warnings(result)]
    if result.clock is not None and result.clock.wall_s > 0:
        remarks.append(clock_words(result.clock))
    return [remark for remark in remarks if remark]


def finals_words(result: Result, interval: str = "±") -> str:
    """Say what the front's figures are: of the finals, or of the search alone."""
    finalists = [trial for trial in result.trials if trial.n_rounds > 0]
    if not finalists:
        return "No finals were held: the front is of figures measured once, and includes who was lucky."
    n_rounds = max(trial.n_rounds for trial in finalists)
    n_confirming = max(trial.n_confirming for trial in finalists)
    tied = [trial for trial in result.trials if trial.tied_with is not None]
    equals = ", ".join(f"{trial.number} ({trial.tied_with} stands for it)" for trial in tied)
    left_out = f" Not shown to be better than another that stands for it, so left out: {equals}." if tied else ""
    is_open = " Noise still leaves some of that choice open." if result.decided is False else ""
    told = (
        f"Their figures and the baselines' are of {n_confirming} rounds more, which chose nothing"
        if n_confirming
        else "These rounds chose, so a little luck is in their figures"
    )
    return (
        f"Front and picks are of the finals: {len(finalists)} settings measured again in {n_rounds} rounds, in turns."
        f"{is_open} {told}. {interval} is the 95 % interval of the median.{left_out}"
    )


def plan_words(plan: PlanInfo) -> str:
    """Say what was known before the first trial, and what the trials have shown the plan to lack."""
    known = f"By plan {plan.n_feasible} of {plan.n_settings} settings fit."
    if plan.n_trials == 0:
        return f"{known} No trial has checked the plan yet."
    if plan.overhead_bytes == plan.headroom_bytes == 0:
        return f"{known} None of {plan.n_trials} measured trials took more than planned."
    overhead, headroom = format_bytes(plan.overhead_bytes), format_bytes(plan.headroom_bytes)
    trials = f"{plan.n_trials} measured trials"
    return f"{known} {trials} took {overhead} more than planned each, and at most {headroom} on top."


def drift_words(result: Result) -> str:
    """Say how far the machine's speed moved, where it did."""
    moved = [ratio for each in result.references for ratio in each.relative.values()]
    farthest = max(moved, key=lambda ratio: abs(ratio - 1), default=1.0)
    if abs(farthest - 1) <= CLEAR_DRIFT:
        return ""
    return f"The machine ran at {farthest:.0%} of its first speed at times ({len(result.references)} reference runs)."


def disturbance_words(result: Result) -> str:
    disturbed = [trial for trial in result.trials if any("disturbed: " in each for each in trial.warnings)]
    if not disturbed:
        return ""
    numbers = ", ".join(str(trial.number) for trial in disturbed)
    return f"Disturbed although measured again: trial {numbers}; result.json says by what."


def clock_words(clock: ClockInfo) -> str:
    shares = (
        ("measuring", clock.measure_s),
        ("warm-up", clock.warm_up_s),
        ("loading", clock.load_s),
        ("unloading", clock.unload_s),
        ("overhead", clock.overhead_s),
    )
    words = ", ".join(f"{spent_s / clock.wall_s:.1%} {name}" for name, spent_s in shares)
    return f"Of {format_duration(clock.wall_s)}: {words}."


def gain_words(compared: ComparisonInfo | None) -> str:
    """Say how much faster the balanced pick is, where the rounds that are told show it to differ at all."""
    if compared is None:
        return ""
    if not compared.clear:
        return "no clear difference"
    return f"{compared.ratio - 1:+.0%}"


def baseline_words(result: Result, baseline: BaselineInfo) -> str:
    """Say what became of one of the result's baselines."""
    if baseline.trial is not None:
        return f"trial {baseline.trial}{over_words(result, baseline.trial)}"
    if baseline.settings is None:
        return "would evict a model"
    capacity_bytes = result.budget.capacity_bytes()
    room_bytes = result.plan.room_bytes if result.plan is not None else None
    if room_bytes is None:  # older results do not say what trials took beside the plan
        room_bytes = capacity_bytes
    if baseline.planned_bytes is None or room_bytes is None or baseline.planned_bytes <= room_bytes:
        return "not measured"
    over = f"not run: {format_bytes(baseline.planned_bytes - room_bytes)} over"
    return f"{over} the budget" if room_bytes == capacity_bytes else f"{over} with overhead and headroom"


def over_words(result: Result, number: int) -> str:
    """Say which limits a trial does not keep, behind its number; nothing where it keeps all."""
    exceeded = [name for trial in result.trials if trial.number == number for name in trial.exceeded()]
    return f", over {' and '.join(exceeded)}" if exceeded else ""


def _common_warnings(result: Result) -> list[str]:
    """Return what every measured trial warns of."""
    measured = [trial for trial in result.trials if trial.state == "measured"]
    counted = Counter(warning for trial in measured for warning in set(trial.warnings))
    return [f"On every trial: {warning}." for warning, n_trials in counted.items() if n_trials == len(measured) > 1]
