"""Infeasible or failed? Only evidence of memory makes a trial infeasible; everything else has failed.

Evidence is a refusal that the device itself counted, or a line in which llama.cpp or a driver says it got no memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from layertune.trial.messages import Stage
from layertune.trial.outcome import Failed, FailedReason, Infeasible, RefusedStage

# Where each is printed: llama-model.cpp (load_tensors), llama-kv-cache.cpp, llama-memory-recurrent.cpp and
# llama-context.cpp (sched_reserve) throw; ggml-alloc.c and ggml-backend.cpp log; ggml-cuda.cu and the CUDA, HIP,
# Vulkan, Metal and SYCL runtimes have words of their own.
_OUT_OF_MEMORY = (
    "unable to allocate",
    "failed to allocate",
    "out of memory",
    "outofdevicememory",
    "outofhostmemory",
    "cudamalloc failed",
    "insufficient memory",
    "bad_alloc",
)
_HARMLESS = ("pinned memory",)  # ggml-cuda.cu falls back to ordinary memory

_LOG_TAIL_LINES = 20
_STAGES: dict[str, RefusedStage] = {"load": "load", "kv_cache": "kv_cache", "compute": "compute"}


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the device counted: how many allocations it refused, and by how many bytes the last was too large."""

    n_refused: int
    excess_bytes: int


def count_refusals(ledger_descriptors: Sequence[int]) -> Refusals | None:
    """Return what emulated cards refused, by their ledgers; None without one: no other device counts."""
    if not ledger_descriptors:
        return None
    from layertune.devices.emulated.ledger import Ledger  # which Windows has not

    cards = [Ledger(descriptor).state() for descriptor in ledger_descriptors]
    return Refusals(sum(card.n_refused for card in cards), max(card.excess_bytes for card in cards))


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
    """Return what became of a trial that ended at `stage` without figures.

    `refused_stage` is where llama.cpp itself said it stopped; without it the worker's last stage counts. `reason` is
    what to call it without evidence of memory.
    """
    line = out_of_memory_line([*log, detail])
    counted = refusals is not None and refusals.n_refused > 0
    if not counted and line is None:
        return Failed(reason, detail, tuple(log[-_LOG_TAIL_LINES:]), duration_s)
    return Infeasible(
        stage=refused_stage or _STAGES.get(stage.name, "decode"),
        model=stage.model,
        evidence=line or "the device refused an allocation",
        excess_bytes=refusals.excess_bytes if refusals is not None and counted else None,
        duration_s=duration_s,
    )


def out_of_memory_line(log: Sequence[str]) -> str | None:
    """Return the first line that says memory was refused."""
    for line in log:
        lower = line.lower()
        if any(word in lower for word in _OUT_OF_MEMORY) and not any(word in lower for word in _HARMLESS):
            return line.strip()
    return None
