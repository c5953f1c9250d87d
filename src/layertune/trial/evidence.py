"""Infeasible or failed? Only evidence of memory makes a trial infeasible; everything else has failed.

Evidence is a refusal that the device counted during the trial, or the last line that names a cause of the end, where
that cause is memory. Both are of this trial only: llama.cpp survives some refusals, and a worker runs several trials.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layertune.trial.messages import Stage
from layertune.trial.outcome import Failed, FailedReason, Infeasible, RefusedStage

if TYPE_CHECKING:  # Windows has no emulated card
    from layertune.devices.emulated.ledger import Ledger

# Where each is printed: llama-model.cpp (load_tensors), llama-kv-cache.cpp, llama-memory-recurrent.cpp and
# llama-context.cpp (sched_reserve) throw; ggml-alloc.c and ggml-backend.cpp log; ggml-cuda.cu and the CUDA, HIP,
# Vulkan, Metal and SYCL runtimes have words of their own.
_OUT_OF_MEMORY = re.compile(
    r"(unable|failed) to allocate"
    r"|out[ _]?of[ _]?((device|host)[ _]?)?memory"
    r"|cudamalloc failed"
    r"|alloc_failed"  # cuBLAS
    r"|insufficient memory"
    r"|bad_alloc",
    re.IGNORECASE,
)
_HARMLESS = re.compile("pinned memory", re.IGNORECASE)  # ggml-cuda.cu falls back to ordinary memory

# What the same places print for any other reason to stop. The C++ runtime prints what() of an exception.
_OTHER_CAUSE = re.compile(
    r"error loading model:"
    r"|failed to initialize the context:"
    r"|(cuda|rocm|musa|sycl|cann) error:"
    r"|ggml_assert\("
    r"|what\(\):"
    r"|^traceback \(most recent call last\):",
    re.IGNORECASE,
)

_LOG_TAIL_LINES = 20
_STAGES: dict[str, RefusedStage] = {"load": "load", "kv_cache": "kv_cache", "compute": "compute"}


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the device refused during a trial: how many allocations, and by how many bytes the last was too large."""

    n_refused: int
    excess_bytes: int


class RefusalCounter:
    """Counts what emulated cards refuse from now on; no other device counts."""

    def __init__(self, ledgers: Sequence["Ledger"]) -> None:
        self._before = [(ledger, ledger.state().n_refused) for ledger in ledgers]

    def count(self) -> Refusals | None:
        """Return what was refused since, None without an emulated card."""
        if not self._before:
            return None
        refusing = [
            (card.n_refused - n_before, card.excess_bytes)
            for ledger, n_before in self._before
            if (card := ledger.state()).n_refused > n_before
        ]
        return Refusals(sum(n for n, _ in refusing), max((excess_bytes for _, excess_bytes in refusing), default=0))


def classify(
    stage: Stage,
    detail: str,
    log: Sequence[str],
    refusals: Refusals | None,
    duration_s: float,
    *,
    reason: FailedReason,
    refused_stage: RefusedStage | None = None,
) -> Infeasible | Failed:
    """Return what became of a trial that ended at `stage` without figures; `log` and `refusals` are the trial's own.

    `refused_stage` is where llama.cpp itself said it stopped; without it the worker's last stage counts. `reason` is
    what to call it without evidence of memory.
    """
    line = out_of_memory_line([detail, *log])
    counted = refusals is not None and refusals.n_refused > 0
    if not counted and line is None:
        return failed(reason, detail, log, duration_s)
    return Infeasible(
        stage=refused_stage or _STAGES.get(stage.name, "decode"),
        model=stage.model,
        evidence=line or "the device refused an allocation",
        excess_bytes=refusals.excess_bytes if refusals is not None and counted else None,
        duration_s=duration_s,
    )


def failed(reason: FailedReason, detail: str, log: Sequence[str], duration_s: float) -> Failed:
    """Return the outcome of a trial that memory has not ended, with the end of its log."""
    return Failed(reason, detail, tuple(log[-_LOG_TAIL_LINES:]), duration_s)


def out_of_memory_line(log: Sequence[str]) -> str | None:
    """Return the last line that names a cause of the end, where that cause is memory."""
    for line in reversed(log):
        if _OUT_OF_MEMORY.search(line) and not _HARMLESS.search(line):
            return line.strip()
        if _OTHER_CAUSE.search(line):
            return None
    return None
