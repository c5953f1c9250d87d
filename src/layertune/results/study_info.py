"""A study as result.json has it, without its trials."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from layertune.config.model_config import workload_words
from layertune.config.objective import KL_DIVERGENCE, SCORE
from layertune.results.figures import (
    AtLeastOne,
    Bytes,
    BytesMore,
    Count,
    Engine,
    Figure,
    Large,
    LayerCount,
    NotNegative,
    Number,
)
from layertune.results.trial_info import OfDevices, Part
from layertune.settings import EngineSettings, variant


def _bare(name: str) -> str:
    """Refuse what leads out of the folder of the models: exports put the name behind that folder's."""
    if name in ("", ".", "..") or PurePath(name).name != name:
        raise ValueError(f"{name!r} is no file's name; write it without a folder")
    return name


# Exports put these names into commands.
GPU_NAME = r"^[A-Za-z0-9]{1,32}$"

FileName = Annotated[str, AfterValidator(_bare)]


class LlamaCpp(Part):
    version: str
    commit: str


# What the time of a generated token includes: decoding alone, or also llama-server's default samplers.
Generation = Literal["decode", "sampled"]
GENERATION_WORDS: dict[Generation, str] = {"decode": "decoding alone", "sampled": "decoding and sampling"}


class StudyInfo(Part):
    """A study and what made it. Older results have no `generation`: they timed decoding alone."""

    name: str
    created: str
    sampler: str
    seed: Large
    layertune_version: str
    llama_cpp: LlamaCpp
    generation: Generation = "decode"


class GpuInfo(Part):
    """One GPU of a study: its name in llama.cpp, like CUDA1, and its number for nvidia-smi and containers."""

    device: str = Field(pattern=GPU_NAME)
    nvidia_index: Count | None = None


class DeviceInfo(Part):
    kind: Literal["gpu", "emulated", "cpu"]
    name: str
    vram_bytes: Bytes | None
    driver: str | None
    # An emulated card's threads; not in its repr, of which the fingerprints of earlier results are made.
    n_threads: AtLeastOne | None = Field(default=None, repr=False)
    # Of GPUs only, and of results since these are recorded: llama.cpp's backend, and each GPU in the order of its use.
    backend: str | None = Field(default=None, repr=False, pattern=GPU_NAME)
    gpus: list[GpuInfo] | None = Field(default=None, repr=False, min_length=1)


class CpuInfo(Part):
    model: str
    n_cores: AtLeastOne


class HardwareInfo(Part):
    fingerprint: str
    device: DeviceInfo
    cpu: CpuInfo
    ram_bytes: Bytes


class ModelInfo(Part):
    """A model that a study measured. `file` and `sha256` are of its first file, `further_sha256` of the other parts of
    a split model."""

    file: FileName
    sha256: str
    architecture: str
    n_layer: LayerCount
    file_bytes: Bytes
    quantization: str | None
    further_sha256: list[str] | None = None


def variants(models: Mapping[str, ModelInfo], files: Mapping[str, Mapping[str, ModelInfo]]) -> dict[str, ModelInfo]:
    """Return models with each of their files, by `variant`."""
    each_files = {name: files.get(name) or {"": model} for name, model in models.items()}
    return {variant(name, file): model for name, each in each_files.items() for file, model in each.items()}


def files_of(settings: Mapping[str, EngineSettings]) -> list[str]:
    """Return the names of the files that engines load."""
    return [engine.file for engine in settings.values()]


class QualityInfo(Part):
    """What a file with its cache types costs in quality, against the file `reference` with an f16 cache.

    `unknown` says why nothing was measured. Only `bits_per_byte` compares different models; `not_comparable` says why
    there is no divergence then. `score` is the user's own. Where only scores are known, the reference has the best.
    """

    file: FileName
    reference: FileName
    reference_is_named: bool = False  # by the user; else it is the best file
    type_k: str
    type_v: str
    kl_divergence: NotNegative | None = None
    standard_error: NotNegative | None = None
    top1_agreement: NotNegative | None = None
    ln_ppl_change: Figure | None = None
    bits_per_byte: NotNegative | None = None
    is_visible: bool | None = None  # whether the divergence is at least twice that of rounding alone
    by_kind: dict[str, NotNegative] = Field(default_factory=dict)  # the KL divergence on each kind of text
    text_sha256: dict[str, str] = Field(default_factory=dict)
    text_weights: dict[str, NotNegative] = Field(default_factory=dict)  # by kind; empty where all count equally
    unknown: str | None = None
    not_comparable: str | None = None
    score: NotNegative | None = None

    def value(self, quantity: str) -> float | None:
        """Return what a floor of this name is compared with; None if it is not known."""
        if quantity == SCORE:
            return self.score
        return self.kl_divergence if quantity == KL_DIVERGENCE else self.bits_per_byte

    @property
    def cache_types(self) -> str:
        """The types of the K and the V cache, as users write them."""
        return f"{self.type_k}/{self.type_v}"

    @property
    def is_reference(self) -> bool:
        """Whether the others are compared with it."""
        return (self.file, self.type_k, self.type_v) == (self.reference, "f16", "f16")


class WorkloadInfo(Part):
    """`n_generate` is 0 for an embedding or reranking model."""

    n_prompt: AtLeastOne
    n_generate: Count

    @property
    def n_counted(self) -> int:
        """As `Workload.n_counted`."""
        return self.n_generate if self.n_generate else self.n_prompt

    @property
    def words(self) -> str:
        """The workload for people."""
        return workload_words(self.n_prompt, self.n_generate)


class BudgetInfo(OfDevices):
    """`devices` is the budget of each of several devices; `vram_bytes` is then that of all, the margin each one's."""

    vram_bytes: Bytes | None
    margin_bytes: Bytes
    devices: list[Bytes] | None = Field(default=None, min_length=2)

    def capacity_bytes(self) -> int | None:
        """Return what a trial may take of all devices, None where there is no limit."""
        n_devices = 1 if self.devices is None else len(self.devices)
        return None if self.vram_bytes is None else self.vram_bytes - n_devices * self.margin_bytes


class HostLimitsInfo(Part):
    """What each model's container may use of the host; None is all of it."""

    n_cpus: AtLeastOne | None
    ram_per_model_bytes: Bytes | None


class ObjectiveInfo(Part):
    name: str
    direction: Literal["maximize", "minimize"]


class PlanInfo(Part):
    """What was known of memory before the first trial, and what trials corrected it by, in bytes."""

    n_settings: Large
    n_feasible: Large
    overhead_bytes: Bytes
    headroom_bytes: Bytes
    n_trials: Count
    room_bytes: BytesMore | None = None  # for buffers, of all devices: without margin, overheads and headroom


class ComparisonInfo(Part):
    """The ratio and its 95 % interval; a difference is clear where the interval leaves out 1."""

    ratio: NotNegative
    low: NotNegative | None
    high: NotNegative | None
    clear: bool


class BaselineInfo(Part):
    """A setting to beat, the trial that measured it, and its planned bytes; None where there is none.

    `balanced` is how many times as fast the balanced pick is, by model, measured in the same rounds.
    """

    settings: dict[str, Engine] | None
    trial: Number | None
    planned_bytes: Bytes | None
    note: str
    balanced: dict[str, ComparisonInfo] = Field(default_factory=dict)


class PriceInfo(Part):
    """How many times as fast a picked trial is as the same pick among the trials with the reference files, by model.

    A ratio has no interval where the two were not measured in the same rounds.
    """

    trial: Number
    reference_trial: Number
    speeds: dict[str, ComparisonInfo]


class ReferenceInfo(Part):
    """The reference setting measured after `n_trials` trials: tokens/s by model, and relative to the first time."""

    n_trials: Count
    tokens_per_s: dict[str, NotNegative]
    relative: dict[str, NotNegative]


class ClockInfo(Part):
    """Where the seconds of the last run went. `overhead_s` is everything that was not llama.cpp's work."""

    wall_s: NotNegative
    load_s: NotNegative
    warm_up_s: NotNegative
    measure_s: NotNegative
    unload_s: NotNegative
    overhead_s: Figure
