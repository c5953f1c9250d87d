"""The table of fidelity.json's cells: ours beside llama-bench's, the paired ratio and its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from layertune.results.statistics import Comparison, compare

GOAL = (0.98, 1.02)
Name = Literal["pp", "tg", "tokens/s"]
# By the field of sides.Samples; tokens/s is the search's objective, and llama-bench's pg.
RATES: dict[str, Name] = {"pp_tokens_per_s": "pp", "tg_tokens_per_s": "tg", "tokens_per_s": "tokens/s"}

UNEQUAL = """What cannot be equal:

- tg. llama-bench decodes the prompt before its first repetition only, and restores a copy of the KV cache before the
  others; ours follow a prompt each time, as a user's do. Tokens after a prompt are slower, the first most, because the
  prompt has taken the processor's caches: after_prompt.py. tokens/s has prompt and answer on one clock on both sides
  (llama-bench's -pg), so there both pay.
- pp. llama-bench repeats one prompt, whose graph llama.cpp reuses (llama-context.cpp, can_reuse); ours alternates with
  tg, as its -pg and a user's requests do, so the graph is built anew each time: probably what a short prompt loses on a
  fast GPU.
- n_ctx. llama-bench takes what the test needs, at most 256 tokens, which llama.cpp pads to our 256; an n_batch of 256
  becomes that unpadded number, which one prompt still fits in.
- Outputs. Ours has room for the logits of one token, as llama-server has, llama-bench's for a whole batch: memory only.
- Thread pool. llama-bench attaches one; llama.cpp built with OpenMP computes with OpenMP's threads either way.
- Tokens. Both feed random ones; llama-bench begins with BOS where the model has it.
- Warm-up. llama-bench runs pp once or tg of one token, ours a full ubatch and then the whole workload once.
- The loop around llama_decode is Python here and C++ there, and the libraries are two builds of one source.
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate of one cell: each side's median over its turns, in tokens/s, and how they compare, paired by turn."""

    name: Name
    ours: float
    theirs: float
    comparison: Comparison

    @property
    def inside(self) -> bool:
        return GOAL[0] <= self.comparison.ratio <= GOAL[1]

    def __str__(self) -> str:
        return f"{self.ours:.1f} / {self.theirs:.1f} | {with_interval(self.comparison)}"


def rate(cell: dict[str, Any], field: str) -> Rate:
    ours, theirs = (
        {number: median(turn[side][field]) for number, turn in enumerate(cell["turns"])}
        for side in ("layertune", "llama_bench")
    )
    compared = compare(ours, theirs)
    if compared is None:
        raise SystemExit(f"{cell['model']} has no turn")
    return Rate(RATES[field], median(ours.values()), median(theirs.values()), compared)


def render(record: dict[str, Any]) -> str:
    rated = [(cell, [rate(cell, field) for field in RATES]) for cell in record["cells"]]
    lines = [
        f"{len(rated)} cells, {len(record['cells'][0]['turns'])} turns, {record['minutes']:.0f} minutes on"
        f" {record['machine']['n_cores']} cores. Rates are layertune's / llama-bench's in tokens/s, ratios are paired"
        " by turn, with their 95 % interval.",
        f"{record['device_note']}.",
        "",
        "| model | device | layers | batch/ubatch | threads | pp | ratio | tg | ratio | tokens/s | ratio |",
        "|---|---|--:|--:|--:|--:|---|--:|---|--:|---|",
        *(f"| {words(cell)} | {' | '.join(map(str, rates))} |" for cell, rates in rated),
        "",
        *(f"- {summary([rates[index] for _, rates in rated])}" for index in range(len(RATES))),
        f"- {after_a_prompt(record)}",
        f"- {others(record)}",
        *(f"- {outlier(cell, each)}" for cell, rates in rated for each in rates if not each.inside),
        "",
        UNEQUAL,
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


def after_a_prompt(record: dict[str, Any]) -> str:
    """Compare llama-bench's first repetition of tg, the only one that follows a prompt, with its later ones."""
    series = [turn["llama_bench"]["tg_tokens_per_s"] for cell in record["cells"] for turn in cell["turns"]]
    ratios = [first / median(later) for first, *later in series]
    return f"llama-bench's own tg after a prompt is {median(ratios):.3f} of its tg after a restored KV cache (median)"


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
