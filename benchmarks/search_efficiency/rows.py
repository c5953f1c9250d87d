"""The report of a measurement: one table for each card, and one over all of them."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, inf, isinf
from statistics import median

from oracle import Oracle
from race import PICKED_AFTER, SHARES, Run

_HEADER = (
    "sampler",
    *(f"to {share:.0%}" for share in SHARES),
    *(f"regret after {n}" for n in PICKED_AFTER),
    "to the next trial",
    "would end by itself",
    *(f"without plan: to {share:.0%}" for share in SHARES),
    "refused",
)


def report(runs: Sequence[Run], oracles: Sequence[Oracle], skipped: Mapping[str, str]) -> str:
    """Return the Markdown."""
    n_seeds, n_trials = n_seeds_of(runs), max(each.race.n_trials for each in runs)
    lines = [
        f"{n_seeds} seeds, {n_trials} trials at most. Each figure is the median, with the 90th percentile in brackets:",
        "trials to the share of the exhaustive hypervolume; how much slower the balanced pick truly is than the best;",
        "time from one trial's end to the next one's start; when layer-split would end by itself, with which share;",
        "trials again, and how many of them did not fit, where nobody knows beforehand what fits. Below the samplers:",
        "how few trials do for who knows all figures beforehand, from the start and after the initial design",
        "that every search begins with. A sampler's rows may be of another day than another's: their times are not to",
        "be compared to the millisecond.",
        "",
        "**all cards**",
        "",
        *table(runs, oracles),
    ]
    for oracle in oracles:
        here = [each for each in runs if each.race.field == oracle.field]
        lines += ["", f"**{oracle.field.table}** with {oracle.words}", "", *table(here, [oracle])]
    lines += ["", *(f"Skipped: {name}: {why}." for name, why in skipped.items())]
    return "\n".join(lines).rstrip() + "\n"


def n_seeds_of(runs: Sequence[Run]) -> int:
    return len({each.race.seed for each in runs})


def table(runs: Sequence[Run], oracles: Sequence[Oracle]) -> list[str]:
    """Return a line for each sampler; one that ran with fewer seeds than the others says so."""
    lines = [_line(_HEADER), "|---|" + "--:|" * (len(_HEADER) - 1)]
    for sampler in dict.fromkeys(each.race.sampler for each in runs):
        planned, blind = (
            [each for each in runs if each.race.sampler == sampler and each.race.planned is way]
            for way in (True, False)
        )
        n_seeds = n_seeds_of(planned)
        lines.append(
            _line(
                (
                    sampler if n_seeds == n_seeds_of(runs) else f"{sampler}, {n_seeds} seeds",
                    *trials_to(planned),
                    *(percent([each.regret[place] for each in planned]) for place in range(len(PICKED_AFTER))),
                    milliseconds([each.next_trial_s for each in planned]),
                    ends(planned),
                    *trials_to(blind),
                    counts([each.n_refused for each in blind], inf),
                )
            )
        )
    n_first = median(each.n_first for each in oracles)
    return [
        *lines,
        perfect("perfect knowledge", [each.n_trials_to for each in oracles]),
        perfect(f"after the first {n_first:g}", [each.n_trials_to_after_first for each in oracles]),
    ]


def perfect(name: str, n_trials_to: Sequence[Sequence[int]]) -> str:
    found = (f"{median(each[place] for each in n_trials_to):g}" for place in range(len(SHARES)))
    return _line((name, *found, *("" for _ in _HEADER[len(SHARES) + 1 :])))


def name_of(sampler: str, planned: bool) -> str:
    return sampler if planned else f"{sampler} without plan"


def trials_to(runs: Sequence[Run]) -> list[str]:
    most = max((each.race.n_trials for each in runs), default=0)
    return [
        counts([inf if (n := each.n_trials_to[place]) is None else n for each in runs], most)
        for place in range(len(SHARES))
    ]


def ends(runs: Sequence[Run]) -> str:
    """Say after how many trials searches end by themselves, in the median, and with which share of the hypervolume."""
    found = [each.stopped for each in runs if each.stopped is not None]
    if not found:
        return "never"
    n_trials, shares = zip(*found, strict=True)
    often = f" ({len(found)} of {len(runs)})" if len(found) < len(runs) else ""
    return f"after {median(n_trials):g}{often}, with {median(shares):.1%} (least {min(shares):.1%})"


def counts(values: Sequence[float], most: float) -> str:
    """A search that its trials were too few for counts as one that takes more than any."""

    def text(value: float) -> str:
        return f"> {most:g}" if isinf(value) else f"{value:g}"

    return _both(values, text)


def percent(values: Sequence[float]) -> str:
    return _both(values, lambda value: f"{value:.1%}")


def milliseconds(values: Sequence[float]) -> str:
    return _both(values, lambda value: f"{1000 * value:.0f} ms")


def _both(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return the median and the 90th percentile, the least value that 90 % do not exceed."""
    if not values:
        return ""
    ninetieth = sorted(values)[ceil(0.9 * len(values)) - 1]
    return f"{text(median(values))} ({text(ninetieth)})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
