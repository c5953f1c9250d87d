"""The settings of a trial: one model's engine, and the split of all models.

Names are llama.cpp's own. Two settings that llama.cpp runs as the same engine have the same `canonical()` form.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import accumulate
from struct import pack, unpack
from typing import Any, Literal, NamedTuple, get_args

from layertune.units import pad, quoted

FlashAttention = Literal["auto", "on", "off"]
CACHE_TYPES = "cache_types"  # type_k and type_v as one setting, like "q8_0/q4_0"
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

FLOAT_CACHE_TYPES = frozenset({"f32", "f16", "bf16"})

# The proportions of the offloaded layers on several devices, in their order. Empty for one device.
TensorSplit = tuple[float, ...]

_MOST_PROPORTION = 1e9  # more than any size in KiB, and small enough for exact 32-bit sums of layers

# The range of each numeric setting: what llama.cpp accepts, or more than any model or machine has.
RANGES: Mapping[str, tuple[int, int]] = {
    "n_gpu_layers": (0, 2**31 - 1),  # llama.h: an int32
    "n_cpu_moe": (0, 2**31 - 1),
    "n_cpu_ffn": (0, 2**31 - 1),
    "n_ctx": (1, 2**24),  # Llama 4 Scout's 10 million tokens; llama.cpp keeps about 50 bytes for each
    "n_batch": (1, 2**20),
    "n_ubatch": (1, 2**20),
    "n_threads": (1, 512),  # ggml.h: GGML_MAX_N_THREADS
    "n_parallel": (1, 256),  # llama-cparams.h: LLAMA_MAX_SEQ
}

N_CTX_PADDING = 256  # llama-context.cpp: `cparams.n_ctx = GGML_PAD(cparams.n_ctx, 256)`

# The tensors of a layer that llama-server's options of these names keep on the host (common/common.h,
# LLM_FFN_EXPS_REGEX and LLM_FFN_DENSE_REGEX). No tensor's name matches both.
KEPT_ON_HOST: Mapping[str, str] = {
    "n_cpu_moe": r"\.ffn_(up|down|gate|gate_up)_(ch|)exps",
    "n_cpu_ffn": r"\.ffn_(up|down|gate)\.",
}
_OPTIONS = {"n_cpu_moe": "-ncmoe", "n_cpu_ffn": "-ncffn"}  # llama-server's short names of these


class Placement(NamedTuple):
    """The settings that determine where a model's weights are."""

    n_gpu_layers: int
    n_cpu_moe: int = 0
    n_cpu_ffn: int = 0
    tensor_split: TensorSplit = ()

    @property
    def host_tensors(self) -> list[str]:
        """The patterns of the tensors that stay on the host, as llama-server makes them from its options."""
        return [
            rf"blk\.{layer}{pattern}" for name, pattern in KEPT_ON_HOST.items() for layer in range(getattr(self, name))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How llama.cpp runs one model.

    Attributes:
        n_gpu_layers: Layers on the device, counted as llama.cpp does: 0 is none, 1 is the output layer only, and
            n_layer + 1 is the whole model.
        n_ctx: The context of all `n_parallel` slots together, in tokens.
        n_cpu_moe: Keeps the experts of this many first layers on the host (llama-server's --n-cpu-moe), even if
            n_gpu_layers puts the rest of these layers on the device.
        n_cpu_ffn: The same for the feed-forward tensors that are no experts (--n-cpu-ffn).
        tensor_split: For several devices. Its canonical form is the number of layers on each of them; the output layer
            counts and is the last one.
        file: The name of the model's file. Empty for a model that has one file, where it is no setting.
    """

    n_gpu_layers: int
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_threads: int
    n_parallel: int = 1
    flash_attn: FlashAttention = "auto"
    type_k: CacheType = "f16"
    type_v: CacheType = "f16"
    n_cpu_moe: int = 0
    tensor_split: TensorSplit = ()
    file: str = ""
    n_cpu_ffn: int = 0

    def canonical(self, n_layer: int) -> "EngineSettings":
        """Return the settings that llama.cpp uses in effect for a model of `n_layer` repeating layers.

        The order is llama-context.cpp's: n_batch is clamped to the *requested* n_ctx, n_ubatch to that n_batch,
        and only then is n_ctx padded to 256 per slot.
        """
        n_batch = min(self.n_batch, self.n_ctx)
        n_ctx_slot = pad(pad(self.n_ctx, N_CTX_PADDING) // self.n_parallel, N_CTX_PADDING)
        n_gpu_layers = min(self.n_gpu_layers, n_layer + 1)
        n_host_layers = n_layer + 1 - n_gpu_layers  # all of their tensors are on the host anyway

        def kept(n_layers: int) -> int:
            return n if (n := min(n_layers, n_layer)) > n_host_layers else 0

        return replace(
            self,
            n_gpu_layers=n_gpu_layers,
            n_ctx=n_ctx_slot * self.n_parallel,
            n_batch=n_batch,
            n_ubatch=min(self.n_ubatch, n_batch),
            tensor_split=tuple(map(float, split_layers(self.tensor_split, n_gpu_layers))),
            n_cpu_moe=kept(self.n_cpu_moe),
            n_cpu_ffn=kept(self.n_cpu_ffn),
        )

    @property
    def slots_words(self) -> str:
        """The context as people read it: `4096`, or of several slots `4×1024`, since a request has one slot's."""
        return str(self.n_ctx) if self.n_parallel == 1 else f"{self.n_parallel}×{self.n_ctx // self.n_parallel}"

    @property
    def placement(self) -> Placement:
        """The settings that determine where a model's weights are."""
        return Placement(self.n_gpu_layers, self.n_cpu_moe, self.n_cpu_ffn, self.tensor_split)

    def memory_key(self, n_layer: int) -> "EngineSettings":
        """Return the canonical form with a fixed value for every setting that does not affect memory.

        Two settings with equal keys take the same memory: threads share the buffers, and a logical batch is
        decoded as a series of physical batches (llama-context.cpp, sched_reserve: n_tokens is n_ubatch).
        """
        canonical = self.canonical(n_layer)
        return replace(canonical, n_threads=1, n_batch=canonical.n_ubatch)

    def out_of_range(self) -> str | None:
        """Return which setting is out of range; None if none is."""
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                return f"{name} is {quoted(getattr(self, name))}, not a whole number from {least} to {most}"
        try:
            if self.tensor_split:
                parse_tensor_split(self.tensor_split)
        except ValueError as error:
            return str(error)
        return None

    def impossible(self) -> str | None:
        """Return why llama.cpp would refuse these settings whatever the memory, or None if it would not."""
        if self.flash_attn == "off" and self.type_v not in FLOAT_CACHE_TYPES:
            # llama-context.cpp: "V cache quantization requires flash_attn"
            return f"type_v = {self.type_v} needs flash attention, and flash_attn is off"
        return None

    def written(self, name: str) -> int | str:
        """Return one setting as users write it: proportions like `"3,1"`, the types of both caches like `"q8_0/q4_0"`,
        and any other value unchanged."""
        if name == CACHE_TYPES:
            return f"{self.type_k}/{self.type_v}"
        value: int | str = getattr(self, name)
        return format_tensor_split(self.tensor_split) if name == "tensor_split" else value

    def layers(self, n_layer: int) -> str:
        """Return where a model of `n_layer` repeating layers is, such as `37/37 -ncffn 12`, as people read it."""
        split = f"{self.written('tensor_split')}: " if self.tensor_split else ""
        kept = (f" {option} {n}" for name, option in _OPTIONS.items() if (n := getattr(self, name)))
        return f"{split}{self.n_gpu_layers}/{n_layer + 1}{''.join(kept)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, without those of `LEFT_OUT` that have their default."""
        settings = asdict(self)
        return {name: each for name, each in settings.items() if name not in LEFT_OUT or each != LEFT_OUT[name]}


_FIRST_OPTIONAL = ("n_parallel", "flash_attn", "type_k", "type_v", "n_cpu_moe")
# Settings that files leave out at their default, because older files do not have them.
LEFT_OUT: Mapping[str, Any] = {
    each.name: each.default
    for each in fields(EngineSettings)
    if each.default is not MISSING and each.name not in _FIRST_OPTIONAL
}


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """The settings of every model, in the config's order. Behaves as a read-only mapping and is hashable."""

    models: tuple[tuple[str, EngineSettings], ...]

    @classmethod
    def of(cls, models: Mapping[str, EngineSettings]) -> "SplitSettings":
        return cls(tuple(models.items()))

    def __getitem__(self, name: str) -> EngineSettings:
        return dict(self.models)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(name for name, _ in self.models)

    def __len__(self) -> int:
        return len(self.models)

    def items(self) -> Iterator[tuple[str, EngineSettings]]:
        return iter(self.models)

    def with_layers(self, model: str, n_gpu_layers: int) -> "SplitSettings":
        """Return the settings with another number of layers of `model` on the device."""
        changed = replace(self[model], n_gpu_layers=n_gpu_layers)
        return SplitSettings(tuple((name, changed if name == model else engine) for name, engine in self.models))

    def canonical(self, n_layers: Mapping[str, int]) -> "SplitSettings":
        """Return the canonical form of every model; `n_layers` are the repeating layers by `variant`."""
        return SplitSettings(
            tuple((name, engine.canonical(n_layers[variant(name, engine.file)])) for name, engine in self.models)
        )

    def impossible(self) -> str | None:
        """Return the first model's reason why llama.cpp would refuse these settings, or None."""
        reasons = (f"{name}: {why}" for name, engine in self.models if (why := engine.impossible()))
        return next(reasons, None)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        return {name: engine.as_dict() for name, engine in self.models}


def variant(model: str, file: str) -> str:
    """Return the key of a model with one of its files, like `code/B.gguf`; of a model with one file, its name."""
    return f"{model}/{file}" if file else model


def model_and_file(key: str) -> tuple[str, str]:
    """Return the model and the file of a `variant`; of a model with one file, the file is empty."""
    model, _, file = key.partition("/")
    return model, file


def parse_tensor_split(written: str | Sequence[float]) -> TensorSplit:
    """Return proportions from llama.cpp's form, like `"3,1"`, or from numbers.

    Raises:
        ValueError: they are not proportions; the message says how to write them.
    """
    parts = re.split(r"[,/]", written) if isinstance(written, str) else written
    try:
        proportions = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        proportions = ()
    if not any(proportions) or not all(0 <= each <= _MOST_PROPORTION for each in proportions):
        raise ValueError(f"{quoted(written)} is not a split of layers; write one proportion for each device, like 3,1")
    return proportions


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


def format_tensor_split(proportions: TensorSplit) -> str:
    """Return proportions in the form of llama-server's --tensor-split."""
    return ",".join(f"{each:.12g}" for each in proportions)


def split_layers(proportions: TensorSplit, n_gpu_layers: int) -> tuple[int, ...]:
    """Return how many of `n_gpu_layers` layers each device gets; the first device gets the first layers.

    It is computed as in llama-model.cpp (load_tensors, get_layer_buft_list), in 32 bits: the cumulative proportions are
    divided by their sum, and a layer goes to the first device whose share ends after it. The result is empty without
    layers or without a second device.
    """
    if n_gpu_layers == 0 or len(proportions) < 2:
        return ()
    sums = list(accumulate(map(_float32, proportions), lambda total, each: _float32(total + each)))
    ends = [_float32(each / sums[-1]) for each in sums]
    devices = [bisect_right(ends, _float32(layer / n_gpu_layers)) for layer in range(n_gpu_layers)]
    return tuple(devices.count(device) for device in range(len(proportions)))


def _float32(value: float) -> float:
    """Round to a C float. For a sum or quotient of two floats, rounding the 64-bit result is exact."""
    rounded: float = unpack("f", pack("f", value))[0]
    return rounded
