"""Bytes of one model on one device, by what they are for: the split that a plan and a measured trial share."""

from dataclasses import dataclass

HOST = "host"
GPU = "gpu0"  # of several devices the first


def device_name(index: int) -> str:
    """Return how the device of that number is called, in the order of `tensor_split`."""
    return f"gpu{index}"


LOG_ERROR_BYTES = 5243  # half of 0.01 MiB, rounded up: what a figure of llama.cpp's log may be off by


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """One model's buffers on one device, in bytes. Those read from llama.cpp's log may each be off by
    `LOG_ERROR_BYTES`."""

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
    """Return what one model keeps in RAM of its host buffers, for a container's limit.

    Repacked weights are copies, and the kernel drops their mapped originals under pressure. What stays hot is every
    host tensor once, at most the file.
    """
    return on_host.total_bytes - on_host.weights_bytes + min(on_host.weights_bytes, file_bytes)
