"""What every table of a TOML file of ours is, and how sizes and durations are written in it."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from layertune.units import parse_bytes, parse_duration

Size = Annotated[
    int,
    BeforeValidator(parse_bytes),
    Field(ge=0),
    WithJsonSchema({"type": ["integer", "string"], "examples": ["6GiB", "6141MiB", "6GB"]}),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    WithJsonSchema({"type": ["number", "string"], "examples": ["30m", "90s", "1.5h"]}),
]


class Table(BaseModel):
    """A TOML table: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
