"""Which pairs of engines a table measures, and in which order."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layertune.settings import EngineSettings, SplitSettings
from layertune.testing.recorded_table import CellKind

N_VISITS = 4
N_JOINT = 60


@dataclass(frozen=True)
class PlannedCell:
    kind: CellKind
    settings: SplitSettings


def design(
    engines: Mapping[str, Sequence[EngineSettings]], seed: int, n_visits: int = N_VISITS, n_joint: int = N_JOINT
) -> list[PlannedCell]:
    """Return the cells in a random order; the same seed gives the same.

    Factor cells pair the models' engines at random, `n_visits` times over: each time as many as the model with most
    has, so that every engine is in one and those of the others come again. The median over an engine's cells is what
    the table takes for true, so two visits would leave much of a load's noise in it; how far they scatter tells that
    noise. Joint cells are `n_joint` further random pairs. The table of gemma3-qwen05b is of before: once over, and a
    few cells again.
    """
    generator = random.Random(seed)
    n_factor = n_visits * max(map(len, engines.values()))
    columns = {name: _cycled(of_model, n_factor, generator) for name, of_model in engines.items()}
    factor = [SplitSettings.of(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    joint: list[SplitSettings] = []
    for _ in range(100 * n_joint):  # a small space has fewer pairs
        pair = SplitSettings.of({name: generator.choice(of_model) for name, of_model in engines.items()})
        if pair not in factor and pair not in joint:
            joint.append(pair)
        if len(joint) == n_joint:
            break
    cells = [PlannedCell("factor", each) for each in factor] + [PlannedCell("joint", each) for each in joint]
    generator.shuffle(cells)
    return cells


def _cycled(engines: Sequence[EngineSettings], n: int, generator: random.Random) -> list[EngineSettings]:
    """Return n of the engines: all of them once, then all again, each time in another order."""

    def turns() -> Iterator[EngineSettings]:
        while True:
            yield from generator.sample(engines, len(engines))

    return [engine for _, engine in zip(range(n), turns(), strict=False)]
