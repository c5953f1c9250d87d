"""What llama.cpp says when it cannot go on. Inside a worker these are exceptions; a trial turns them into outcomes."""

from collections.abc import Sequence
from typing import Literal

Stage = Literal["load", "kv_cache", "compute", "decode"]


class EngineRefused(Exception):
    """llama.cpp returned no model, no context or an error code. Whether memory was why, the evidence must tell."""

    def __init__(self, stage: Stage, detail: str) -> None:
        super().__init__(detail)
        self.stage: Stage = stage
        self.detail = detail


def refused_stage(lines: Sequence[str]) -> Stage:
    """Say what creating a context stopped at; KV cache comes before the compute buffers (llama-context.cpp)."""
    if any("kv cache" in line or "rs cache" in line for line in lines):
        return "kv_cache"
    return "compute"
