import sys

import pytest

from layertune.trial.evidence import RefusalCounter, Refusals, classify, out_of_memory_line
from layertune.trial.messages import Stage
from layertune.trial.outcome import Failed, Infeasible

SEEN_REFUSALS = [
    "alloc_tensor_range: failed to allocate RPC0[127.0.0.1:40027] buffer of size 246587904",
    "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    "llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers",
    "CUDA error: out of memory",
    "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 512.00 MiB on device 0: cudaMalloc failed: out of memory",
    "ggml_metal_graph_compute: error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
]


@pytest.mark.parametrize("line", SEEN_REFUSALS)
def test_a_log_line_about_refused_memory_makes_a_trial_infeasible(line: str) -> None:
    outcome = classify(Stage("load", "code"), "no model", ["fine", line], None, 1.0, reason="error")
    assert isinstance(outcome, Infeasible)
    assert (outcome.stage, outcome.model, outcome.evidence) == ("load", "code", line)


def test_a_refusal_counted_by_the_device_is_evidence_without_a_log_line() -> None:
    outcome = classify(Stage("solo", "chat"), "SIGABRT", [], Refusals(1, 4096), 1.0, reason="crashed")
    assert outcome == Infeasible("decode", "chat", "the device refused an allocation", 4096, 1.0)


def test_a_crash_without_evidence_of_memory_has_failed_with_the_last_log_lines() -> None:
    log = [f"line {number}" for number in range(100)]
    outcome = classify(Stage("solo", "chat"), "SIGSEGV", log, Refusals(0, 0), 1.0, reason="crashed")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.log_tail[-1], len(outcome.log_tail)) == ("crashed", "line 99", 20)


def test_the_stage_from_llama_cpp_takes_precedence_over_the_workers_last_stage() -> None:
    line = SEEN_REFUSALS[3]
    outcome = classify(Stage("kv_cache", "chat"), line, [], None, 1.0, reason="error", refused_stage="compute")
    assert isinstance(outcome, Infeasible)
    assert outcome.stage == "compute"


def test_a_fallback_from_pinned_memory_is_no_evidence() -> None:
    assert out_of_memory_line(["failed to allocate 96.00 MiB of pinned memory: out of memory"]) is None


def test_the_last_line_that_names_a_cause_decides() -> None:
    survived = "ggml_gallocr_reserve_n_impl: failed to allocate CUDA0 buffer of size 1048576"
    other = "CUDA error: an illegal memory access was encountered"
    assert out_of_memory_line([survived, "llama_context: retrying without pipeline parallelism", other, "bye"]) is None
    assert out_of_memory_line([other, "restarted", survived, "ggml-cuda.cu:98: CUDA error"]) == survived
    assert out_of_memory_line([survived, "ggml.c:10: GGML_ASSERT(n > 0) failed"]) is None


@pytest.mark.parametrize(
    "line", ["CUBLAS_STATUS_ALLOC_FAILED", "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", "  what():  std::bad_alloc"]
)
def test_out_of_memory_messages_of_every_runtime_are_recognized(line: str) -> None:
    assert out_of_memory_line(["fine", line]) == line.strip()


def test_the_last_out_of_memory_line_is_the_evidence() -> None:
    log = ["ggml: failed to allocate buffer of size 7", "CUDA error: out of memory"]
    outcome = classify(Stage("solo", "chat"), "SIGABRT", log, None, 1.0, reason="crashed")
    assert isinstance(outcome, Infeasible)
    assert outcome.evidence == log[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="no emulated card there")
def test_only_refusals_after_the_counters_creation_are_counted() -> None:
    from layertune.devices.emulated.ledger import Ledger

    ledgers = [Ledger.create(4096), Ledger.create(4096)]
    ledgers[0].take(0, 9000)
    counter = RefusalCounter(ledgers)
    assert counter.count() == Refusals(0, 0)
    ledgers[1].take(0, 5000)
    assert counter.count() == Refusals(1, 5000 - 4096)
    for ledger in ledgers:
        ledger.close()
    assert RefusalCounter([]).count() is None
