"""What a pick's files and cache types give and cost, next to the same pick with the reference files."""

from collections.abc import Iterator, Mapping

from layertune.results.remarks import against_words, cost_words
from layertune.results.result import Result, TrialInfo
from layertune.results.statistics import Comparison, compare
from layertune.results.study_info import ComparisonInfo, PriceInfo, QualityInfo
from layertune.results.trials import FinishedTrial


def compare_speeds(ours: FinishedTrial, theirs: FinishedTrial) -> dict[str, ComparisonInfo]:
    """Compare the reported speeds of two trials by model; empty where these were not measured in the same rounds."""
    compared = {
        name: compare(
            ours.by_round(name, "tokens_per_s", ours.reported_by),
            theirs.by_round(name, "tokens_per_s", theirs.reported_by),
        )
        for name in ours.settings
    }
    return {name: _info(each) for name, each in compared.items() if each is not None}


def prices(
    picks: Mapping[str, int], reference_picks: Mapping[str, int], trials: Mapping[int, FinishedTrial]
) -> list[PriceInfo]:
    """Compare each pick with the same pick among the trials that load the reference files.

    Args:
        picks: A trial's number by the name of the pick.
        reference_picks: The same among the trials with the reference files and cache types.
        trials: All trials, by number.
    """
    pairs = dict.fromkeys((number, reference_picks[name]) for name, number in picks.items() if name in reference_picks)
    return [
        PriceInfo(trial=ours, reference_trial=theirs, speeds=_speeds(trials[ours], trials[theirs]))
        for ours, theirs in pairs
        if ours != theirs
    ]


def price_words(result: Result, trial: TrialInfo) -> Iterator[str]:
    """Yield for each model what a picked trial's file gives and costs; nothing for a trial with the reference files."""
    price = next((each for each in result.prices if each.trial == trial.number), None)
    for name, engine in trial.settings.items():
        quality = result.quality_of(name, engine)
        faster = price.speeds.get(name) if price is not None else None
        if price is None or faster is None:
            if quality is not None:
                yield f"{name}: quality, {against_words(quality)}: {cost_words(quality)}"
        elif quality is None or quality.is_reference:
            yield f"{name}: {_ratio(faster)} in trial {price.reference_trial}, with the same file"
        else:
            with_best = f"with {quality.reference}{_best_types(quality)} (trial {price.reference_trial})"
            yield f"{name}: {_ratio(faster)} {with_best}, {_cost(quality)}"


def pick_price_words(result: Result) -> Iterator[str]:
    """Yield the price of each picked trial that does not load the reference files, as one sentence."""
    for price in result.prices:
        names = [name for name, number in result.picks.items() if number == price.trial]
        words = "; ".join(price_words(result, result.trial(price.trial)))
        yield f"Pick {', '.join(names)} (trial {price.trial}): {words}."


def _speeds(ours: FinishedTrial, theirs: FinishedTrial) -> dict[str, ComparisonInfo]:
    """Compare two trials by their common rounds, or by what the search measured of each."""
    found = compare_speeds(ours, theirs)
    for name in ours.settings.as_dict().keys() - found.keys():
        one, other = (each.metric(name, "tokens_per_s", "search") for each in (ours, theirs))
        if one is not None and other is not None:
            found[name] = ComparisonInfo(ratio=one.median / other.median, low=None, high=None, clear=False)
    return {name: found[name] for name in ours.settings if name in found}


def _info(each: Comparison) -> ComparisonInfo:
    return ComparisonInfo(ratio=each.ratio, low=each.low, high=each.high, clear=each.clear)


def _ratio(compared: ComparisonInfo) -> str:
    if compared.low is None or compared.high is None:
        return f"{compared.ratio:.2f} times as fast (measured once) as"
    low, high = f"{compared.low:.2f}", f"{compared.high:.2f}"
    if not compared.clear:
        return f"not clearly faster or slower ({low} to {high} times) than"
    return f"{compared.ratio:.2f} times ({low} to {high}) as fast as"


def _best_types(quality: QualityInfo) -> str:
    """Return the reference's cache types where the candidate has other ones."""
    return "" if (quality.type_k, quality.type_v) == ("f16", "f16") else " and an f16 cache"


def _cost(quality: QualityInfo) -> str:
    if quality.score is not None and quality.bits_per_byte is None:
        return f"for a score of {quality.score:.6g}"
    if quality.kl_divergence is None:
        return f"quality {cost_words(quality)}"
    return f"for a KL divergence of {cost_words(quality)}"
