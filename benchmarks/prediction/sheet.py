"""The report of a measurement: one row for each card predicted from each study, over all seeds."""

from collections.abc import Sequence
from statistics import median

from comparison import Comparison, Figure, Picked

_HEADER = (
    "predicted from",
    "for",
    "trials",
    "figures",
    "tokens/s off",
    "covered",
    "the machine itself",
    "with that taken out: off",
    "covered",
    "figures of splits beyond training",
    "off",
    "covered",
    "of more layers than trained: off",
    "intervals made for",
    "own trials off",
    "own splits covered",
    "layers of the balanced pick",
    "layers of all picks off",
    "inside their bar",
    "pick truly slower than the best",
)


def report(found: Sequence[Comparison]) -> str:
    """Return the Markdown."""
    lines = [
        "EMULATED cards: bytes are exact, speeds are a CPU's. Every figure is one model's tokens/s in one trial of the",
        "other card, held against its prediction: the absolute relative error in the median, and in brackets the 90th",
        "percentile, and the share inside their interval; then the same of splits beyond training, those that no",
        "training trial of the model had, and the error where it has more layers on the device than any of these had.",
        "What intervals are made for, and what a prediction says of itself by held-back splits, follows. Layers as",
        "predicted → as picked from measurements (of a recorded table: from its truth). The machine itself: how much",
        "faster it was in the other study, by the trial that has every layer on the host; a study cannot know that.",
        "",
        _line(_HEADER),
        "|---|---|" + "--:|" * (len(_HEADER) - 2),
    ]
    rows: dict[tuple[str, str], list[Comparison]] = {}
    for each in found:
        rows.setdefault((each.train, each.other), []).append(each)
    lines += [_row(*key, comparisons) for key, comparisons in rows.items()]
    figures = [figure for each in found for figure in each.figures]
    new = [figure for figure in figures if figure.new]
    lines += ["", f"All {len(figures)} figures: {errors(figures)} off, {covered(figures)} inside their interval."]
    if studies := [each for each in found if each.machine]:
        told = [figure for each in studies for figure in each.figures]
        beside = [figure for each in studies for figure in each.figures_beside]
        lines += [
            f"The {len(told)} of recorded studies: {errors(told)} off, {covered(told)} inside; with the machine's own "
            f"change taken out {errors(beside)} off, {covered(beside)} inside."
        ]
    lines += [f"The {len(new)} of splits beyond training: {errors(new)} off, {covered(new)} inside theirs."]
    scaled = {f"{each.train} → {each.other}": each.scaled for each in found if not each.scaled.startswith("nothing")}
    lines += ["", *(f"Scaled, {which}: {how}." for which, how in scaled.items())] if scaled else []
    return "\n".join(lines) + "\n"


def _row(train: str, other: str, comparisons: Sequence[Comparison]) -> str:
    figures = [figure for each in comparisons for figure in each.figures]
    beside = [figure for each in comparisons if each.machine for figure in each.figures_beside]
    new = [figure for figure in figures if figure.new]
    picks = [pick for each in comparisons for pick in each.picks]
    n_unknown = sum(each.n_unknown for each in comparisons)
    regrets = [each.regret for each in comparisons if each.regret is not None]
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
            errors(beside) if beside else "",
            covered(beside) if beside else "",
            f"{len(new)}",
            errors(new),
            covered(new),
            errors([each for each in figures if each.beyond]),
            f"{median(each.level for each in comparisons):.0%}",
            f"{median(each.own_median for each in comparisons):.1%}",
            f"{median(each.own_coverage for each in comparisons):.0%}",
            balanced(comparisons[0].picks) + (" (first seed)" if len(comparisons) > 1 else ""),
            layers_off(picks),
            inside(picks),
            f"{median(regrets):.1%} ({max(regrets):.1%} at most)" if regrets else "",
        )
    )


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


def inside(picks: Sequence[Picked]) -> str:
    told = [each for each in picks if each.bar is not None]
    return f"{sum(each.off <= (each.bar or 0) for each in told)} of {len(told)}" if told else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
