"""One dimension of the search space, as a user writes it.

    n_batch = 128                                     fixed
    n_batch = [128, 256, 512]                         a choice
    n_gpu_layers = { min = 0, max = "all", step = 1 } a range; "all" is n_layer + 1, the output layer included
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class IntRange(BaseModel):
    """An inclusive range of integers; `max = "all"` is resolved once the model file is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(default=0, ge=0)
    max: Annotated[int, Field(ge=0)] | Literal["all"] = "all"
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> "IntRange":
        if self.max != "all" and self.max < self.min:
            raise ValueError(f"min = {self.min} is above max = {self.max}; swap them")
        return self

    def values(self, all_layers: int) -> list[int]:
        """Return the range's values, where `"all"` means `all_layers`; "all" is always among them."""
        top = all_layers if self.max == "all" else min(self.max, max(all_layers, self.min))
        values = list(range(self.min, top + 1, self.step))
        if self.max == "all" and values and values[-1] != top:
            values.append(top)
        return values


PositiveInt = Annotated[int, Field(ge=1)]
LayerCount = Annotated[int, Field(ge=0)]
LayerDimension = LayerCount | Annotated[list[LayerCount], Field(min_length=1)] | IntRange
IntDimension = PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)]
