"""Bytes of one model on one device, by their use. Memory plans and measured trials have the same parts."""

from dataclasses import dataclass

HOST = "host"
GPU = "gpu0"  # the first of several devices


def device_name(index: int) -> str:
    """Return the name of a device; `index` is its place in `tensor_split`."""
    return f"gpu{index}"


LOG_ERROR_BYTES = 5243  # half of 0.01 MiB, rounded up: the rounding error of a size in llama.cpp's log


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """One model's buffers on one device. A size read from llama.cpp's log may be off by `LOG_ERROR_BYTES`."""

    weights_bytes: int = 0
    kv_bytes: int = 0
    compute_bytes: int = 0
    output_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.output_bytes

    def __add__(self, other: "BufferBytes") -> "BufferBytes":
        return BufferBytes(
            self.weights_bytes + other.weights_bytes,
            self.kv_bytes + other.kv_bytes,
            self.compute_bytes + other.compute_bytes,
            self.output_bytes + other.output_bytes,
        )


def resident_bytes(on_host: BufferBytes, file_bytes: int) -> int:
    """Return how much of its host buffers one model keeps in RAM, to compare with a container's limit.

    Repacked weights are copies, and the kernel drops their mapped originals under memory pressure. So every host tensor
    counts once, and all of them together at most as much as the file.
    """
    return on_host.total_bytes - on_host.weights_bytes + min(on_host.weights_bytes, file_bytes)
