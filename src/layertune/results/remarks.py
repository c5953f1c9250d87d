"""The sentences under a study's table: where its speeds come from, and what may have affected them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from layertune.results.depth import depth_remarks
from layertune.results.drift import CLEAR_DRIFT
from layertune.results.result import BaselineInfo, ClockInfo, ComparisonInfo, PlanInfo, QualityInfo, Result
from layertune.units import format_bytes, format_duration


def study_remarks(result: Result, interval: str = "±") -> list[str]:
    """Return all sentences that apply. `interval` is the sign of an interval in the table above."""
    remarks = [finals_words(result, interval), generation_words(result), *quality_words(result), *depth_remarks(result)]
    if result.plan is not None:
        remarks.append(plan_words(result.plan))
    remarks += [drift_words(result), disturbance_words(result), *_common_warnings(result)]
    if result.clock is not None and result.clock.wall_s > 0:
        remarks.append(clock_words(result.clock))
    return [remark for remark in remarks if remark]


def finals_words(result: Result, interval: str = "±") -> str:
    """Return what was measured again, what it chose, and where the claims come from."""
    again = [trial for trial in result.trials if trial.n_all_rounds() > 0]
    if not again:
        return "No finals were held: each trial was measured once, so some are on the front by luck."
    finalists = [trial for trial in again if trial.n_rounds > 0]
    n_rounds, n_validation = (
        max(counts) for counts in zip(*((t.n_rounds, t.n_confirming) for t in again), strict=True)
    )
    chosen = (
        f"The picks were chosen among {len(finalists)} settings that were measured again, in {_rounds(n_rounds)}."
        if finalists
        else "No other setting could still have become a pick, so none was measured again to choose it."
    )
    is_open = " Noise could still change a pick." if result.decided is False else ""
    validated = [trial.number for trial in again if trial.n_confirming > 0]
    reported = (
        f" {_trials(validated)} had {n_validation} validation runs, which chose nothing; gains are reported from these."
        if validated
        else " There were no validation runs, so the speeds of the picks are a little too high by luck."
    )
    tied = [trial for trial in result.trials if trial.tied_with is not None]
    equals = ", ".join(f"{trial.number} ({trial.tied_with} stands in for it)" for trial in tied)
    left_out = f" Left out, because they are not shown to be better than another: {equals}." if tied else ""
    return f"{chosen}{is_open}{reported} {interval} is the 95 % interval of the median.{left_out}"


def generation_words(result: Result) -> str:
    """Return that an older study did not time sampling; empty for a study that did."""
    if result.study.generation == "sampled":
        return ""
    return "tokens/s include no sampling, as this study is of an older layertune; a server generates more slowly."


def _trials(numbers: Sequence[int]) -> str:
    return f"Trial{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"


def plan_words(plan: PlanInfo) -> str:
    """Return how many settings fit by the memory plan, and how much more than planned the trials took."""
    known = f"{plan.n_feasible} of {plan.n_settings} settings fit."
    if plan.n_trials == 0:
        return f"{known} No trial has checked the plan yet."
    if plan.overhead_bytes == plan.headroom_bytes == 0:
        return f"{known} None of {plan.n_trials} measured trials took more than planned."
    overhead, headroom = format_bytes(plan.overhead_bytes), format_bytes(plan.headroom_bytes)
    trials = f"{plan.n_trials} measured trials"
    return f"{known} {trials} took {overhead} more than planned each, and at most {headroom} on top."


def quality_words(result: Result) -> Iterator[str]:
    """Yield for each model what each of its files and cache types costs in quality."""
    for name, measured in result.quality.items():
        reasons = {each.unknown for each in measured if each.score is None}
        if len(reasons) == 1 and (reason := reasons.pop()) is not None and all(each.unknown for each in measured):
            yield f"Quality of {name} is unknown: {reason}."
            continue
        others = [each for each in measured if each.file != each.reference or _types(each)]
        different = any(each.kl_divergence is None and each.bits_per_byte is not None for each in others)
        own = [f"{each.file} {_bits(each)}" for each in measured if different and each not in others]
        scored = all(each.score is not None and each.bits_per_byte is None for each in measured)
        found = [f"{_choice(each, measured)} {cost_words(each)}" for each in (measured if scored else others)]
        yield f"Quality of {name}, {against_words(measured[0])}: {'; '.join([*own, *found])}."


def against_words(quality: QualityInfo) -> str:
    """Return what a quality is measured against."""
    if quality.score is not None and quality.bits_per_byte is None:
        return "your own scores"
    which = "the reference that you named" if quality.reference_is_named else "the best file you gave"
    return f"KL divergence from {quality.reference}, {which}"


def _choice(quality: QualityInfo, measured: Sequence[QualityInfo]) -> str:
    cache = f"K/V {quality.type_k}/{quality.type_v}" if any(map(_types, measured)) else ""
    return " ".join(part for part in (quality.file, cache) if part)


def _types(quality: QualityInfo) -> bool:
    return (quality.type_k, quality.type_v) != ("f16", "f16")


def cost_words(quality: QualityInfo) -> str:
    """Return what a file with its cache types costs in quality."""
    score = [] if quality.score is None else [f"your score {quality.score:.6g}"]
    if quality.unknown is not None:
        return ", ".join([f"unknown ({quality.unknown})", *score])
    if quality.kl_divergence is None or quality.top1_agreement is None:
        why = "" if quality.not_comparable is None else f" ({quality.not_comparable})"
        bits = [] if quality.bits_per_byte is None else [f"not comparable{why}", _bits(quality)]
        return ", ".join([*bits, *score])
    none = ["no loss visible"] if quality.is_visible is False else []
    error = "" if quality.standard_error is None else f" ± {quality.standard_error:.1g}"
    weights = {kind: f" (weight {weight:g})" for kind, weight in quality.text_weights.items()}
    by_kind = [f"{kind} {found:.2g}{weights.get(kind, '')}" for kind, found in quality.by_kind.items()]
    kinds = ["; ".join(by_kind)] if by_kind else []
    details = [f"top-1 agreement {quality.top1_agreement:.1%}", *none, *score, *kinds]
    return f"{quality.kl_divergence:.3g}{error} ({', '.join(details)})"


def _bits(quality: QualityInfo) -> str:
    return f"{quality.bits_per_byte:.3f} bits per byte of text"


def drift_words(result: Result) -> str:
    """Return how much faster or slower the machine became; empty where it did not."""
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
    return f"Disturbed although measured again: trial {numbers}; the reasons are in result.json."


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
    """Return how much faster the balanced pick is than a baseline, if the difference is clear."""
    if compared is None:
        return ""
    if not compared.clear:
        return "no clear difference"
    return f"{compared.ratio - 1:+.0%}"


def baseline_words(result: Result, baseline: BaselineInfo) -> str:
    """Return which trial measured a baseline, or why none did."""
    if baseline.trial is not None:
        return f"trial {baseline.trial}{over_words(result, baseline.trial)}"
    if baseline.settings is None:
        return "would evict a model"
    capacity_bytes = result.budget.capacity_bytes()
    room_bytes = result.plan.room_bytes if result.plan is not None else None
    if room_bytes is None:  # older results have no overhead and headroom
        room_bytes = capacity_bytes
    if baseline.planned_bytes is None or room_bytes is None or baseline.planned_bytes <= room_bytes:
        return "not measured"
    over = f"not run: {format_bytes(baseline.planned_bytes - room_bytes)} over"
    return f"{over} the budget" if room_bytes == capacity_bytes else f"{over} with overhead and headroom"


def over_words(result: Result, number: int) -> str:
    """Return the limits that a trial exceeds, to be written after its number; empty where it keeps all."""
    exceeded = [name for trial in result.trials if trial.number == number for name in trial.exceeded()]
    return f", over {' and '.join(exceeded)}" if exceeded else ""


def _common_warnings(result: Result) -> list[str]:
    """Return the warnings that all measured trials have."""
    measured = [trial for trial in result.trials if trial.state == "measured"]
    counted = Counter(warning for trial in measured for warning in set(trial.warnings))
    return [f"On every trial: {warning}." for warning, n_trials in counted.items() if n_trials == len(measured) > 1]


def _rounds(n: int) -> str:
    return "one round" if n == 1 else f"up to {n} rounds"
