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
    """Say what creating a context stopped at, by the last line that names it (llama-context.cpp): the memory module's
    "failed to allocate buffer for kv cache", or rs cache, else the compute buffers."""
    for line in reversed(lines):
        if "kv cache" in line or "rs cache" in line:
            return "kv_cache"
        if "compute" in line:
            return "compute"
    return "compute"
