"""Random weights that llama.cpp can compute with: every block has small, finite scales and random integers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from layertune.errors import ModelFileError
from layertune.models.ggml_types import TENSOR_TYPE_NUMBERS, TENSOR_TYPES
from layertune.models.gguf_writer import TensorSpec

# For each type, the byte offset of its half-precision scales in a block (ggml/src/ggml-common.h), and their value. It
# keeps the weights near 0.02, like trained ones: 0.02 divided by the root mean square of the type's random integers.
_HALF_SCALES: dict[str, dict[int, float]] = {
    "Q4_0": {0: 4e-3},
    "Q4_1": {0: 4e-3, 2: -3e-2},
    "Q5_0": {0: 2e-3},
    "Q5_1": {0: 2e-3, 2: -3e-2},
    "Q8_0": {0: 3e-4},
    "Q2_K": {80: 2e-3, 82: 2e-3},
    "Q3_K": {108: 5e-4},
    "Q4_K": {0: 1e-4, 2: 7e-4},
    "Q5_K": {0: 5e-5, 2: 7e-4},
    "Q6_K": {208: 1.5e-5},
    "IQ1_S": {0: 2e-3},
    "IQ2_XXS": {0: 2e-4},
    "IQ2_XS": {0: 2e-4},
    "IQ2_S": {0: 2e-4},
    "IQ3_XXS": {0: 2e-4},
    "IQ3_S": {0: 2e-4},
    "IQ4_NL": {0: 3e-4},
    "IQ4_XS": {0: 1e-5},
    "TQ1_0": {52: 2e-2},
    "TQ2_0": {64: 2e-2},
}
# The same for the types whose blocks begin with scales of one byte: an exponent (E8M0), four small floats (UE4M3).
_BYTE_SCALES: dict[str, bytes] = {
    "MXFP4": bytes([120]),
    "NVFP4": bytes([4] * 4),
}
_WEIGHT_SIGMA = 0.02
_POOL_BYTES = 8 * 2**20
_FLOATS = ("F32", "F16", "BF16")


class RandomWeights:
    """Fills tensors from one pool of random blocks per type. Each tensor starts at another block of the pool."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._pools: dict[str, NDArray[np.uint8]] = {}

    def fill(self, tensor: TensorSpec) -> Iterator[bytes]:
        """Yield the tensor's bytes, at most a pool's size at a time.

        Norms and the factors of rotary embeddings are 1, and the decay of state-space layers is -1, so that activations
        neither vanish nor grow.

        Raises:
            ModelFileError: the layout of this type's blocks is not known.
        """
        constant = _constant(tensor.name)
        if constant is not None and tensor.type in _FLOATS:
            yield _floats(np.full(tensor.shape, constant, dtype=np.float32), tensor.type).tobytes()
            return
        pool = self._pool(tensor.type)
        n_blocks = tensor.n_bytes // pool.shape[1]
        at = int(self._generator.integers(len(pool)))
        while n_blocks > 0:
            piece = pool[at : at + n_blocks]
            yield piece.tobytes()
            n_blocks -= len(piece)
            at = 0

    def _pool(self, name: str) -> NDArray[np.uint8]:
        if name not in self._pools:
            self._pools[name] = self._new_pool(name)
        return self._pools[name]

    def _new_pool(self, name: str) -> NDArray[np.uint8]:
        """Return an array of blocks, shape (n_blocks, block_bytes)."""
        block_bytes = TENSOR_TYPES[TENSOR_TYPE_NUMBERS[name]].block_bytes
        n_blocks = _POOL_BYTES // block_bytes
        if name in _FLOATS:
            weights = self._generator.normal(0, _WEIGHT_SIGMA, n_blocks).astype(np.float32)
            return _floats(weights, name).view(np.uint8).reshape(n_blocks, block_bytes)
        if name not in _HALF_SCALES and name not in _BYTE_SCALES:
            raise ModelFileError(f"no stand-in has {name} tensors yet", remedy="choose a model in another quantization")
        blocks = self._generator.integers(0, 256, (n_blocks, block_bytes), dtype=np.uint8)
        for offset, scale in _HALF_SCALES.get(name, {}).items():
            blocks[:, offset : offset + 2] = np.array([scale], dtype=np.float16).view(np.uint8)
        scales = _BYTE_SCALES.get(name, b"")
        blocks[:, : len(scales)] = np.frombuffer(scales, dtype=np.uint8)
        return blocks


def _constant(name: str) -> float | None:
    """Return the value of a tensor that must not be random, None for all others (names: src/llama-arch.cpp)."""
    if name.endswith("norm.weight") or name.startswith(("rope_freqs.", "rope_factors_")):
        return 1.0
    return -1.0 if name.endswith(".ssm_a") else None


def _floats(values: NDArray[np.float32], name: str) -> NDArray[np.generic]:
    if name == "F32":
        return values
    if name == "F16":
        return values.astype(np.float16)
    return (values.view(np.uint32) >> 16).astype(np.uint16)  # BF16: the upper half of a float
