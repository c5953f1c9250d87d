"""Decides whether a trial without results was infeasible or failed.

It was infeasible only with evidence that memory was the cause; otherwise it failed. Evidence is an allocation that the
device refused during the trial, or a log whose last line with a cause names memory. Both are limited to this trial,
since llama.cpp survives some refusals and a worker runs several trials.
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
# Vulkan, Metal and SYCL runtimes have messages of their own.
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

# What the same places print for other causes. The C++ runtime prints what() of an exception.
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
    """Allocations that the device refused during a trial.

    Attributes:
        n_refused: Their number.
        excess_bytes: By how many bytes the last one exceeded the device.
    """

    n_refused: int
    excess_bytes: int


class RefusalCounter:
    """Counts the allocations that emulated cards refuse from now on. No other device counts them."""

    def __init__(self, ledgers: Sequence["Ledger"]) -> None:
        self._before = [(ledger, ledger.state().n_refused) for ledger in ledgers]

    def count(self) -> Refusals | None:
        """Return the refusals so far, None without an emulated card."""
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
    """Return the outcome of a trial that ended without results.

    Args:
        stage: The stage that the worker last announced.
        detail: What happened, as a sentence fragment.
        log: The lines that the worker and llama.cpp printed during the trial.
        refusals: What the device refused during the trial, None if it does not count refusals.
        duration_s: How long the trial took, in seconds.
        reason: The reason to report without evidence of memory.
        refused_stage: The stage that llama.cpp reported, if it did; it takes precedence over `stage`.
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
    """Return the outcome of a trial that ended for another reason than memory, with the end of its log."""
    return Failed(reason, detail, tuple(log[-_LOG_TAIL_LINES:]), duration_s)


def out_of_memory_line(log: Sequence[str]) -> str | None:
    """Return the last line that names a cause of the end if that cause is memory, otherwise None."""
    for line in reversed(log):
        if _OUT_OF_MEMORY.search(line) and not _HARMLESS.search(line):
            return line.strip()
        if _OTHER_CAUSE.search(line):
            return None
    return None
