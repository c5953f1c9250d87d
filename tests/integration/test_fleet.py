"""Several processes on one study in a real PostgreSQL."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from layertune.errors import StorageUnreachable, StudyMismatch
from layertune.search.search import Search
from layertune.search.storage import open_url
from layertune.testing import FakeRunner
from postgresql import new_database
from small_study import quiet, space, task

NUMBERS = itertools.count()
SUPPORT = Path(__file__).parents[1] / "support"
# Asks in the same moment as the others; writes what it measured, and from when to when it had the device.
MACHINE = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {support!r})
from small_study import task, quiet
from layertune.devices.target import Target
from layertune.devices.lease import DeviceLease
from layertune.search.storage import open_url
from layertune.search.search import Search
from layertune.testing import FakeRunner
from layertune.trial.runners import LeasingRunner

folder, hang_at = Path({folder!r}), {hang_at!r}
runner = FakeRunner()
def before(settings):
    began_s = time.monotonic()
    if len(runner.ran) == hang_at:
        (folder / "running").touch()
        time.sleep(600)
    time.sleep(0.05)
    with (folder / "measured").open("a") as file:
        file.write(json.dumps([repr(settings), began_s, time.monotonic()]) + "\\n")
runner.before = before
(folder / "ready").touch()
while not (folder.parent / "go").exists():
    time.sleep(0.005)
study = Search(task(n_trials={n_trials}), open_url({url!r}), folder)
study.run(LeasingRunner(runner, DeviceLease(Target("cpu", "CPU"), folder.parent / "devices", warn=print)), quiet)
"""


@pytest.fixture
def url(postgresql_server: Path) -> str:
    return new_database(postgresql_server, f"test{next(NUMBERS)}")


def machine(folder: Path, url: str, n_trials: int, *, hang_at: int = 0) -> subprocess.Popen[bytes]:
    folder.mkdir()
    values = {"support": str(SUPPORT), "folder": str(folder), "url": url, "n_trials": n_trials}
    code = MACHINE.format(**values, hang_at=hang_at)
    return subprocess.Popen([sys.executable, "-c", code])


def start(folder: Path, machines: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let all machines begin at once, when all are there."""
    while len(list(folder.glob("*/ready"))) < len(machines):
        assert all(each.poll() is None for each in machines)
        time.sleep(0.01)
    (folder / "go").touch()


def measured(folder: Path) -> list[tuple[str, float, float]]:
    lines = [line for file in folder.glob("*/measured") for line in file.read_text().splitlines()]
    return sorted((tuple(json.loads(line)) for line in lines), key=lambda each: each[1])


def trials(url: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name="test", storage=open_url(url)).trials


def own(found: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were measured for themselves."""
    return [each for each in found if "outcome" in each.user_attrs and "same_as" not in each.user_attrs]


def settings_of(trial: FrozenTrial) -> str:
    return repr(space().canonical(space().settings(trial.params)))


def test_two_processes_on_one_study_lose_and_double_no_trial_and_measure_in_turns(tmp_path: Path, url: str) -> None:
    machines = [machine(tmp_path / name, url, 14) for name in ("one", "other")]
    start(tmp_path, machines)
    assert [each.wait(60) for each in machines] == [0, 0]
    done = measured(tmp_path)
    stored = own(trials(url))
    assert sorted(settings for settings, _, _ in done) == sorted(map(settings_of, stored))
    assert len({settings for settings, _, _ in done}) == len(done)
    assert len(done) in (14, 15)  # the other one may be in a trial when the last is told
    assert all(each.state.is_finished() for each in trials(url) if each.state != TrialState.WAITING)
    assert {each.user_attrs["owner"] for each in stored} == {
        (tmp_path / name / "owner").read_text() for name in ("one", "other")
    }
    for (_, _, ended_s), (_, began_s, _) in itertools.pairwise(done):
        assert ended_s <= began_s


def test_a_killed_process_s_trial_is_left_to_it_and_run_once_when_it_goes_on(tmp_path: Path, url: str) -> None:
    killed = machine(tmp_path / "one", url, 20, hang_at=4)
    start(tmp_path, [killed])
    while not (tmp_path / "one" / "running").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    (hung,) = [each for each in trials(url) if each.state == TrialState.RUNNING]
    other = machine(tmp_path / "other", url, 8)
    assert other.wait(60) == 0
    assert trials(url)[hung.number].state == TrialState.RUNNING
    runner = FakeRunner()
    Search(task(n_trials=10), open_url(url), tmp_path / "one").run(runner, quiet)
    assert repr(runner.ran[0]) == settings_of(hung)
    assert trials(url)[hung.number].state == TrialState.FAIL
    ran = [settings for settings, _, _ in measured(tmp_path)] + [repr(each) for each in runner.ran]
    assert sorted(ran) == sorted(map(settings_of, own(trials(url))))
    assert len(set(ran)) == len(ran) == 10


def test_another_machine_s_study_is_not_taken_over(tmp_path: Path, url: str) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    Search(task(), open_url(url), tmp_path / "one")
    changed: dict[str, Any] = {"identity": {"cpu": "another", "model chat": "abc"}}
    with pytest.raises(StudyMismatch, match="cpu was one and is another; start another study with --study DIR"):
        Search(task(**changed), open_url(url), tmp_path / "other")
    Search(task(name="another", **changed), open_url(url), tmp_path / "other").run(FakeRunner(), quiet)
    assert trials(url) == [] or all(each.state == TrialState.WAITING for each in trials(url))


def test_a_database_that_is_not_there_is_one_sentence(postgresql_server: Path) -> None:
    with pytest.raises(StorageUnreachable, match='database "nowhere" does not exist; check that it runs') as caught:
        open_url(f"postgresql://layertune:s3cret@/nowhere?host={postgresql_server}")
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_status == 2
