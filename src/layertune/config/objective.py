"""Objectives and floors, by name.

MODEL.tokens_per_s   MODEL.tokens_per_s_together   MODEL.pp_tokens_per_s   MODEL.tg_tokens_per_s
MODEL.ttft_s         MODEL.tpot_s                  MODEL.n_ctx             vram.peak_bytes
MODEL.turn_s         MODEL.tg_tokens_per_s_full

MODEL.kl_divergence  MODEL.bits_per_byte           MODEL.quality

A floor is a value that one of them must reach: `chat.tokens_per_s >= 20`, or for a time `chat.ttft_s <= 2`. The last
line is the quality of a model's file with its cache types. It is known before the first trial, so its floors are no
part of the search: what misses them is not searched.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from layertune.settings import EngineSettings
from layertune.units import quoted

Direction = Literal["maximize", "minimize"]

MODEL_QUANTITIES: dict[str, Direction] = {
    "tokens_per_s": "maximize",
    "tokens_per_s_together": "maximize",
    "pp_tokens_per_s": "maximize",
    "tg_tokens_per_s": "maximize",
    "ttft_s": "minimize",
    "tpot_s": "minimize",
    "turn_s": "minimize",
    "tg_tokens_per_s_full": "maximize",
    "n_ctx": "maximize",
}
# They need a filled context, which takes time.
AT_DEPTH = frozenset({"turn_s", "tg_tokens_per_s_full"})
GENERATED = frozenset(
    ("tg_tokens_per_s", "tpot_s", *AT_DEPTH)
)  # of generated tokens, which embedding models do not have
KL_DIVERGENCE, BITS_PER_BYTE, SCORE = "kl_divergence", "bits_per_byte", "quality"
QUALITIES: dict[str, Direction] = {KL_DIVERGENCE: "minimize", BITS_PER_BYTE: "minimize", SCORE: "maximize"}
VRAM_PEAK = "vram.peak_bytes"

# What the quality of a model depends on: file, type_k and type_v of its settings.
QualityChoice = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Objective:
    """What is maximised or minimised.

    `qualities` are the values of a quality by choice. They are empty until the quality is known.
    """

    name: str
    direction: Direction
    qualities: Mapping[QualityChoice, float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def subject(self) -> str:
        """The model's name, or `vram`."""
        return self.name.partition(".")[0]

    @property
    def quantity(self) -> str:
        return self.name.partition(".")[2]

    @property
    def is_set(self) -> bool:
        """Whether the settings of its model alone determine it, without a measurement: a context, or a quality."""
        return self.quantity == "n_ctx" or self.is_quality

    @property
    def is_quality(self) -> bool:
        return self.quantity in QUALITIES

    @property
    def is_clocked(self) -> bool:
        """Whether it is a speed or a time, which varies; memory, context and quality do not."""
        return self.name != VRAM_PEAK and not self.is_set

    def of_settings(self, engine: EngineSettings) -> float | None:
        """Return the value of what `is_set`; None for a quality that is not known."""
        if self.quantity == "n_ctx":
            return float(engine.n_ctx)
        return self.qualities.get((engine.file, engine.type_k, engine.type_v))

    def with_qualities(self, qualities: Mapping[QualityChoice, float]) -> "Objective":
        """Return the same objective with the values of a quality."""
        return replace(self, qualities=qualities)

    @classmethod
    def named(cls, name: str, models: list[str]) -> "Objective":
        """Raises ValueError, whose message names the known objectives."""
        subject, _, quantity = name.partition(".")
        if name == VRAM_PEAK:
            return cls(name, "minimize")
        directions = MODEL_QUANTITIES | QUALITIES
        if subject in models and quantity in directions:
            return cls(name, directions[quantity])
        known = ", ".join(f"{models[0]}.{quantity}" for quantity in directions)
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
        objective = Objective.named(match["name"], models)
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
