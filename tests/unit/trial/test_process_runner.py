"""Workers that really die, hang and lie. They are small scripts; no model is loaded."""

import os
import signal
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from layertune.devices.target import Target
from layertune.trial.messages import MESSAGE, ORDER, Done, GoOn, Progress, Stage, Stale
from layertune.trial.outcome import Failed, Infeasible, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.trial.time_spent import TimeSpent
from scripted_worker import DECODE, DONE, EFFORT, MEASURED, SETTINGS, outcome_of

pytestmark = pytest.mark.usefixtures("kill_leftovers")

if sys.platform == "win32":
    pytest.skip("signals and process groups are POSIX'", allow_module_level=True)


def test_an_outcome_is_received_as_it_was_sent(tmp_path: Path) -> None:
    assert outcome_of(f"print({DECODE!r}); print({DONE!r}, flush=True); time.sleep(60)", tmp_path) == MEASURED


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_worker_that_dies_by_a_signal_has_failed_at_its_last_stage(name: str, tmp_path: Path) -> None:
    outcome = outcome_of(f"print({DECODE!r}, flush=True); os.kill(os.getpid(), signal.{name})", tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.detail) == ("crashed", f"the worker ended with signal {name} at: decode chat")


def test_a_worker_that_logs_out_of_memory_and_aborts_is_infeasible(tmp_path: Path) -> None:
    script = (
        f"print({DECODE!r}, flush=True); print('CUDA error: out of memory', file=sys.stderr, flush=True); os.abort()"
    )
    outcome = outcome_of(script, tmp_path)
    assert isinstance(outcome, Infeasible)
    assert (outcome.stage, outcome.model, outcome.evidence) == ("decode", "chat", "CUDA error: out of memory")


def test_a_refusal_in_the_ledger_of_a_dead_worker_is_evidence(tmp_path: Path) -> None:
    script = f"""
        import json
        from layertune.devices.emulated.ledger import Ledger
        ledger = Ledger(json.loads(request)["ledger_descriptors"][0])
        print({DECODE!r}, flush=True)
        ledger.take(0, 5000)
        os.abort()
    """
    outcome = outcome_of(script, tmp_path, target=Target("emulated", "card", vram_bytes=4096, n_threads=1))
    assert isinstance(outcome, Infeasible)
    assert outcome.excess_bytes == 5000 - 4096


def test_a_worker_that_hangs_is_killed_at_the_deadline_with_its_children(tmp_path: Path) -> None:
    script = f"""
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        print({DECODE!r}, flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    """
    outcome = outcome_of(script, tmp_path, timeout_s=3.0)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.detail) == ("hung", "no result after 3 s, last seen at: decode chat")
    assert _gone(int((tmp_path / "pid").read_text()))


def test_a_worker_that_prints_garbage_has_failed(tmp_path: Path) -> None:
    outcome = outcome_of("print('\\x00 segfault imminent {', flush=True); time.sleep(600)", tmp_path)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "protocol"


def test_a_worker_that_ends_without_an_outcome_has_failed_with_its_last_log_lines(tmp_path: Path) -> None:
    outcome = outcome_of("print('Traceback: boom', file=sys.stderr); sys.exit(3)", tmp_path)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.log_tail) == ("crashed", ("Traceback: boom",))
    assert "exit status 3" in outcome.detail


def test_a_worker_that_never_reads_its_request_costs_only_its_trial(tmp_path: Path) -> None:
    place = TrialContext(Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, 30.0)
    with closing(ProcessTrialRunner(place, command=("/bin/false",))) as runner:
        outcome = runner.run(SETTINGS, EFFORT)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "crashed"


def test_the_last_outcome_of_a_worker_that_dies_right_after_it_counts(tmp_path: Path) -> None:
    assert outcome_of(f"print({DONE!r}, flush=True); os.abort()", tmp_path) == MEASURED


def test_stages_are_passed_on_while_the_trial_runs(tmp_path: Path) -> None:
    seen: list[Stage] = []
    file = tmp_path / "worker.py"
    file.write_text(f"print({DECODE!r}); print({DONE!r}, flush=True)")
    place = TrialContext(Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, 30.0)
    with closing(ProcessTrialRunner(place, on_stage=seen.append, command=(sys.executable, str(file)))) as runner:
        runner.run(SETTINGS, EFFORT)
    assert seen == [Stage("decode", "chat")]


def done(*, stays: bool = True, outcome: TrialOutcome | None = MEASURED) -> str:
    return MESSAGE.dump_json(Done(outcome, TimeSpent(load_s=1.0), stays)).decode()


def numbered_runs(script: str, tmp_path: Path, n_runs: int) -> tuple[list[TrialOutcome], int]:
    """Run trials whose worker is `script`, once per line of input; return their outcomes and how many workers began."""
    file, started = tmp_path / "worker.py", tmp_path / "started"
    file.write_text(
        f"import os, sys, time\nopen({str(started)!r}, 'a').write('x')\n"
        f"for n, line in enumerate(sys.stdin):\n{textwrap.indent(textwrap.dedent(script), '    ')}\n"
    )
    place = TrialContext(Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, 30.0)
    with closing(ProcessTrialRunner(place, command=(sys.executable, str(file)))) as runner:
        outcomes = [runner.run(SETTINGS, EFFORT) for _ in range(n_runs)]
    return outcomes, len(started.read_text())


def test_a_worker_that_stays_also_runs_the_next_trial(tmp_path: Path) -> None:
    assert numbered_runs(f"print({done()!r}, flush=True)", tmp_path, 3) == ([MEASURED] * 3, 1)


def test_a_worker_that_does_not_stay_is_replaced(tmp_path: Path) -> None:
    assert numbered_runs(f"print({done(stays=False)!r}, flush=True); time.sleep(60)", tmp_path, 2) == (
        [MEASURED] * 2,
        2,
    )


def test_a_worker_that_died_between_two_trials_is_replaced(tmp_path: Path) -> None:
    outcomes, n_workers = numbered_runs(f"print({done()!r}, flush=True); os._exit(0)", tmp_path, 1)
    assert (outcomes, n_workers) == ([MEASURED], 1)


def test_a_trial_that_is_not_measured_ends_its_worker(tmp_path: Path) -> None:
    refused = Infeasible("load", "chat", "out of memory", None, 1.0)
    script = f"print({done(outcome=refused, stays=False)!r} if n == 0 else {done()!r}, flush=True)"
    outcomes, n_workers = numbered_runs(script, tmp_path, 2)
    assert (outcomes, n_workers) == ([refused, refused], 2)


def test_a_worker_whose_memory_was_not_returned_is_replaced_before_the_trial(tmp_path: Path) -> None:
    stale = MESSAGE.dump_json(Stale("300 MiB did not come back")).decode()
    outcomes, n_workers = numbered_runs(f"print({done()!r} if n == 0 else {stale!r}, flush=True)", tmp_path, 3)
    assert (outcomes, n_workers) == ([MEASURED] * 3, 3)


def test_a_trial_fails_if_memory_is_missing_for_a_new_worker_too(tmp_path: Path) -> None:
    stale = MESSAGE.dump_json(Stale("300 MiB did not come back")).decode()
    ((outcome,), n_workers) = numbered_runs(f"print({stale!r}, flush=True)", tmp_path, 1)
    assert isinstance(outcome, Failed)
    assert (outcome.detail, n_workers) == (
        "memory was missing on the device for a new worker, too: 300 MiB did not come back",
        2,
    )


def test_a_worker_receives_the_decision_to_give_up(tmp_path: Path) -> None:
    progress = MESSAGE.dump_json(Progress({}, 7)).decode()
    received = tmp_path / "received"
    script = f"""
        print({progress!r}, flush=True)
        open({str(received)!r}, "w").write(sys.stdin.readline())
        print({DONE!r}, flush=True)
        time.sleep(60)
    """
    file = tmp_path / "worker.py"
    file.write_text("import sys, time\nrequest = sys.stdin.readline()\n" + textwrap.dedent(script))
    place = TrialContext(Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, 30.0)
    with closing(ProcessTrialRunner(place, command=(sys.executable, str(file)))) as runner:
        assert runner.run(SETTINGS, EFFORT, lambda seen: f"beaten at {seen.used_bytes} bytes") == MEASURED
    assert ORDER.validate_json(received.read_text()) == GoOn("beaten at 7 bytes")


def test_the_time_of_every_trial_is_added_up(tmp_path: Path) -> None:
    file = tmp_path / "worker.py"
    file.write_text(f"import sys\nfor line in sys.stdin:\n    print({done()!r}, flush=True)\n")
    place = TrialContext(Target("cpu", "CPU"), {"chat": "a.gguf"}, {"chat": (8, 8)}, 0, 30.0)
    with closing(ProcessTrialRunner(place, command=(sys.executable, str(file)))) as runner:
        runner.prepare(SETTINGS)
        runner.run(SETTINGS, EFFORT)
    assert runner.spent == TimeSpent(load_s=2.0)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_children_die_with_their_parent_even_if_it_is_killed(how: str, tmp_path: Path) -> None:
    """A parent like the search starts a worker like ours, which starts a child like a card's server."""
    watch = "import os, sys, time; from layertune.devices import lifetime; lifetime.die_with_parent(int(sys.argv[1])); "
    grandchild = watch + "lifetime.watch_standard_input(); time.sleep(600)"
    worker = watch + (
        "import subprocess; lifetime.watch_standard_input(); "
        f"child = subprocess.Popen([sys.executable, '-c', {grandchild!r}, str(os.getpid())], stdin=subprocess.PIPE); "
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}\\n'); time.sleep(600)"
    )
    parent = (
        "import os, subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {worker!r}, str(os.getpid())], "
        "stdin=subprocess.PIPE, start_new_session=True); child.wait()"
    )
    process = psutil.Popen([sys.executable, "-c", parent])
    pids: list[int] = []
    while len(pids) < 2:
        assert process.is_running()
        time.sleep(0.02)
        if (tmp_path / "pids").exists() and (text := (tmp_path / "pids").read_text()).endswith("\n"):
            pids = [int(pid) for pid in text.split()]
    os.kill(process.pid, signal.Signals[how])
    process.wait()
    assert [_gone(pid) for pid in pids] == [True, True]


def _gone(pid: int) -> bool:
    """Wait a while for a process that has been killed to leave; a zombie has left."""
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False
