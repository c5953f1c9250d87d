"""Is one setting faster than another? Claimed only where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log

from layertune.trial.interval import pseudomedian_interval

# What a tie may cost, relative: who looks slower by more than this is not taken for less memory's sake.
TIE = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times as much of something one setting has as another: the ratio and its 95 % interval.

    Figures that were measured once have no interval, and show no clear difference.
    """

    ratio: float
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Say whether the two differ: whether the interval leaves out 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def tied(self) -> bool:
        """Say whether the leaner of the two may be taken: no difference is shown, and at most TIE is the best guess.
        The interval may reach farther: this does not say that the two are equal."""
        return not self.clear and abs(log(self.ratio)) <= log(1 + TIE)

    def no_less(self, margin: float) -> bool:
        """Say whether it is shown, with 95 % confidence, that the one has no less than the other by `margin`,
        relative, or more."""
        return self.low is not None and self.low > 1 - margin

    def no_more(self, margin: float) -> bool:
        """Say the same of having no more."""
        return self.high is not None and self.high < 1 + margin


def compare(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Comparison | None:
    """Compare two settings' figures by round, paired: a drift of the machine meets both sides of each ratio.

    Ratio and interval are those of the log ratios' pseudomedian. Return None without a common round.
    """
    ratios = [log(ours[number] / theirs[number]) for number in ours if number in theirs]
    if not ratios:
        return None
    interval = pseudomedian_interval(ratios)
    if interval is None:
        return Comparison(exp(ratios[0]), None, None)
    return Comparison(exp(interval.median), exp(interval.low), exp(interval.high))
