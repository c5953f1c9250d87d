"""The part of the study config that is about one model: its files, its workload and its search space."""

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from layertune.config.dimension import (
    ALL,
    CachePairDimension,
    CacheTypeDimension,
    FlashAttentionDimension,
    IntDimension,
    IntRange,
    LayerDimension,
    OverridesDimension,
    SplitDimension,
    SwitchDimension,
    dimension_values,
    parse_cache_types,
)
from layertune.config.fields import Table, Within
from layertune.pooling import Kind, Pooling
from layertune.settings import RANGES, CacheType
from layertune.units import quoted

_MAX_N_CTX = RANGES["n_ctx"][1]
TRAINED = 0  # as a context: what the model was trained with, as in llama-server
AUTO = "auto"  # as a space: what is searched follows from the model's header, the device and the budget
_FILES = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})


def _as_paths(written: Any) -> Any:
    """Return a list of paths; a single one may be written without brackets."""
    files = [written] if isinstance(written, (str, Path)) else written
    _check_names(files, 'a path, a pattern like "qwen-*.gguf", or a list of them')
    return files


def _check_names(files: Any, what: str) -> None:
    if (
        not isinstance(files, list)
        or not files
        or not all(isinstance(each, (str, Path)) and str(each) for each in files)
    ):
        raise ValueError(f"{quoted(files)} names no file; write {what}")


class Workload(Table):
    """The request whose speed matters for one model."""

    n_prompt: Annotated[int, Within(1, _MAX_N_CTX)] = Field(default=512, description="Prompt tokens of one request.")
    n_generate: Annotated[int, Within(0, _MAX_N_CTX)] = Field(
        default=128, description="Tokens generated in answer to it, at least 2; 0 for an embedding or reranking model."
    )

    @field_validator("n_generate")
    @classmethod
    def _check_n_generate(cls, n_generate: int) -> int:
        if n_generate == 1:
            raise ValueError("1 is too few to time a generated token; write at least 2")
        return n_generate

    @property
    def n_tokens(self) -> int:
        return self.n_prompt + self.n_generate

    @property
    def n_counted(self) -> int:
        """The tokens that tokens_per_s counts: the generated ones, or without any those of the prompt."""
        return self.n_generate if self.n_generate else self.n_prompt

    @property
    def words(self) -> str:
        """The workload for people."""
        return workload_words(self.n_prompt, self.n_generate)


def workload_words(n_prompt: int, n_generate: int) -> str:
    """Return a workload for people: `512 prompt + 128 generated tokens`, or `512 prompt tokens`."""
    return f"{n_prompt} prompt{f' + {n_generate} generated' if n_generate else ''} tokens"


class ModelSpace(Table):
    """The settings to search for one model: a value fixes a dimension, a list or a range searches it."""

    auto: bool = Field(
        default=False,
        description="true searches what the model's header, the device and the budget make worth searching; keys that "
        'are written here win. `space = "auto"`, or no space, is the same as this key alone.',
    )
    file: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="Which of the model's `files` to search, by name; without it, all of them."
    )
    n_gpu_layers: Annotated[LayerDimension, Within.of_setting("n_gpu_layers", ALL)] = Field(
        default=IntRange(), description='Layers on the GPU: 0 is none, 1 the output layer only, "all" the whole model.'
    )
    n_cpu_moe: Annotated[LayerDimension, Within.of_setting("n_cpu_moe", ALL)] = Field(
        default=0, description="First layers whose experts stay on the host; for mixture-of-experts models."
    )
    n_cpu_ffn: Annotated[LayerDimension, Within.of_setting("n_cpu_ffn", ALL)] = Field(
        default=0,
        description="First layers whose feed-forward tensors stay on the host, while attention and cache are where "
        "n_gpu_layers puts them; not the experts.",
    )
    n_ctx: Annotated[IntDimension, Within(TRAINED, _MAX_N_CTX)] = Field(
        default=4096,
        description="Context in tokens, of all parallel slots together; 0 is what the model was trained with, for each "
        "slot. More than that is refused.",
    )
    n_batch: Annotated[IntDimension, Within.of_setting("n_batch")] = Field(
        default_factory=lambda: [256, 512, 1024, 2048],
        description="Logical batch: prompt tokens per llama_decode call.",
    )
    n_ubatch: Annotated[IntDimension, Within.of_setting("n_ubatch")] = Field(
        default=512, description="Physical batch: tokens per compute graph."
    )
    n_threads: Annotated[IntDimension | None, Within.of_setting("n_threads")] = Field(
        default=None,
        description="CPU threads; without it, an equal share of the physical performance cores, at most host.n_cpus: "
        "models and emulated card together never compute with more threads than there are such cores.",
    )
    n_threads_batch: Annotated[IntDimension | None, Within.of_setting("n_threads_batch")] = Field(
        default=None, description="CPU threads that compute prompts; without it, n_threads."
    )
    flash_attn: FlashAttentionDimension = Field(default="auto", description="on, off, or llama.cpp's own choice.")
    type_k: CacheTypeDimension = Field(default="f16", description="Data type of the K cache.")
    type_v: CacheTypeDimension = Field(default="f16", description="Data type of the V cache.")
    cache_types: CachePairDimension | None = Field(
        default=None,
        description="Pairs of types of the K and the V cache. They replace type_k and type_v, which are combined "
        'freely. ["f16", "q8_0", "q8_0/q4_0"] are three pairs; a single type is for both.',
    )
    kv_offload: SwitchDimension = Field(
        default="on",
        description="off keeps the KV cache of all layers on the host, with the attention that reads it.",
    )
    op_offload: SwitchDimension = Field(
        default="on",
        description="off leaves large prompt batches of the host's layers to the host, which a GPU computes otherwise.",
    )
    kv_unified: SwitchDimension = Field(
        default="off",
        description="on gives all n_parallel slots one KV cache, where each may fill all of n_ctx; off divides n_ctx.",
    )
    tensor_overrides: OverridesDimension = Field(
        default=(),
        description="Tensors that stay on the host although their layers are on a device, by patterns of their names, "
        r'like ["blk\.[0-3]\.ffn_up=CPU"] (--override-tensor of llama-server). A list of such lists is a choice.',
    )
    tensor_split: SplitDimension | None = Field(
        default=None,
        description="With several devices, each one's part of the layers on them, like \"3,1\" (llama-server's "
        "--tensor-split); without it, in proportion to the budgets, and all on one device, each of them.",
    )

    @model_validator(mode="after")
    def _check_cache_types(self) -> "ModelSpace":
        if self.cache_types is not None and (self.type_k, self.type_v) != ("f16", "f16"):
            raise ValueError("cache_types and type_k or type_v are both there; leave one out")
        return self

    @field_validator("file", mode="before")
    @classmethod
    def _check_file(cls, file: Any) -> Any:
        if file is not None:
            _check_names(file if isinstance(file, list) else [file], "a file's name, or a list of them")
        return file


# The keys that are settings of a model.
DIMENSIONS = tuple(field for field in ModelSpace.model_fields if field != "auto")


class _OrAuto:
    """Lets a table with `auto = true` be written as "auto"."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._table, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"const": AUTO}, handler(core)]}

    def _table(self, written: Any) -> Any:
        if isinstance(written, str) and written != AUTO:
            raise ValueError(f'{quoted(written)} is no space; write "auto", or a table')
        return {"auto": True} if written == AUTO else written


class ModelConfig(Table):
    """One model to tune."""

    path: Path | None = Field(
        default=None, description="The GGUF file (of a split model, its first file); relative to the config file."
    )
    files: Annotated[list[Path], Field(min_length=1), BeforeValidator(_as_paths), _FILES] | None = Field(
        default=None,
        description="Instead of `path`, several files to search, such as quantizations of one model or models of "
        'different sizes: a list, or a pattern like "qwen-*.gguf". The first one is the one of the baselines.',
    )
    reference: Path | None = Field(
        default=None,
        description="What the quality of the files is measured against: the name of one of them, or another file's "
        "path; without it, the best of them.",
    )
    quality: dict[str, Annotated[float, Within(0.0, 1e9)]] = Field(
        default_factory=dict,
        description='Your own score of each file, more being better, like { "A.gguf" = 0.71, "B.gguf" = 0.64 }. It '
        "replaces the measured quality unless cache types are searched.",
    )
    texts: dict[Literal["english", "korean", "code"], Annotated[float, Within(0.001, 1000.0)]] | None = Field(
        default=None,
        min_length=1,
        description="The kinds of layertune's texts that the quality of the files is measured on, and how much each "
        "counts, like { code = 3, english = 1 }. Without it all kinds count equally; if the model has the name of one, "
        "like `code`, this one counts as much as the others together.",
    )
    kind: Kind | None = Field(
        default=None, description="generation, embedding or reranking; without it, what the model's header says."
    )
    pooling: Pooling | None = Field(
        default=None,
        description="How an embedding model makes one vector of a prompt: mean, cls or last; without it, as its header "
        "says. A reranking model's is rank.",
    )
    n_parallel: Annotated[int, Within.of_setting("n_parallel")] = Field(
        default=1, description="Request slots of the server that will be deployed."
    )
    workload: Workload = Field(default_factory=Workload)
    space: Annotated[ModelSpace, _OrAuto()] = Field(default_factory=lambda: ModelSpace(auto=True))

    @model_validator(mode="before")
    @classmethod
    def _generates_nothing(cls, table: Any) -> Any:
        """Add the workload of a named embedding or reranking model: it has no generated tokens."""
        if not isinstance(table, dict) or table.get("kind") not in ("embedding", "reranking"):
            return table
        workload = table.get("workload", {})
        return table | {"workload": {"n_generate": 0, **workload}} if isinstance(workload, dict) else table

    @model_validator(mode="after")
    def _check_files(self) -> "ModelConfig":
        if (self.path is None) == (self.files is None):
            both = "path and files are both there; leave one of them out"
            raise ValueError("path is missing; add it, or files" if self.files is None else both)
        if self.path is not None and self.space.file not in (None, self.path.name):
            raise ValueError(f"space.file is {self.space.file}, and the only file is {self.path.name}; write files")
        return self

    @property
    def most_threads(self) -> int | None:
        """The most threads that the config gives the model; None if it leaves n_threads open."""
        if self.space.n_threads is None:
            return None
        written = (self.space.n_threads, self.space.n_threads_batch)
        most: int = max(n for each in written if each is not None for n in dimension_values(each))
        return most

    @property
    def paths(self) -> dict[str, Path]:
        """The files to search by their names; of a single one, the name is empty."""
        if self.path is not None:
            return {"": self.path}
        chosen = self.space.file if isinstance(self.space.file, list) else [self.space.file]
        files = [path for path in self.files or () if self.space.file is None or path.name in chosen]
        return {path.name: path for path in files} if len(files) > 1 else {"": files[0]}

    @property
    def cache_types(self) -> list[tuple[CacheType, CacheType]]:
        """The types of the K and the V cache to search, in pairs."""
        space = self.space
        if space.cache_types is None:
            return list(product(dimension_values(space.type_k), dimension_values(space.type_v)))
        return list(map(parse_cache_types, dict.fromkeys(dimension_values(space.cache_types))))
