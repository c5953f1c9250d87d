"""The exception for a refusal of llama.cpp. The worker turns it into the outcome of the trial."""

from collections.abc import Sequence
from typing import Literal

Stage = Literal["load", "kv_cache", "compute", "decode"]


class EngineRefused(Exception):
    """llama.cpp returned no model, no context or an error code.

    The reason may be memory or something else: `trial.evidence.classify` decides that from the log.
    """

    def __init__(self, stage: Stage, detail: str) -> None:
        super().__init__(detail)
        self.stage: Stage = stage
        self.detail = detail


def refused_stage(lines: Sequence[str]) -> Stage:
    """Return the stage at which creating a context stopped, from the last log line that names one.

    For the cache, llama.cpp logs "failed to allocate buffer for kv cache" (or "rs cache"). For compute buffers it names
    them (llama-context.cpp). A log with neither counts as the compute buffers.
    """
    for line in reversed(lines):
        if "kv cache" in line or "rs cache" in line:
            return "kv_cache"
        if "compute" in line:
            return "compute"
    return "compute"
