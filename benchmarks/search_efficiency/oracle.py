"""How few trials could do: somebody who knows all figures beforehand takes the trial that adds most, then the next."""

from collections.abc import Sequence
from dataclasses import dataclass

from race import SHARES, cap_bytes, opened

from layertune.units import format_bytes


@dataclass(frozen=True)
class Oracle:
    """One card that searches race on, and the trials to each of SHARES with perfect knowledge."""

    table: str
    cap: float
    with_vram: bool
    words: str
    n_trials_to: tuple[int, ...]


def oracles(fields: Sequence[tuple[str, float, bool]]) -> list[Oracle]:
    """Return one for each table and cap."""
    return [oracle(*field) for field in fields]


def oracle(name: str, cap: float, with_vram: bool) -> Oracle:
    table, truth = opened(name, cap, with_vram)
    n_trials_to: list[int] = []
    for n_trials, share in enumerate(truth.greedy(), 1):
        n_trials_to += [n_trials for wanted in SHARES[len(n_trials_to) :] if share >= wanted]
        if len(n_trials_to) == len(SHARES):
            break
    words = (
        f"{format_bytes(cap_bytes(table, cap))}, {cap:.0%} of what both models need whole: {truth.n_settings} of "
        f"{table.space.n_settings()} settings fit, {len(truth.front)} are on the front. {table.device}"
    )
    return Oracle(name, cap, with_vram, words, tuple(n_trials_to))
