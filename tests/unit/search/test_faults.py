"""Studies that are killed and journals that are torn, for real."""

import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from layertune.errors import StorageError, StudyLocked
from layertune.sampler.distributions import distributions
from layertune.search.search import Search
from layertune.search.storage import JOURNAL_NAME, open_journal, repair_journal
from layertune.search.study_lock import study_lock
from layertune.testing import FakeRunner
from small_study import quiet, search, space, task

pytestmark = pytest.mark.usefixtures("kill_leftovers")

SUPPORT = Path(__file__).parents[2] / "support"
CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {support!r})
from small_study import search
from layertune.search.study_lock import study_lock
from layertune.testing import FakeRunner
folder = Path({folder!r})
runner = FakeRunner()
def before(_settings):
    if len(runner.ran) == 4:
        (folder / "running").touch()
        time.sleep(600)
runner.before = before
with study_lock(folder):
    search(folder).run(runner, lambda _event: None)
"""


def child(folder: Path) -> subprocess.Popen[bytes]:
    """Start a search that hangs in its fourth trial, and wait until it does."""
    code = CHILD.format(support=str(SUPPORT), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (folder / "running").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_a_search_killed_in_a_trial_goes_on_without_loss_or_repetition(tmp_path: Path) -> None:
    process = child(tmp_path)
    process.kill()
    process.wait()
    (tmp_path / f"{JOURNAL_NAME}.lock").symlink_to(
        tmp_path / JOURNAL_NAME
    )  # as Optuna leaves it when killed in a write
    runner = FakeRunner()
    with study_lock(tmp_path):
        study = search(tmp_path)
        before = study.finished()
        study.run(runner, quiet)
    assert len(before) == 3
    assert study.finished()[:3] == before
    assert len(runner.ran) == 12 - 3
    interrupted = optuna.load_study(study_name="test", storage=open_journal(tmp_path)).trials[3]
    assert interrupted.state == TrialState.FAIL
    assert space().canonical(space().settings(interrupted.params)) == runner.ran[0]


def test_a_live_study_cannot_be_opened_twice_and_the_message_names_its_process(tmp_path: Path) -> None:
    process = child(tmp_path)
    try:
        with pytest.raises(StudyLocked, match=f"process {process.pid}"), study_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    with study_lock(tmp_path):
        pass


def test_a_journal_cut_at_any_byte_of_its_last_records_loses_and_repeats_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    runner = FakeRunner()
    search(whole, n_trials=3).run(runner, quiet)
    journal = (whole / JOURNAL_NAME).read_bytes()
    lines = journal.splitlines(keepends=True)
    two_records = len(lines[-1]) + len(lines[-2])
    ends = range(len(journal) - two_records, len(journal) + 1)
    expected = [space().canonical(settings) for settings in runner.ran]
    for end in ends:
        cut = tmp_path / str(end)
        cut.mkdir()
        (cut / JOURNAL_NAME).write_bytes(journal[:end])
        (cut / "owner").write_text((whole / "owner").read_text())
        again = FakeRunner()
        study = search(cut, n_trials=3)
        study.run(again, quiet)
        assert again.ran == [], end  # the outcome was durable before the last two records
        assert [space().canonical(trial.settings) for trial in study.finished()] == expected, end


def test_a_journal_cut_anywhere_in_its_last_trial_runs_that_trial_once_at_most(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    search(whole, n_trials=3).run(FakeRunner(), quiet)
    lines = (whole / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    for n_lines in range(len(lines) - 12, len(lines) + 1):
        cut = tmp_path / str(n_lines)
        cut.mkdir()
        (cut / JOURNAL_NAME).write_bytes(b"".join(lines[:n_lines]) + b'{"op_code": 1, "torn')
        (cut / "owner").write_text((whole / "owner").read_text())
        again = FakeRunner()
        study = search(cut, n_trials=3)
        n_kept = len(study.finished())
        study.run(again, quiet)
        assert len(again.ran) == 3 - n_kept
        assert len(study.finished()) == 3
        assert len({space().canonical(trial.settings) for trial in study.finished()}) == 3


def test_damage_before_the_last_record_is_reported_with_its_line(tmp_path: Path) -> None:
    search(tmp_path, n_trials=2).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[4] = b"\x00garbage\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match="damaged in line 5"):
        repair_journal(journal)
    assert journal.read_bytes() == b"".join(lines)


def test_a_trial_cut_off_twice_is_queued_once(tmp_path: Path) -> None:
    storage = open_journal(tmp_path)
    study = Search(task(n_trials=1), storage, tmp_path)
    study.run(FakeRunner(), quiet)
    raw = optuna.load_study(study_name="test", storage=storage)
    running = raw.ask(distributions(space()))
    running.set_user_attr("settings", space().settings(running.params).as_dict())
    for _ in range(3):
        Search(task(n_trials=1), storage, tmp_path)
    assert [trial.state for trial in raw.trials].count(TrialState.WAITING) == 1
