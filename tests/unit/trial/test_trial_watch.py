"""A trial that takes long is reported with the causes, and one that is far slower than expected is cut short."""

import sys
from pathlib import Path

import pytest

from layertune.devices.host_conditions import HostUse
from layertune.devices.host_watch import HostWatch
from layertune.trial import process_runner, trial_watch
from layertune.trial.messages import MESSAGE, Stage
from layertune.trial.outcome import Failed, Measured
from layertune.trial.trial_watch import TrialWatch
from scripted_worker import DECODE, DONE, EFFORT, SETTINGS, scripted

SOLO, LOAD, TOGETHER = Stage("solo", "chat"), Stage("load", "chat"), Stage("together")


@pytest.fixture(autouse=True)
def busy_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_watch, "n_usable_cores", lambda: 2)
    monkeypatch.setattr(HostWatch, "use", lambda _watch: HostUse(10.0, 0.1, 19.0, None, None, None, None))


def watch(said: list[str], patience_s: float = 30.0, oversubscribed: str | None = None) -> TrialWatch:
    return TrialWatch({"chat": 2.0, "code": 0.1}, patience_s, oversubscribed, said.append)


def test_a_workload_of_more_than_eight_times_what_is_expected_is_cut_short() -> None:
    assert watch([]).check(SOLO, 15.9, 20.0) is None
    assert watch([]).check(SOLO, 16.1, 20.0) == (
        "cut short: one workload of chat ran 16.1 s, and at most 2.0 s were expected; other programs use 1.9 of 2 cores"
    )


def test_a_short_workload_has_ten_seconds() -> None:
    assert watch([]).check(Stage("solo", "code"), 9.9, 20.0) is None
    assert watch([]).check(Stage("solo", "code"), 10.1, 20.0) is not None


@pytest.mark.parametrize("stage", [LOAD, TOGETHER, Stage("solo", "unknown")])
def test_what_has_no_expected_time_is_not_cut_short(stage: Stage) -> None:
    assert watch([]).check(stage, 500.0, 20.0) is None


def test_a_trial_that_takes_long_is_reported_each_time_its_duration_has_doubled() -> None:
    said: list[str] = []
    patient = watch(said, oversubscribed="chat 4 threads share 2 cores")
    for trial_s in range(25, 125, 5):
        assert patient.check(TOGETHER, 1.0, trial_s) is None
    causes = "now at together; chat 4 threads share 2 cores; other programs use 1.9 of 2 cores"
    assert said == [f"this trial takes long: {after}, {causes}" for after in ("30.0 s", "1m 00s", "2m 00s")]


def test_a_quiet_machine_is_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostWatch, "use", lambda _watch: HostUse(10.0, 0.1, 0.3, None, None, None, None))
    said: list[str] = []
    watch(said).check(LOAD, 40.0, 40.0)
    assert said == ["this trial takes long: 40.0 s, now at load chat"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX'")
def test_a_worker_that_is_far_too_slow_is_ended_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_watch, "_LEAST_CUT_S", 0.0)
    solo = MESSAGE.dump_json(SOLO).decode()
    script = f"""
        if os.path.exists({str(tmp_path / "again")!r}):
            print({DECODE!r}); print({DONE!r}, flush=True); time.sleep(60)
        open({str(tmp_path / "again")!r}, "w").close()
        print({solo!r}, flush=True); time.sleep(60)
    """
    with scripted(script, tmp_path) as runner:
        runner.slowest_s = lambda _settings: {"chat": 0.1}
        slow = runner.run(SETTINGS, EFFORT)
        again = runner.run(SETTINGS, EFFORT)
    assert isinstance(slow, Failed)
    assert slow.reason == "slow"
    assert slow.detail.startswith("cut short: one workload of chat ran ")
    assert isinstance(again, Measured)


@pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX'")
def test_a_slow_trial_is_reported_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_runner, "_PATIENCE_S", 0.5)
    said: list[str] = []
    with scripted(f"print({DECODE!r}, flush=True); time.sleep(2); print({DONE!r}, flush=True)", tmp_path) as runner:
        runner.on_slow = said.append
        assert isinstance(runner.run(SETTINGS, EFFORT), Measured)
    assert said[0].startswith("this trial takes long: ")
    assert "now at decode chat" in said[0]
