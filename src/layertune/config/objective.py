"""What a study optimises, by name.

MODEL.tokens_per_s   MODEL.tokens_per_s_together   MODEL.pp_tokens_per_s   MODEL.tg_tokens_per_s
MODEL.ttft_s         MODEL.tpot_s                  MODEL.n_ctx             vram.peak_bytes
"""

from dataclasses import dataclass
from typing import Literal

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

    @classmethod
    def named(cls, name: str, models: list[str]) -> "Objective":
        """Raises ValueError naming the known objectives."""
        subject, _, quantity = name.partition(".")
        if name == VRAM_PEAK:
            return cls(name, "minimize")
        if subject in models and quantity in MODEL_QUANTITIES:
            return cls(name, MODEL_QUANTITIES[quantity])
        known = ", ".join(f"{models[0]}.{quantity}" for quantity in MODEL_QUANTITIES)
        raise ValueError(
            f"{name!r} is not an objective; the models are {', '.join(models)}; write one of {known}, {VRAM_PEAK}"
        )
