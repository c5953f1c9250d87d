"""Small models as shapes only: what the memory room's tests start from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layertune.memory import ModelMemory, Planner
from layertune.memory.kv_cache import layer_bytes
from layertune.memory.layer_rows import layer_rows
from layertune.memory.placement import TensorInventory
from layertune.memory.plan import Overhead
from layertune.memory.projection import CacheTotal, Projection, Projector
from layertune.models import ModelShape, TensorInfo
from layertune.models.ggml_types import ALIGNMENT
from layertune.models.gguf_writer import TensorSpec
from layertune.settings import EngineSettings

N_LAYER, N_EMBD, N_VOCAB = 4, 256, 1024


def shape(
    architecture: str = "qwen2",
    *,
    tied: bool = False,
    n_layer: int = N_LAYER,
    more: Sequence[TensorSpec] = (),
    **keys: Any,
) -> ModelShape:
    """Return a model of `n_layer` layers; `keys` are metadata with `__` for dots, `ssm__state_size` for one."""
    tensors = [TensorSpec("token_embd.weight", (N_EMBD, N_VOCAB), "Q8_0")]
    for layer in range(n_layer):
        tensors.append(TensorSpec(f"blk.{layer}.attn_q.weight", (N_EMBD, N_EMBD), "Q4_0"))
        tensors.append(TensorSpec(f"blk.{layer}.ffn_up_exps.weight", (N_EMBD, N_EMBD, 4), "Q4_0"))
    tensors.append(TensorSpec("output_norm.weight", (N_EMBD,), "F32"))
    tensors.append(TensorSpec("rope_freqs.weight", (16,), "F32"))
    if not tied:
        tensors.append(TensorSpec("output.weight", (N_EMBD, N_VOCAB), "Q6_K"))
    tensors += more
    defaults = {"attention.head_count": 8, "attention.head_count_kv": 2}
    metadata = defaults | {key.replace("__", "."): value for key, value in keys.items()}
    return ModelShape(
        files=(Path("a.gguf"),),
        architecture=architecture,
        name=None,
        quantization=None,
        file_bytes=sum(tensor.n_bytes for tensor in tensors),
        n_layer=n_layer,
        n_embd=N_EMBD,
        n_ctx_train=4096,
        tensors=tuple(TensorInfo(each.name, each.shape, each.type, each.n_bytes, 0) for each in tensors),
        metadata={f"{architecture}.{key}": value for key, value in metadata.items()},
    )


def engine(n_gpu_layers: int = 0, **changes: Any) -> EngineSettings:
    values: dict[str, Any] = {"n_ctx": 1024, "n_batch": 256, "n_ubatch": 256, "n_threads": 1}
    return EngineSettings(n_gpu_layers=n_gpu_layers, **values | changes)


def linear(model: ModelShape) -> Projector:
    """Return a projector whose compute buffers grow with all that llama.cpp's grow with, and whose caches are ours."""
    rows = layer_rows(model)

    def project(key: EngineSettings) -> Projection:
        on_device = key.n_gpu_layers * 1000 + key.n_ubatch * 100 + key.n_ctx * 10 if key.n_gpu_layers else 0
        layers = [] if rows is None else layer_bytes(rows, key, flash_attn=True, alignment_bytes=ALIGNMENT)
        caches = (CacheTotal(tuple(range(len(layers))), sum(layers), 0),)
        compute = {f"gpu{device}": on_device for device, _ in enumerate(key.tensor_split or (1,))}
        return Projection({**compute, "host": key.n_ubatch * 50}, 4096, caches, {}, flash_attn=True)

    return project


def planner(n_devices: int = 1, **shapes: ModelShape) -> Planner:
    models = {
        name: ModelMemory(each, TensorInventory.plain(each), linear(each), n_devices) for name, each in shapes.items()
    }
    return Planner(models, Overhead(0, "none in a test"), n_processes=len(models))
