"""Compare the recorded studies with each other: tables for docs/comparing.md, between its two marks, and its picture.

python scripts/compare_recorded.py [--check]      --check only says whether both are current
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compared_picture import Panel, picture
from layertune.compare import StudyComparison, compare_studies
from layertune.compare.cost import ModelCost
from layertune.compare.studies import PairComparison
from layertune.compare.study_summary import StudySummary
from layertune.compare.text_tables import speed_words
from layertune.results.result import FILE_NAME, Result, read_result
from layertune.units import format_bytes

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURE = ROOT / "docs" / "comparing.md", ROOT / "docs" / "pictures" / "compare.svg"
BEGIN, END = "<!-- compare:begin -->\n", "<!-- compare:end -->\n"
NONE_YET = "No two studies that compare are recorded yet: `make record`.\n"
LEGEND = """\
Each card's balanced pick, with the 95 % interval of the median. "share" is the front's hypervolume in one box over the
cards of a table. The last columns compare a card with the first one. EMULATED: the bytes are exact, the speeds are
those of the two-core CPU that emulated the cards, not a GPU's.
Made by `make compare` from [`studies/`](../studies/README.md).
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Recorded studies that differ in their card only; the others are compared with the first."""

    title: str
    names: tuple[str, ...]
    with_picture: bool = True


GROUPS = (
    Group("the demo pair, cards of three sizes", ("demo-512mib", "demo-384mib", "demo-256mib")),
    Group(
        "the demo pair, a card that computes with two threads and with one",
        ("demo-256mib", "demo-256mib-1-thread"),
        with_picture=False,
    ),
    Group("3B + 7B stand-ins, cards of three sizes", ("standins-8gib", "standins-6gib", "standins-4gib")),
)


def main() -> int:
    compared = [(group, found) for group in GROUPS if len(found := recorded(group)) > 1]
    page = PAGE.read_text(encoding="utf-8")
    files = {PAGE: with_block(page, block(compared))}
    if panels := [panel(group.title, found) for group, found in compared if group.with_picture]:
        files[PICTURE] = picture(panels)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        if stale:
            print(f"out of date: {', '.join(path.name for path in stale)}; run make compare")
        return len(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    return 0


def recorded(group: Group) -> dict[str, Result]:
    folders = [ROOT / "studies" / name for name in group.names]
    return {folder.name: read_result(folder) for folder in folders if (folder / FILE_NAME).exists()}


def with_block(page: str, text: str) -> str:
    """Return the page with `text` between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE.name} has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def block(compared: Sequence[tuple[Group, dict[str, Result]]]) -> str:
    if not compared:
        return NONE_YET
    return "\n".join([*(table(group.title, found) for group, found in compared), LEGEND])


def table(title: str, found: dict[str, Result]) -> str:
    compared = compare_studies(list(found.items()))
    models = list(next(iter(found.values())).models)
    headings = ["card", *(heading for name in models for heading in (f"{name} layers", f"{name} tokens/s", "together"))]
    headings += ["peak VRAM", "share", *(f"{name} against the first" for name in models), "the pick changes for"]
    pairs: list[PairComparison | None] = [None, *compared.pairs]
    rows = [
        list(row(each, found[each.label], compared, pair, models))
        for each, pair in zip(compared.studies, pairs, strict=True)
    ]
    lines = [_line(headings), "|---" + "|--:" * (len(headings) - 2) + "|---|", *map(_line, rows)]
    return f"**{title[0].upper() + title[1:]}** ({workload(found)})\n\n" + "\n".join(lines) + "\n"


def row(
    study: StudySummary, result: Result, compared: StudyComparison, pair: PairComparison | None, models: Sequence[str]
) -> Iterator[str]:
    pick = study.picks["balanced"]
    yield f"[{card(result)}](../studies/{study.label})"
    for name in models:
        model = pick.models[name]
        yield f"{model.settings.n_gpu_layers} of {result.models[name].n_layer + 1}"
        yield speed_words(model.alone)
        yield speed_words(model.together)
    yield format_bytes(pick.peak_bytes or 0)
    volume = compared.hypervolumes[study.label]
    yield "–" if volume is None else f"{volume:.0%}"
    costs = {} if pair is None or pair.cost is None else pair.cost.models
    for name in models:
        yield cost_words(costs[name]) if name in costs else "–"
    yield "–" if pair is None else pair.flips.why


def cost_words(cost: ModelCost) -> str:
    if cost.low is None or cost.high is None:
        return f"{cost.percent:+.0f} %"
    return f"{cost.percent:+.0f} % ({cost.low:+.0f} to {cost.high:+.0f} %)" if cost.clear else "no clear difference"


def card(result: Result) -> str:
    n_threads = result.hardware.device.n_threads
    return f"{memory(result)}, {n_threads} thread{'' if n_threads == 1 else 's'}"


def memory(result: Result) -> str:
    return format_bytes(result.hardware.device.vram_bytes or 0).replace(".0 ", " ")


def workload(found: dict[str, Result]) -> str:
    first = next(iter(found.values()))
    loads = {f"{each.n_prompt} prompt + {each.n_generate} generated tokens" for each in first.workload.values()}
    return f"{', '.join(model.file for model in first.models.values())}; {' and '.join(sorted(loads))}"


def panel(title: str, found: dict[str, Result]) -> Panel:
    return Panel(title, {memory(result): result for result in found.values()})


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
