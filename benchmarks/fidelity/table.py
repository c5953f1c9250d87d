"""The table of fidelity.json's cells: ours beside llama-bench's, the paired ratio and its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from layertune.results.comparison import Comparison, compare

GOAL = (0.98, 1.02)
RATES: tuple[Literal["pp", "tg"], ...] = ("pp", "tg")


@dataclass(frozen=True, slots=True)
class Rate:
    """pp or tg of one cell: each side's median over its turns, in tokens/s, and how they compare, paired by turn."""

    name: Literal["pp", "tg"]
    ours: float
    theirs: float
    comparison: Comparison

    @property
    def inside(self) -> bool:
        return GOAL[0] <= self.comparison.ratio <= GOAL[1]

    def __str__(self) -> str:
        return f"{self.ours:.1f} | {self.theirs:.1f} | {with_interval(self.comparison)}"


def rate(cell: dict[str, Any], name: Literal["pp", "tg"]) -> Rate:
    ours, theirs = (
        {number: median(turn[side][f"{name}_tokens_per_s"]) for number, turn in enumerate(cell["turns"])}
        for side in ("layertune", "llama_bench")
    )
    compared = compare(ours, theirs)
    if compared is None:
        raise SystemExit(f"{cell['model']} has no turn")
    return Rate(name, median(ours.values()), median(theirs.values()), compared)


def render(record: dict[str, Any]) -> str:
    rated = [(cell, [rate(cell, name) for name in RATES]) for cell in record["cells"]]
    lines = [
        f"{len(rated)} cells, {len(record['cells'][0]['turns'])} turns, {record['minutes']:.0f} minutes on"
        f" {record['machine']['n_cores']} cores. Ratios are layertune / llama-bench, with their 95 % interval.",
        f"{record['device_note']}.",
        "",
        "| model | device | layers | batch/ubatch | threads | pp | llama-bench | ratio | tg | llama-bench | ratio |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|--:|---|",
        *(f"| {words(cell)} | {' | '.join(map(str, rates))} |" for cell, rates in rated),
        "",
        *(f"- {summary([rates[index] for _, rates in rated])}" for index in range(len(RATES))),
        f"- {others(record)}",
        *(f"- {outlier(cell, each)}" for cell, rates in rated for each in rates if not each.inside),
        "",
    ]
    return "\n".join(lines)


def words(cell: dict[str, Any]) -> str:
    settings = cell["settings"]
    threads = str(settings["n_threads"]) + (f" + {cell['card_n_threads']}" if cell["card_n_threads"] else "")
    batches = f"{settings['n_batch']}/{settings['n_ubatch']}"
    return f"{cell['model']} | {cell['device']} | {settings['n_gpu_layers']} | {batches} | {threads}"


def summary(rates: Sequence[Rate]) -> str:
    ratios = [each.comparison.ratio for each in rates]
    n_inside, n_unclear = sum(each.inside for each in rates), sum(not each.comparison.clear for each in rates)
    return (
        f"{rates[0].name}: median ratio over the cells {median(ratios):.3f}, from {min(ratios):.3f} to"
        f" {max(ratios):.3f}; {n_inside} of {len(rates)} within {GOAL[0]} and {GOAL[1]}, {n_unclear} not clearly"
        " different from 1"
    )


def others(record: dict[str, Any]) -> str:
    taken = [side["taken_cores"] for cell in record["cells"] for turn in cell["turns"] for side in turn.values()]
    waited = f", after {record['waited_minutes']:.0f} minutes of waiting for them" if record["waited_minutes"] else ""
    return (
        f"Other programs and the hypervisor took {median(taken):.2f} of {record['machine']['n_cores']} cores in the"
        f" median, at most {max(taken):.2f}{waited}"
    )


def outlier(cell: dict[str, Any], rate: Rate) -> str:
    comparison, settings = rate.comparison, cell["settings"]
    taken = ["/".join(f"{side['taken_cores']:.2f}" for side in turn.values()) for turn in cell["turns"]]
    certainty = "clearly" if comparison.clear else "not clearly different from 1:"
    where = f"{cell['device']}, {settings['n_gpu_layers']} layers, {settings['n_batch']}/{settings['n_ubatch']}"
    return (
        f"outside: {rate.name} of {cell['model']} ({where}), {certainty} {with_interval(comparison)}; cores taken by"
        f" others during ours/theirs: {', '.join(taken)}"
    )


def with_interval(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return f"{comparison.ratio:.3f}"
    return f"{comparison.ratio:.3f} [{comparison.low:.3f}, {comparison.high:.3f}]"
