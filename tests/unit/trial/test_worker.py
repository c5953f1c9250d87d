"""What a worker concludes when llama.cpp refuses: by the log and the refusals of the trial, and of no earlier one."""

import pytest

from layertune.devices.target import Target
from layertune.engine.logs import ERROR, INFO, LogCapture
from layertune.engine.refusal import EngineRefused, refused_stage
from layertune.trial import worker
from layertune.trial.messages import Done, Stage, TrialRequest
from layertune.trial.outcome import Failed, Infeasible, Measured
from layertune.trial.time_spent import TimeSpent

REQUEST = TrialRequest((), Target("cpu", "CPU"), (), 0, None)
MEASURED = Done(Measured({}, None, 1, 1.0), TimeSpent(), stays=True)


class FakeChannel:
    stage = Stage("kv_cache", "chat")

    def announce(self, stage: Stage) -> None:
        self.stage = stage

    def report_progress(self, _progress: object) -> None:
        """Nobody asks to stop."""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    monkeypatch.setattr(worker.library, "log", lambda: capture)
    return capture


def outcomes(log: LogCapture, monkeypatch: pytest.MonkeyPatch, trials: list[list[str] | EngineRefused]) -> list[object]:
    """Run trials that log lines and are measured, or log a line and are refused."""
    ended = iter(trials)

    def measure(*_arguments: object) -> Done:
        how = next(ended)
        if isinstance(how, EngineRefused):
            log._receive(ERROR, f"{how.detail}\n".encode(), None)
            raise how
        for line in how:
            log._receive(INFO, f"{line}\n".encode(), None)
        return MEASURED

    monkeypatch.setattr(worker, "measure", measure)
    monkeypatch.setattr(worker.Worker, "_open", lambda *_arguments: object())
    process = worker.Worker(FakeChannel())  # type: ignore[arg-type]
    return [answer.outcome for _ in trials if isinstance(answer := process.run(REQUEST), Done)]


def test_memory_refused_in_an_earlier_trial_is_no_evidence(log: LogCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    survived = ["graph_reserve: failed to allocate compute buffers", "retrying without pipeline parallelism"]
    refused = EngineRefused("decode", "llama_decode returned 1: could not find a KV slot")
    _, outcome = outcomes(log, monkeypatch, [survived, refused])
    assert isinstance(outcome, Failed)
    assert outcome.log_tail == (refused.detail,)


def test_an_out_of_memory_line_is_found_before_a_long_log(log: LogCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = EngineRefused("kv_cache", "failed to allocate buffer for kv cache")
    (outcome,) = outcomes(log, monkeypatch, [refused])
    assert isinstance(outcome, Infeasible)
    assert (outcome.stage, outcome.evidence) == ("kv_cache", refused.detail)


def test_the_refused_stage_is_the_last_buffer_in_the_log() -> None:
    assert refused_stage(["failed to allocate buffer for kv cache"]) == "kv_cache"
    assert refused_stage(["failed to allocate buffer for rs cache"]) == "kv_cache"
    assert refused_stage(["a kv cache of 7 MiB", "failed to allocate compute pp buffers"]) == "compute"
    assert refused_stage([]) == "compute"
