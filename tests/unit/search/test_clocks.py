"""Machines that share a storage and whose clocks do not agree: other zones, and minutes fast or slow."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from layertune.search.search import Search
from layertune.search.sharing import Fleet
from layertune.search.storage import open_url
from layertune.testing import FakeRunner
from small_study import quiet, search, space, task

# What another machine's clock shows, compared with this one's: its zone and its error.
AHEAD = [timedelta(hours=hours, minutes=minutes) for hours, minutes in ((-19, 7), (0, -7), (0, 7), (9, -7))]


def shared(folder: Path) -> str:
    return f"sqlite:///{folder / 'shared.db'}"


def machine(folder: Path, name: str, n_trials: int) -> Search:
    (folder / name).mkdir(exist_ok=True)
    return Search(task(n_trials=n_trials, sampler="random"), open_url(shared(folder)), folder / name)


def raw(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="test", storage=open_url(shared(folder)))


def asked(folder: Path, ahead: timedelta) -> int:
    """Ask for a trial as a machine does whose clock is so far ahead; return its number."""
    number = raw(folder).ask().number
    with create_engine(shared(folder)).begin() as database:
        begun = datetime.now() + ahead
        database.execute(
            text("UPDATE trials SET datetime_start = :begun WHERE number = :n"), {"begun": begun, "n": number}
        )
    return number


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
def test_a_trial_that_another_machine_has_just_asked_for_is_left_alone_whatever_its_clock_shows(
    ahead: timedelta, tmp_path: Path
) -> None:
    machine(tmp_path, "one", 1)
    number = asked(tmp_path, ahead)
    runner = FakeRunner()
    machine(tmp_path, "other", 2).run(runner, quiet)
    assert len(runner.ran) == 2
    assert raw(tmp_path).trials[number].state == TrialState.RUNNING


@pytest.mark.parametrize("ahead", AHEAD[:2], ids=str)
def test_a_trial_that_has_an_owner_is_left_alone_however_old_it_looks(ahead: timedelta, tmp_path: Path) -> None:
    machine(tmp_path, "one", 1)
    number = asked(tmp_path, ahead)
    study = raw(tmp_path)
    trial = optuna.trial.Trial(study, study.trials[number]._trial_id)
    trial.set_user_attr("owner", (tmp_path / "one" / "owner").read_text())
    machine(tmp_path, "other", 2).run(FakeRunner(), quiet)
    assert raw(tmp_path).trials[number].state == TrialState.RUNNING


def test_a_trial_without_an_owner_is_run_by_another_machine_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layertune.search.sharing._UNCLAIMED_FOR_S", 0.0)
    queued = space().settings({"chat.n_gpu_layers": 3, "code.n_gpu_layers": 7})
    machine(tmp_path, "one", 1)
    raw(tmp_path).enqueue_trial(space().params(queued))
    number = asked(tmp_path, timedelta())
    runner = FakeRunner()
    machine(tmp_path, "other", 3).run(runner, quiet)
    assert raw(tmp_path).trials[number].state == TrialState.FAIL
    assert runner.ran.count(space().canonical(queued)) == 1


def test_only_this_process_s_own_clock_makes_a_trial_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(tmp_path, "one", 1)
    first = asked(tmp_path, timedelta(hours=-19))
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    fleet = Fleet("this machine")

    def abandoned() -> list[int]:
        return fleet.abandoned(raw(tmp_path))

    assert abandoned() == []
    now_s += 200
    second = asked(tmp_path, timedelta(hours=-19))
    assert abandoned() == []
    now_s += 200
    assert abandoned() == [first]
    now_s += 200
    assert abandoned() == [first, second]


@pytest.mark.parametrize("zone", ["Asia/Seoul", "America/Los_Angeles", "UTC"])
def test_a_study_has_one_date_on_machines_of_all_zones(
    zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = datetime.now(UTC)
    made = machine(tmp_path, "one", 1)
    made.run(FakeRunner(), quiet)
    after = datetime.now(UTC)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        there = machine(tmp_path, "other", 1).created()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert before <= there == made.created() <= after


def test_a_study_in_a_folder_keeps_its_date(tmp_path: Path) -> None:
    first = search(tmp_path, n_trials=1).created()
    assert search(tmp_path, n_trials=1).created() == first
