"""The base class of TOML tables, and the types of numbers, sizes and durations in them.

Every number has a smallest and a largest value, so that it can be computed with, stored and exported.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from layertune.settings import RANGES
from layertune.units import MAX_DURATION_S, MAX_SIZE_BYTES, parse_bytes, parse_duration, quoted

MAX_THREADS = 4096  # of one machine


@dataclass(frozen=True, slots=True)
class Within:
    """The range of a number, or of each number of a list. `word` may be written instead of a number.

    If `least` is an int, only whole numbers are accepted.
    """

    least: float
    most: float
    word: str | None = None

    @classmethod
    def of_setting(cls, name: str, word: str | None = None) -> "Within":
        return cls(*RANGES[name], word)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        self._bound(schema)
        return schema

    def _checked(self, written: Any) -> Any:
        if isinstance(written, (list, tuple)):
            return [self._checked(each) for each in written]
        if written is None or isinstance(written, (dict, BaseModel)) or self._has(written):
            return written
        kind = "a whole number" if self._is_whole else "a number"
        word = "" if self.word is None else f' or "{self.word}"'
        raise ValueError(f"{quoted(written)} is not {kind} from {self.least} to {self.most}{word}")

    def _has(self, written: Any) -> bool:
        if isinstance(written, str):
            return written == self.word
        if isinstance(written, bool) or not isinstance(written, (int, float)):
            return False
        return self.least <= written <= self.most and (not self._is_whole or written == int(written))

    @property
    def _is_whole(self) -> bool:
        return type(self.least) is int

    def _bound(self, schema: dict[str, Any]) -> None:
        if schema.get("type") in ("integer", "number"):
            schema |= {"minimum": self.least, "maximum": self.most}
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *filter(None, [schema.get("items")])):
            self._bound(part)


_SIZE = {"type": ["integer", "string"], "examples": ["6GiB", "6141MiB", "6GB"]}
_DURATION = {"type": ["number", "string"], "examples": ["30m", "90s", "1.5h"]}

Size = Annotated[int, BeforeValidator(parse_bytes), WithJsonSchema(_SIZE | {"minimum": 0, "maximum": MAX_SIZE_BYTES})]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    WithJsonSchema(_DURATION | {"exclusiveMinimum": 0, "maximum": MAX_DURATION_S}),
]
Share = Annotated[float, Within(0.0001, 0.99)]


class Table(BaseModel):
    """A TOML table. Unknown keys are errors, and values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
