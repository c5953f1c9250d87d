"""The report of a measurement: coverage by direction, one row for each card predicted from each study, and by
distance."""

from collections.abc import Sequence
from statistics import median

from comparison import Beyond, Comparison, Direction, Figure, Picked

_HEADER = (
    "predicted from",
    "for",
    "trials",
    "speeds",
    "tokens/s off",
    "inside",
    "the machine itself",
    "with that taken out: off",
    "inside",
    "speeds of splits beyond training",
    "off",
    "inside",
    "intervals made for",
    "own splits inside",
    "own larger splits inside",
    "layers of the balanced pick",
    "layers of all picks off",
    "within their range",
    "pick truly slower than the best",
)

_INTRODUCTION = """\
EMULATED cards: bytes are exact, speeds are a CPU's.

Each speed is one model's tokens/s in one trial that another study measured, compared with its prediction. "Off" is the
absolute relative error in the median, and in brackets at the 90th percentile. "Inside" counts the speeds inside their
interval, which is made for 90 %, or for a little less after few trials ("intervals made for"). The speeds of one
prediction are not independent: they share a session and a model, so the sampling error is larger than their number
suggests. "Inside in the worst" is of the prediction with the fewest inside.
"""

_PAIRS = """\
## Each pair

Splits beyond training are those that no training trial of the model had. "The machine itself" is how much faster it was
in the other study, by the trial that has every layer on the host, where the card does nothing: a study cannot know
that, and its intervals allow for it. "Own splits inside" is what the prediction reports of itself: the study's splits
inside intervals that were made without them, and those with most of the model on the device, predicted from those with
least. Layers are shown as predicted → as picked from measurements (of a recorded table: from its true speeds). The
range of a pick's layers is what is picked without one of the study's splits.
"""

_BEYOND = """\
## Beyond what was measured

A part of the splits predicts the others of the same study or table, by how much more of the model they have on the
device than any split that taught (larger), or less (smaller), as a share of the model. All is of one session, so the
intervals are without the share for another one. The growth of the interval with distance was chosen on the tables; the
recorded studies had no part in that.
"""


def report(found: Sequence[Comparison], beyond: Sequence[Beyond]) -> str:
    """Return the Markdown."""
    studies = [each for each in found if each.regret is None]
    tables = [each for each in found if each.regret is not None]
    lines = ["# Predicted and measured", "", _INTRODUCTION]
    lines += _directions("Recorded studies: another session", studies)
    if tables:
        lines += _directions("Recorded tables: the same session", tables)
    lines += [_PAIRS, *_header(_HEADER, 2)]
    rows: dict[tuple[str, str], list[Comparison]] = {}
    for each in found:
        rows.setdefault((each.train, each.other), []).append(each)
    lines += [_row(*key, comparisons) for key, comparisons in rows.items()]
    scaled = {f"{each.train} → {each.other}": each.scaled for each in found if not each.scaled.startswith("nothing")}
    lines += ["", *(f"Scaled, {which}: {how}." for which, how in scaled.items())] if scaled else []
    lines += ["", _BEYOND, *_header(("of", "direction", "distance", "speeds", "off", "inside"), 3)]
    lines += [_band(each) for each in beyond]
    return "\n".join(lines) + "\n"


def _directions(title: str, found: Sequence[Comparison]) -> list[str]:
    names = ("of", "for", "predictions", "speeds", "off", "inside", "inside in the worst", "interval reaches, median")
    lines = [f"## {title}", "", *_header(names, 2)]
    for group in dict.fromkeys(each.group for each in found):
        lines += _by_direction(group, [each for each in found if each.group == group])
    return [*lines, *_by_direction("all", found), _direction("all", "all", found), ""]


def _by_direction(group: str, found: Sequence[Comparison]) -> list[str]:
    names: dict[Direction, str] = {"smaller": "smaller cards", "larger": "larger cards", "same": "as large ones"}
    there = {direction: [each for each in found if each.direction == direction] for direction in names}
    return [_direction(group, names[direction], each) for direction, each in there.items() if each]


def _direction(group: str, name: str, found: Sequence[Comparison]) -> str:
    figures = [figure for each in found for figure in each.figures]
    worst = min((each.figures for each in found), key=lambda each: sum(one.covered for one in each) / len(each))
    half = f"± {median(each.half for each in figures):.0%}"
    counts = (str(len(found)), str(len(figures)))
    return _line((group, name, *counts, errors(figures), covered(figures), covered(worst), half))


def _row(train: str, other: str, comparisons: Sequence[Comparison]) -> str:
    figures = [figure for each in comparisons for figure in each.figures]
    same = [figure for each in comparisons if each.machine for figure in each.figures_of_one_session]
    new = [figure for figure in figures if figure.new]
    picks = [pick for each in comparisons for pick in each.picks]
    n_unknown = sum(each.n_unknown for each in comparisons)
    regrets = [each.regret for each in comparisons if each.regret is not None]
    larger = [each.own_larger for each in comparisons if each.own_larger is not None]
    return _line(
        (
            train,
            other,
            f"{median(each.n_trials for each in comparisons):g}"
            + (f" × {len(comparisons)} seeds" if len(comparisons) > 1 else ""),
            f"{len(figures)}" + (f" ({n_unknown} trials not of its space)" if n_unknown else ""),
            errors(figures),
            covered(figures),
            ", ".join(f"{each.machine - 1:+.1%}" for each in comparisons if each.machine),
            errors(same) if same else "",
            covered(same) if same else "",
            f"{len(new)}",
            errors(new),
            covered(new),
            f"{median(each.level for each in comparisons):.0%}",
            f"{median(each.own_coverage for each in comparisons):.0%}",
            f"{median(larger):.0%}" if larger else "",
            balanced(comparisons[0].picks) + (" (first seed)" if len(comparisons) > 1 else ""),
            layers_off(picks),
            within(picks),
            f"{median(regrets):.1%} ({max(regrets):.1%} at most)" if regrets else "",
        )
    )


def _band(each: Beyond) -> str:
    least, most = each.distance
    middle, high = each.off
    cells = (each.source, each.direction, f"{least:.0%} to {most:.0%}", str(each.n), f"{middle:.1%} ({high:.1%})")
    return _line((*cells, f"{each.inside / each.n:.0%}"))


def errors(figures: Sequence[Figure]) -> str:
    if not figures:
        return "none"
    found = sorted(each.error for each in figures)
    return f"{median(found):.1%} ({found[(9 * len(found) - 1) // 10]:.1%})"


def covered(figures: Sequence[Figure]) -> str:
    return f"{sum(each.covered for each in figures) / len(figures):.0%}" if figures else "none"


def balanced(picks: Sequence[Picked]) -> str:
    chosen = [each for each in picks if each.pick == "balanced"]
    return ", ".join(f"{each.model} {each.predicted} → {each.measured}" for each in chosen)


def layers_off(picks: Sequence[Picked]) -> str:
    off = [each.off for each in picks]
    return f"{median(off):g} ({max(off)} at most)" if off else ""


def within(picks: Sequence[Picked]) -> str:
    told = [each.inside for each in picks if each.inside is not None]
    return f"{sum(told)} of {len(told)}" if told else ""


def _header(names: Sequence[str], n_words: int) -> list[str]:
    return [_line(names), "|" + "---|" * n_words + "--:|" * (len(names) - n_words)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
