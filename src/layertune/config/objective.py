"""Objectives and floors, by name.

MODEL.tokens_per_s   MODEL.tokens_per_s_together   MODEL.pp_tokens_per_s   MODEL.tg_tokens_per_s
MODEL.ttft_s         MODEL.tpot_s                  MODEL.n_ctx             vram.peak_bytes

A floor is a value that one of them must reach: `chat.tokens_per_s >= 20`, or for a time `chat.ttft_s <= 2`. There is a
floor of quality, too: `chat.kl_divergence <= 0.05`. It is no objective, since no trial measures it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layertune.units import quoted

Direction = Literal["maximize", "minimize"]

MODEL_QUANTITIES: dict[str, Direction] = {
    "tokens_per_s": "maximize",
    "tokens_per_s_together": "maximize",
    "pp_tokens_per_s": "maximize",
    "tg_tokens_per_s": "maximize",
    "ttft_s": "minimize",
    "tpot_s": "minimize",
    "n_ctx": "maximize",
}
VRAM_PEAK = "vram.peak_bytes"
QUALITY = "kl_divergence"


@dataclass(frozen=True, slots=True)
class Objective:
    name: str
    direction: Direction

    @property
    def subject(self) -> str:
        """The model's name, or `vram`."""
        return self.name.partition(".")[0]

    @property
    def quantity(self) -> str:
        return self.name.partition(".")[2]

    @property
    def is_clocked(self) -> bool:
        """Whether it is a speed or a time, which varies; memory and context do not."""
        return self.name != VRAM_PEAK and self.quantity != "n_ctx"

    @classmethod
    def named(cls, name: str, models: list[str]) -> "Objective":
        """Raises ValueError, whose message names the known objectives."""
        subject, _, quantity = name.partition(".")
        if name == VRAM_PEAK:
            return cls(name, "minimize")
        if subject in models and quantity in MODEL_QUANTITIES:
            return cls(name, MODEL_QUANTITIES[quantity])
        known = ", ".join(f"{models[0]}.{quantity}" for quantity in MODEL_QUANTITIES)
        raise ValueError(
            f"{quoted(name)} is not an objective; the models are {', '.join(models)}; write one of {known}, {VRAM_PEAK}"
        )


_FLOOR = re.compile(r"\s*(?P<name>[a-z0-9_.]+)\s*(?P<sign>>=|<=)\s*(?P<value>[0-9]+(\.[0-9]+)?)\s*", re.ASCII)
_MOST_FLOOR = 1e9
_SIGNS: dict[Direction, str] = {"maximize": ">=", "minimize": "<="}


@dataclass(frozen=True, slots=True)
class Floor:
    """A value that a setting must reach: the least, or the most if less is better."""

    objective: Objective
    value: float

    @classmethod
    def parse(cls, text: str, models: list[str]) -> "Floor":
        """Raises ValueError, whose message says how to write one."""
        match = _FLOOR.fullmatch(text)
        if match is None:
            raise ValueError(f"{quoted(text)} is not a floor; write it like {models[0]}.tokens_per_s >= 20")
        model, _, quantity = match["name"].partition(".")
        is_quality = model in models and quantity == QUALITY
        objective = Objective(match["name"], "minimize") if is_quality else Objective.named(match["name"], models)
        sign = _SIGNS[objective.direction]
        if objective.name == VRAM_PEAK:
            raise ValueError(f"{quoted(text)}: memory already has a limit; set budget.vram")
        if match["sign"] != sign:
            raise ValueError(f"{quoted(text)}: write {objective.name} with {sign}")
        value = float(match["value"])
        if value > _MOST_FLOOR:
            raise ValueError(f"{quoted(text)}: a floor is a number from 0 to {_MOST_FLOOR:.0f}")
        return cls(objective, value)

    def shortfall(self, value: float) -> float:
        """Return by how much a value misses the floor; at most 0 if it reaches it."""
        return self.value - value if self.objective.direction == "maximize" else value - self.value

    def __str__(self) -> str:
        return f"{self.objective.name} {_SIGNS[self.objective.direction]} {self.value:.12g}"


def with_floors(objectives: Sequence[Objective], floors: Sequence[Floor]) -> list[Objective]:
    """Return the objectives, and those of the floors.

    A setting that another beats in all of these cannot be on the front or picked, even if the other misses a floor.
    """
    return list(dict.fromkeys([*objectives, *(floor.objective for floor in floors)]))
