"""Whatever the system does to a worker process is the outcome of a trial, and the next trial runs."""

import errno
import gc
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from layertune.devices import lifetime
from layertune.trial import process_runner, worker_process
from layertune.trial.outcome import Failed, Infeasible
from scripted_worker import CARD, DECODE, DONE, EFFORT, MEASURED, SETTINGS, outcome_of, scripted

if sys.platform == "win32":
    pytest.skip("signals and process groups are POSIX'", allow_module_level=True)


def test_a_worker_killed_by_any_signal_is_an_outcome() -> None:
    assert lifetime.describe_exit(-signal.SIGSEGV) == "signal SIGSEGV"
    assert lifetime.describe_exit(3) == "exit status 3"
    for number in range(1, 128):
        assert lifetime.describe_exit(-number).startswith("signal ")


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals here")
def test_a_worker_that_dies_by_a_real_time_signal_has_failed(tmp_path: Path) -> None:
    number = signal.SIGRTMIN + 3
    outcome = outcome_of(f"print({DECODE!r}, flush=True); os.kill(os.getpid(), {number})", tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.detail) == ("crashed", f"the worker ended with signal {number} at: decode chat")


CLOSES_ITS_PIPE = f"print({DECODE!r}, flush=True); os.close(1); time.sleep(600)"


def test_a_worker_that_closes_its_pipe_and_does_not_end_is_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_EXIT_TIMEOUT_S", 0.3)
    outcome = outcome_of(CLOSES_ITS_PIPE, tmp_path)
    assert isinstance(outcome, Failed)
    expected = "the worker closed its pipe and did not end within 0 s at: decode chat"
    assert (outcome.reason, outcome.detail) == ("hung", expected)


def test_a_hung_worker_whose_last_log_line_is_about_memory_is_infeasible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_EXIT_TIMEOUT_S", 0.3)
    outcome = outcome_of("print('CUDA error: out of memory', file=sys.stderr, flush=True);" + CLOSES_ITS_PIPE, tmp_path)
    assert isinstance(outcome, Infeasible)
    assert outcome.stage == "decode"


def test_a_worker_that_cannot_be_killed_costs_only_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process inside a hung driver takes no signal and cannot be waited for."""
    held: list[subprocess.Popen[bytes]] = []

    def hold(child: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        held.append(child)
        raise subprocess.TimeoutExpired("worker", timeout or 0.0)

    with monkeypatch.context() as driver:
        driver.setattr(worker_process, "_EXIT_TIMEOUT_S", 0.3)
        driver.setattr(subprocess.Popen, "wait", hold)
        outcome = outcome_of("os.close(1); time.sleep(600)", tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "hung"
    assert held[0].wait(10) == -signal.SIGKILL


def test_a_process_outside_the_group_that_keeps_the_pipe_open_does_not_block_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_EXIT_TIMEOUT_S", 0.3)
    script = f"""
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        print("garbage", flush=True)
        time.sleep(600)
    """
    outcome = outcome_of(script, tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "protocol"
    psutil.Process(int((tmp_path / "pid").read_text())).kill()


def _refuse(number: int) -> Callable[..., None]:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, errno.errorcode[number])

    return refuse


def _no_thread(*_arguments: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENOENT])
@pytest.mark.parametrize("place", [(subprocess, "Popen"), (tempfile, "TemporaryFile")])
def test_a_worker_that_cannot_be_started_is_an_outcome_and_the_next_trial_runs(
    number: int, place: tuple[object, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_runner, "_START_PAUSES_S", (0.0,))
    with scripted(f"print({DONE!r}, flush=True); time.sleep(600)", tmp_path, target=CARD) as runner:
        gc.collect()
        n_files = _n_files()
        with monkeypatch.context() as full:
            full.setattr(*place, _refuse(number))
            outcome = runner.run(SETTINGS, EFFORT)
        assert isinstance(outcome, Failed)
        assert outcome.reason == "error"
        assert outcome.detail.startswith("the worker process could not be started: ")
        assert errno.errorcode[number] in outcome.detail
        assert _n_files() == n_files
        assert runner.run(SETTINGS, EFFORT) == MEASURED


def test_a_thread_that_cannot_be_started_is_an_outcome_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_runner, "_START_PAUSES_S", (0.0,))
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", _no_thread)
        outcome = outcome_of("time.sleep(600)", tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.detail == "the worker process could not be started: can't start new thread"
    assert not [each for each in psutil.Process().children() if "worker.py" in " ".join(each.cmdline())]


def test_a_temporary_lack_of_resources_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_runner, "_START_PAUSES_S", (0.0, 0.0))
    start, refusals = subprocess.Popen, iter([errno.EAGAIN, errno.ENOMEM])

    def popen(*arguments: object, **options: object) -> object:
        if (number := next(refusals, None)) is not None:
            _refuse(number)()
        return start(*arguments, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as full:
        full.setattr(subprocess, "Popen", popen)
        assert outcome_of(f"print({DONE!r}, flush=True); time.sleep(600)", tmp_path) == MEASURED


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\n", b'{"kind": "stage", "name": "\xc3\x28"}\n', b"[" * 5000 + b"\n", b"\n"]
)
def test_a_message_that_is_not_utf8_is_a_protocol_failure(line: bytes, tmp_path: Path) -> None:
    outcome = outcome_of(f"sys.stdout.buffer.write({line!r}); sys.stdout.flush(); time.sleep(600)", tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "protocol"


def test_a_log_that_is_not_utf8_is_decoded_with_replacements(tmp_path: Path) -> None:
    outcome = outcome_of("sys.stderr.buffer.write(b'\\xff boom\\n'); sys.stderr.flush(); os.abort()", tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.log_tail == ("\ufffd boom",)


def _n_files() -> int:
    return psutil.Process().num_fds()


SURVIVES_A_REFUSAL_THEN_ABORTS = f"""
    from layertune.devices.emulated.ledger import Ledger
    ledger = Ledger(json.loads(request)["ledger_descriptors"][0])
    ledger.take(0, 5000)
    print("failed to allocate compute buffers; trying smaller ones", file=sys.stderr, flush=True)
    print({DONE!r}, flush=True)
    sys.stdin.readline()
    os.abort()
"""


def test_a_refusal_in_an_earlier_trial_is_no_evidence_in_a_later_one(tmp_path: Path) -> None:
    with scripted(SURVIVES_A_REFUSAL_THEN_ABORTS, tmp_path, target=CARD) as runner:
        assert runner.run(SETTINGS, EFFORT) == MEASURED
        outcome = runner.run(SETTINGS, EFFORT)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.log_tail) == ("crashed", ())


def test_a_survived_refusal_is_no_evidence_if_the_log_ends_with_another_cause(tmp_path: Path) -> None:
    script = """
        print("failed to allocate CUDA0 buffer; trying again", file=sys.stderr)
        print("GGML_ASSERT(n_tokens > 0) failed", file=sys.stderr, flush=True)
        os.abort()
    """
    assert isinstance(outcome_of(script, tmp_path), Failed)


def test_a_worker_appends_to_its_log_while_the_search_reads_it(tmp_path: Path) -> None:
    """A worker that hangs is still alive, and writes, when its log is read."""
    script = """
        for n in range(2000):
            print(n, file=sys.stderr, flush=True)
        print("garbage", flush=True)
        for n in range(2000, 200_000):
            print(n, file=sys.stderr, flush=True)
    """
    outcome = outcome_of(script, tmp_path)
    assert isinstance(outcome, Failed)
    numbers = [int(line) for line in outcome.log_tail]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
