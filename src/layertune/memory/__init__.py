"""Bytes that a setting takes, per device, before anything is loaded. Knows no llama.cpp: what only llama.cpp can
say is handed in as values (`TensorInventory`, `Projection`)."""

from layertune.memory.buffers import GPU, HOST, BufferBytes, device_name
from layertune.memory.plan import MemoryPlan, ModelPlan, PlannedBytes
from layertune.memory.planner import EngineMemory, ModelMemory, Planner

__all__ = [
    "GPU",
    "HOST",
    "BufferBytes",
    "EngineMemory",
    "MemoryPlan",
    "ModelMemory",
    "ModelPlan",
    "PlannedBytes",
    "Planner",
    "device_name",
]
