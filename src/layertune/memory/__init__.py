"""Bytes that a setting takes on each device, computed before anything is loaded.

This room does not import llama.cpp. What only llama.cpp knows is passed in as values: `TensorInventory`, `Projection`.
"""

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
