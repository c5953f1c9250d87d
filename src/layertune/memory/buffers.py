"""Bytes of one model on one device, by what they are for: the split that a plan and a measured trial share."""

from dataclasses import dataclass

HOST = "host"
GPU = "gpu0"


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """One model's buffers on one device, in bytes. llama.cpp logs them to 0.01 MiB, so each may be off by 5 KiB."""

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
