"""How few trials could do: somebody who knows all figures beforehand takes the trial that adds most, then the next."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from race import SHARES, Field, Race, cap_bytes, opened, task

from layertune.units import format_bytes


@dataclass(frozen=True)
class Oracle:
    """One field that searches race on, and the trials to each of SHARES with perfect knowledge: at once, and after the
    `n_first` trials that every search begins with, counted along."""

    field: Field
    words: str
    n_first: int
    n_trials_to: tuple[int, ...]
    n_trials_to_after_first: tuple[int, ...]


def oracle(field: Field) -> Oracle:
    table, truth = opened(field)
    wanted = task(table, Race(field, "layer-split", planned=True, seed=0, n_trials=1)).initial_design
    first = list(dict.fromkeys(map(table.space.canonical, wanted)))
    of_first = (truth.share(first[:n]) for n in range(1, len(first) + 1))
    threads = f"n_threads = {field.n_threads}, " if field.n_threads is not None else ""
    threads += "one file each, " if field.one_file else ""
    words = (
        f"{threads}{format_bytes(cap_bytes(table, field.cap))}, {field.cap:.0%} of what both models need whole;"
        f" objectives are both speeds{' and peak memory' if field.with_vram else ''}: {truth.n_settings} of"
        f" {table.space.n_settings()} settings fit, {len(truth.front)} are on the front. {table.device}"
    )
    after_first = n_trials_to(chain(of_first, truth.greedy(first)))
    return Oracle(field, words, len(first), n_trials_to(truth.greedy()), after_first)


def n_trials_to(shares: Iterable[float]) -> tuple[int, ...]:
    """Return after how many trials the shares, which only grow, are each of SHARES."""
    found: list[int] = []
    for n_trials, share in enumerate(shares, 1):
        found += [n_trials for wanted in SHARES[len(found) :] if share >= wanted]
        if len(found) == len(SHARES):
            break
    return tuple(found)
