"""One dimension of the search space, as written in a config.

n_batch = 128                                     fixed
n_gpu_layers = "all"                              fixed: n_layer + 1, the output layer included
n_batch = [128, 256, 512]                         a choice
n_gpu_layers = { min = 0, max = "all", step = 1 } a range; "all" is n_layer + 1, the output layer included
cache_types = ["f16", "q8_0/q4_0"]                a choice of types of the K and the V cache; "f16" is "f16/f16"
tensor_split = "3,1"                              fixed, as is [3, 1]; ["3,1", "1,1"] is a choice
tensor_overrides = ["ffn_up=CPU", "ffn_gate=CPU"] fixed: both; [[], ["ffn_up=CPU"]] is a choice
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from layertune.config.fields import Within
from layertune.settings import RANGES, CacheType, FlashAttention, Switch
from layertune.tensor_overrides import TensorOverrides, parse_tensor_overrides
from layertune.tensor_split import TensorSplit, parse_tensor_split
from layertune.units import quoted

ALL = "all"


class IntRange(BaseModel):
    """An inclusive range of integers. `max = "all"` becomes a number when the model file is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: Annotated[int, Within.of_setting("n_gpu_layers")] = 0
    max: Annotated[int | Literal["all"], Within.of_setting("n_gpu_layers", ALL)] = "all"
    step: Annotated[int, Within(1, RANGES["n_gpu_layers"][1])] = 1

    @model_validator(mode="after")
    def _check_order(self) -> "IntRange":
        if self.max != "all" and self.max < self.min:
            raise ValueError(f"min = {self.min} is above max = {self.max}; swap them")
        return self

    def values(self, all_layers: int) -> list[int]:
        """Return the values; "all" means `all_layers` and is always one of them."""
        top = all_layers if self.max == "all" else min(self.max, max(all_layers, self.min))
        values = list(range(self.min, top + 1, self.step))
        if self.max == "all" and values[-1:] != [top]:
            values.append(top)
        return values


def dimension_values(written: Any, all_layers: int = 0) -> list[Any]:
    """Return the values of a dimension in any of its forms; "all" means `all_layers`."""
    if isinstance(written, IntRange):
        return written.values(all_layers)
    return [all_layers if each == ALL else each for each in (written if isinstance(written, list) else [written])]


FORMS = ("value", "choices", "range")


def _form(written: Any) -> str:
    """Return the form that the user chose, so that an error names only that form."""
    if isinstance(written, list):
        return "choices"
    return "range" if isinstance(written, (dict, IntRange)) else "value"


def _split_form(written: Any) -> str:
    """Return the form of a tensor_split: several numbers are one split, several splits are choices."""
    is_split = isinstance(written, (list, tuple)) and all(isinstance(each, (int, float)) for each in written)
    return "value" if is_split else _form(written)


def parse_cache_types(written: Any) -> tuple[CacheType, CacheType]:
    """Return the types of the K and the V cache from `"q8_0/q4_0"`; a single type is for both.

    Raises:
        ValueError: it is no such pair; the message says how to write one.
    """
    types: dict[str, CacheType] = {each: each for each in get_args(CacheType)}
    found = [types.get(part) for part in written.split("/")] if isinstance(written, str) else []
    match found:
        case [str(both)]:
            return both, both
        case [str(type_k), str(type_v)]:
            return type_k, type_v
    raise ValueError(f"{quoted(written)} is no pair of cache types like q8_0/q4_0; the types are {', '.join(types)}")


LayerDimension = Annotated[
    Annotated[int | Literal["all"], Tag("value")]
    | Annotated[list[int | Literal["all"]], Field(min_length=1), Tag("choices")]
    | Annotated[IntRange, Tag("range")],
    Discriminator(_form),
]
IntDimension = Annotated[
    Annotated[int, Tag("value")] | Annotated[list[int], Field(min_length=1), Tag("choices")], Discriminator(_form)
]
FlashAttentionDimension = Annotated[
    Annotated[FlashAttention, Tag("value")] | Annotated[list[FlashAttention], Field(min_length=1), Tag("choices")],
    Discriminator(_form),
]
SwitchDimension = Annotated[
    Annotated[Switch, Tag("value")] | Annotated[list[Switch], Field(min_length=1), Tag("choices")],
    Discriminator(_form),
]
CacheTypeDimension = Annotated[
    Annotated[CacheType, Tag("value")] | Annotated[list[CacheType], Field(min_length=1), Tag("choices")],
    Discriminator(_form),
]


def _cache_pair(written: Any) -> str:
    """Return a pair of cache types in one form: `"q8_0"` is `"q8_0/q8_0"`."""
    return "/".join(parse_cache_types(written))


_CachePair = Annotated[str, BeforeValidator(_cache_pair)]
CachePairDimension = Annotated[
    Annotated[_CachePair, Tag("value")] | Annotated[list[_CachePair], Field(min_length=1), Tag("choices")],
    Discriminator(_form),
]
_Split = Annotated[
    TensorSplit,
    BeforeValidator(parse_tensor_split),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "number"}, "examples": ["3,1", [3, 1]]}),
]
SplitDimension = Annotated[
    Annotated[_Split, Tag("value")] | Annotated[list[_Split], Field(min_length=1), Tag("choices")],
    Discriminator(_split_form),
]


def _overrides_form(written: Any) -> str:
    """Return the form of tensor_overrides: several texts are one value, several lists of them are choices."""
    return (
        "choices" if isinstance(written, list) and any(isinstance(each, (list, tuple)) for each in written) else "value"
    )


_Overrides = Annotated[
    TensorOverrides,
    BeforeValidator(parse_tensor_overrides),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
OverridesDimension = Annotated[
    Annotated[_Overrides, Tag("value")] | Annotated[list[_Overrides], Field(min_length=1), Tag("choices")],
    Discriminator(_overrides_form),
]
