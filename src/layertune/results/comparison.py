"""Is one setting faster than another? Claimed only where it is."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import TypeVar

from layertune.trial.interval import LEVEL, pseudomedian_interval

# What a tie may cost, relative: who looks slower by more than this is not taken for less memory's sake.
TIE = 0.02

# What tells rounds apart; results/trials.py's Round is of one hour of the machine.
_Round = TypeVar("_Round", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times as much of something one setting has as another: the ratio and its interval, of 95 % unless
    another level was asked for.

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
        """Say whether it is shown, at the interval's level, that the one has no less than the other by `margin`,
        relative, or more."""
        return self.low is not None and self.low > 1 - margin

    def no_more(self, margin: float) -> bool:
        """Say the same of having no more."""
        return self.high is not None and self.high < 1 + margin


def compare(ours: Mapping[_Round, float], theirs: Mapping[_Round, float], level: float = LEVEL) -> Comparison | None:
    """Compare two settings' figures by round, paired: a drift of the machine meets both sides of each ratio.

    Ratio and interval are those of the log ratios' pseudomedian; either end of the interval errs with a probability of
    1 − `level`. Return None without a common round.
    """
    ratios = [log(ours[each] / theirs[each]) for each in ours if each in theirs]
    if not ratios:
        return None
    interval = pseudomedian_interval(ratios, level)
    if interval is None:
        return Comparison(exp(ratios[0]), None, None)
    return Comparison(exp(interval.median), exp(interval.low), exp(interval.high))
