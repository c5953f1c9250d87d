"""How few trials could do: somebody who knows all figures beforehand takes the trial that adds most, then the next."""

from dataclasses import dataclass

from race import SHARES, Field, cap_bytes, opened

from layertune.units import format_bytes


@dataclass(frozen=True)
class Oracle:
    """One field that searches race on, and the trials to each of SHARES with perfect knowledge."""

    field: Field
    words: str
    n_trials_to: tuple[int, ...]


def oracle(field: Field) -> Oracle:
    table, truth = opened(field)
    n_trials_to: list[int] = []
    for n_trials, share in enumerate(truth.greedy(), 1):
        n_trials_to += [n_trials for wanted in SHARES[len(n_trials_to) :] if share >= wanted]
        if len(n_trials_to) == len(SHARES):
            break
    threads = f"n_threads = {field.n_threads}, " if field.n_threads is not None else ""
    words = (
        f"{threads}{format_bytes(cap_bytes(table, field.cap))}, {field.cap:.0%} of what both models need whole;"
        f" objectives are both speeds{' and peak memory' if field.with_vram else ''}: {truth.n_settings} of"
        f" {table.space.n_settings()} settings fit, {len(truth.front)} are on the front. {table.device}"
    )
    return Oracle(field, words, tuple(n_trials_to))
