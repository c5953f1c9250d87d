"""How strongly each setting is correlated with a model's speed, over the measured trials.

The correlation is Spearman's, between each numeric setting that varied and tokens/s. Its square is the share of the
variance of the speed ranks that a line in the setting's ranks explains. With no association at all it exceeds
1.96² / (n − 1) about once in twenty (Kendall and Gibbons, Rank Correlation Methods, 1990: the variance of rho is
1 / (n − 1)).

This does not prove a cause. A search changes several settings together, so a correlation may be the effect of another
setting. A fitted model of the speeds, such as fANOVA's, would have the same limit with more decimals.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from layertune.report.chart import axis, both_widths, figure, mark, path, svg, text
from layertune.report.markup import Html, escape, number, paragraph, percent, section, table
from layertune.report.source import Source, measured
from layertune.results.result import Result

LEAST_TRIALS = 10

_CAPTION = (
    "Share of the variance of each model's speed ranks (tokens/s alone, as the search measured them) that the ranks of "
    "one setting explain: the square of Spearman's correlation, over {n} measured trials. By chance, one setting in "
    "twenty exceeds the dashed line. A bar does not prove a cause: the search changes several settings together."
)
_ROW, _TOP = 34, 8


@dataclass(frozen=True, slots=True)
class Association:
    """`rho` is the rank correlation of `model.setting` with a speed."""

    setting: str
    rho: float

    @property
    def share(self) -> float:
        return self.rho**2


def chance_share(n: int) -> float:
    """Return the share that one setting in twenty exceeds by chance."""
    return min(1.0, 1.96**2 / (n - 1))


def associations(trials: list[Source], model: str) -> list[Association]:
    """Return the association of every setting that varied with the model's speed in the search, strongest first.

    It is empty if there are too few trials or all speeds are equal.
    """
    known = [(source, metric.median) for source in trials if (metric := source.searched(model, "tokens_per_s"))]
    if len(known) < LEAST_TRIALS:
        return []
    speeds = _ranks([speed for _, speed in known])
    found = []
    for owner in known[0][0].trial.settings:
        for field, value in known[0][0].trial.settings[owner].as_dict().items():
            if not isinstance(value, int):
                continue
            values = _ranks([getattr(source.trial.settings[owner], field) for source, _ in known])
            if np.ptp(values) > 0 and np.ptp(speeds) > 0:
                found.append(Association(f"{owner}.{field}", float(np.corrcoef(values, speeds)[0, 1])))
    return sorted(found, key=lambda each: (-each.share, each.setting))


def importance_section(result: Result) -> Html:
    trials, title = measured(result), "Parameter importance"
    if len(trials) < LEAST_TRIALS:
        few = f"{len(trials)} measured trials are too few for correlations: {LEAST_TRIALS} are needed."
        return section("importance", title, paragraph(few))
    found = {name: each for name in result.models if (each := associations(trials, name))}
    if not found:
        return section("importance", title, paragraph("No numeric setting varied, or no speed did."))
    pictures = [both_widths(partial(_picture, name, each, len(trials))) for name, each in found.items()]
    tables = [_table(name, each) for name, each in found.items()]
    return section("importance", title, figure(_CAPTION.format(n=len(trials)), *pictures), *tables)


def _picture(model: str, found: list[Association], n: int, width: int) -> Html:
    x = axis(f"{model}: share of the variance of tokens/s ranks (%)", [100.0]).spanning(8, width - 14)
    bottom = _TOP + _ROW * len(found)
    grid = [path(f"M{x(at):.1f} {_TOP}V{bottom}", "grid") for at in x.ticks]
    ticks = [text(x(at), bottom + 16, f"{at:g}", "middle") for at in x.ticks]
    bars = [_bar(each, x.start, _TOP + _ROW * at, x(100 * each.share)) for at, each in enumerate(found)]
    chance = x(100 * chance_share(n))
    line = path(f"M{chance:.1f} {_TOP}V{bottom}", "budget")
    label = text(width / 2, bottom + 34, x.label, "middle", "label")
    return svg(_title(model), width, bottom + 42, *grid, *ticks, *bars, line, label)


def _bar(each: Association, left: float, top: float, right: float) -> Html:
    bar = Html(f'<rect class="bar" x="{left:.1f}" y="{top + 16:.1f}" width="{max(right - left, 1):.1f}" height="12"/>')
    tip = f"{each.setting}: {each.share:.1%}, correlation {each.rho:+.2f}"
    return Html(text(left, top + 12, each.setting, kind="name") + mark(bar, tip, (each.share, each.rho)))


def _table(model: str, found: list[Association]) -> Html:
    rows = [[escape(each.setting), percent(each.share), number(each.rho, f"{each.rho:+.2f}")] for each in found]
    return table(_title(model), ["setting", "share of variance", "rank correlation"], rows)


def _title(model: str) -> str:
    return f"Correlation of the speed of {model} with each setting"


def _ranks(values: list[float]) -> NDArray[np.float64]:
    """Return the ranks; equal values get the mean of their ranks."""
    _, place, n_equal = np.unique(np.array(values), return_inverse=True, return_counts=True)
    last = np.cumsum(n_equal)
    shared: NDArray[np.float64] = (last - (n_equal - 1) / 2)[place]
    return shared
