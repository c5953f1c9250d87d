"""The settings of a trial: one model's engine, and the split of all models.

Names are llama.cpp's own. Two settings that llama.cpp runs as the same engine have the same `canonical()` form.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from layertune.pooling import Pooling
from layertune.tensor_overrides import TensorOverrides, format_tensor_overrides, parse_tensor_overrides, patterns
from layertune.tensor_split import TensorSplit, format_tensor_split, parse_tensor_split, split_layers
from layertune.units import pad, quoted

FlashAttention = Literal["auto", "on", "off"]
Switch = Literal["on", "off"]
OFFLOAD_SWITCHES = ("kv_offload", "op_offload")
SWITCHES = (*OFFLOAD_SWITCHES, "kv_unified")
TENSOR_OVERRIDES = "tensor_overrides"
CACHE_TYPES = "cache_types"  # type_k and type_v as one setting, like "q8_0/q4_0"
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

FLOAT_CACHE_TYPES = frozenset({"f32", "f16", "bf16"})

# The range of each numeric setting: what llama.cpp accepts, or more than any model or machine has.
RANGES: Mapping[str, tuple[int, int]] = {
    "n_gpu_layers": (0, 2**31 - 1),  # llama.h: an int32
    "n_cpu_moe": (0, 2**31 - 1),
    "n_cpu_ffn": (0, 2**31 - 1),
    "n_ctx": (1, 2**24),  # Llama 4 Scout's 10 million tokens; llama.cpp keeps about 50 bytes for each
    "n_batch": (1, 2**20),
    "n_ubatch": (1, 2**20),
    "n_threads": (1, 512),  # ggml.h: GGML_MAX_N_THREADS
    "n_threads_batch": (1, 512),
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
    tensor_overrides: TensorOverrides = ()

    @property
    def host_tensors(self) -> list[str]:
        """The patterns of the tensors that stay on the host, as llama-server makes them from its options."""
        return patterns(self.tensor_overrides) + [
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
        n_threads_batch: The threads that compute prompts (--threads-batch); None for n_threads.
        kv_offload: Whether the caches and recurrent states of the device's layers are there; "off" keeps all of them on
            the host (--no-kv-offload).
        op_offload: Whether a GPU computes large batches of the host's weights, too; "off" leaves them to the host
            (--no-op-offload).
        kv_unified: Whether the slots share one cache, so that each may fill all of n_ctx (--kv-unified); "off" gives
            each its own part of n_ctx.
        tensor_overrides: Tensors that stay on the host, by patterns of their names (--override-tensor).
        file: The name of the model's file. Empty for a model that has one file, where it is no setting.
        pooling: How an embedding or reranking model makes one result of a prompt; empty for one that generates text.
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
    n_threads_batch: int | None = None
    kv_offload: Switch = "on"
    op_offload: Switch = "on"
    kv_unified: Switch = "off"
    tensor_overrides: TensorOverrides = ()
    pooling: Pooling = ""

    def canonical(self, n_layer: int) -> "EngineSettings":
        """Return the settings that llama.cpp uses in effect for a model of `n_layer` repeating layers.

        The order is llama-context.cpp's: n_batch is clamped to the *requested* n_ctx, n_ubatch to that n_batch,
        and only then is n_ctx padded to 256 per cache. For embeddings llama-server first lowers n_batch to n_ubatch.
        """
        n_batch = min(self.n_batch, self.n_ctx, *([self.n_ubatch] if self.pooling else []))
        kv_unified: Switch = self.kv_unified if self.n_parallel > 1 else "off"
        n_caches = 1 if kv_unified == "on" else self.n_parallel
        n_ctx_cache = pad(pad(self.n_ctx, N_CTX_PADDING) // n_caches, N_CTX_PADDING)
        n_gpu_layers = min(self.n_gpu_layers, n_layer + 1)
        n_host_layers = n_layer + 1 - n_gpu_layers  # all of their tensors are on the host anyway

        def kept(n_layers: int) -> int:
            return n if (n := min(n_layers, n_layer)) > n_host_layers else 0

        n_cpu_moe, n_cpu_ffn = kept(self.n_cpu_moe), kept(self.n_cpu_ffn)
        has_cache = n_gpu_layers > 1  # the first layer on the device is the output layer
        tensor_overrides = self.tensor_overrides if n_gpu_layers else ()
        # From a host without layers, only rows of the embedding are read (ggml-cuda.cu, get_op_batch_size).
        computes = n_host_layers or n_cpu_moe or n_cpu_ffn or tensor_overrides
        return replace(
            self,
            n_gpu_layers=n_gpu_layers,
            n_ctx=n_ctx_cache * n_caches,
            n_batch=n_batch,
            n_ubatch=min(self.n_ubatch, n_batch),
            tensor_split=tuple(map(float, split_layers(self.tensor_split, n_gpu_layers))),
            n_cpu_moe=n_cpu_moe,
            n_cpu_ffn=n_cpu_ffn,
            n_threads_batch=None if self.n_threads_batch == self.n_threads else self.n_threads_batch,
            kv_offload=self.kv_offload if has_cache else "on",
            op_offload=self.op_offload if computes else "on",
            kv_unified=kv_unified,
            tensor_overrides=tensor_overrides,
        )

    @property
    def n_caches(self) -> int:
        """How many caches n_ctx is divided into."""
        return 1 if self.kv_unified == "on" else self.n_parallel

    @property
    def n_ctx_slot(self) -> int:
        """The most tokens of one slot's context."""
        return self.n_ctx // self.n_caches

    @property
    def each_words(self) -> str:
        """Whether each slot has `n_ctx_slot` tokens of its own, for people."""
        return "together" if self.kv_unified == "on" else "each"

    @property
    def slots_words(self) -> str:
        """The context as people read it: `4096`; of several slots `4×1024`, or `4 in 4096` if they share one cache."""
        if self.n_parallel == 1:
            return str(self.n_ctx)
        return f"{self.n_parallel}{' in ' if self.n_caches == 1 else '×'}{self.n_ctx_slot}"

    @property
    def placement(self) -> Placement:
        """The settings that determine where a model's weights are."""
        return Placement(self.n_gpu_layers, self.n_cpu_moe, self.n_cpu_ffn, self.tensor_split, self.tensor_overrides)

    @property
    def prompt_threads(self) -> int:
        """The threads that compute prompts."""
        return self.n_threads if self.n_threads_batch is None else self.n_threads_batch

    @property
    def most_threads(self) -> int:
        """The most threads that compute at the same time."""
        return max(self.n_threads, self.prompt_threads)

    def with_threads(self, n_threads: int) -> "EngineSettings":
        """Return the settings with this number of threads for prompts and generated tokens."""
        return replace(self, n_threads=n_threads, n_threads_batch=None)

    def memory_key(self, n_layer: int) -> "EngineSettings":
        """Return the canonical form with a fixed value for every setting that does not affect memory.

        Two settings with equal keys take the same memory: threads share the buffers, and a logical batch is
        decoded as a series of physical batches (llama-context.cpp, sched_reserve: n_tokens is n_ubatch).
        """
        canonical = self.canonical(n_layer)
        return replace(canonical.with_threads(1), n_batch=canonical.n_ubatch)

    def out_of_range(self) -> str | None:
        """Return which setting is out of range; None if none is."""
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                return f"{name} is {quoted(value)}, not a whole number from {least} to {most}"
        try:
            if self.tensor_split:
                parse_tensor_split(self.tensor_split)
            parse_tensor_overrides(self.tensor_overrides)
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
        """Return one setting as users write it: proportions like `"3,1"`, overrides like `"PATTERN=CPU"`, the types of
        both caches like `"q8_0/q4_0"`, and any other value unchanged."""
        if name == CACHE_TYPES:
            return f"{self.type_k}/{self.type_v}"
        if name == TENSOR_OVERRIDES:
            return format_tensor_overrides(self.tensor_overrides)
        value: int | str = getattr(self, name)
        return format_tensor_split(self.tensor_split) if name == "tensor_split" else value

    def layers(self, n_layer: int) -> str:
        """Return where a model of `n_layer` repeating layers is, such as `37/37 -ncffn 12 -nkvo`, as people read it."""
        split = f"{self.written('tensor_split')}: " if self.tensor_split else ""
        kept = (f" {option} {n}" for name, option in _OPTIONS.items() if (n := getattr(self, name)))
        others = (" -ot" if self.tensor_overrides else "") + (" -nkvo" if self.kv_offload == "off" else "")
        return f"{split}{self.n_gpu_layers}/{n_layer + 1}{''.join(kept)}{others}"

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, without those of `LEFT_OUT` that have their default."""
        settings = asdict(self)
        return {name: each for name, each in settings.items() if name not in LEFT_OUT or each != LEFT_OUT[name]}


_FIRST_OPTIONAL = ("n_parallel", "flash_attn", "type_k", "type_v", "n_cpu_moe")
DEFAULTS: Mapping[str, Any] = {
    each.name: each.default for each in fields(EngineSettings) if each.default is not MISSING
}
# Settings that files leave out at their default, because older files do not have them.
LEFT_OUT: Mapping[str, Any] = {name: value for name, value in DEFAULTS.items() if name not in _FIRST_OPTIONAL}


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
