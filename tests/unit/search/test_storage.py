import json
import os
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from layertune.errors import StorageError, StorageUnreachable, StudyLocked, StudyMismatch, UsageError
from layertune.sampler.distributions import distributions
from layertune.search.storage import JOURNAL_NAME, open_journal, open_url, repair_journal
from layertune.search.study_lock import study_lock
from layertune.testing import FakeRunner
from small_study import quiet, search, space, stored, task


@pytest.mark.parametrize("line", [b"null\n", b"{}\n", b"[1, 2]\n", b"\x00\x00\x00\n", b"\x00\x00\x00"])
def test_a_last_line_that_is_no_record_is_cut(line: bytes, tmp_path: Path) -> None:
    search(tmp_path, n_trials=2).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + line)
    repair_journal(journal)
    assert journal.read_bytes() == whole
    assert len(search(tmp_path, n_trials=2).finished()) == 2


def test_a_journal_of_a_later_optuna_is_refused_untouched(tmp_path: Path) -> None:
    search(tmp_path, n_trials=1).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    later = journal.read_bytes() + json.dumps({"op_code": 999, "worker_id": "x"}).encode() + b"\n"
    journal.write_bytes(later)
    with pytest.raises(StorageError, match="no study that this Optuna"):
        open_journal(tmp_path)
    assert journal.read_bytes() == later


def test_what_a_killed_write_leaves_beside_the_journal_is_removed(tmp_path: Path) -> None:
    left_behind = [tmp_path / f"{JOURNAL_NAME}.lock", tmp_path / f"{JOURNAL_NAME}.lock0b1c.rename"]
    left_behind[0].symlink_to(tmp_path / JOURNAL_NAME)
    left_behind[1].touch()
    open_journal(tmp_path)
    assert not any(path.is_symlink() or path.exists() for path in left_behind)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "nonsense is not a storage URL"),
        ("redis://someone:s3cret@host/0", "is not a storage URL"),
        ("postgresql+nodriver://someone:s3cr@t@host/study", "is not a storage URL"),
        ("redis://host:6379/0?user=a&password=s3crt&x=1", r"redis://host:6379/0\?\*\*\* is not"),
        (
            "redis://host:6379/0?user=a&password=s3cr@t&x=1",
            r"\*\*\* \(hidden, because it may contain a password\) is not",
        ),
        ("oracle://someone:s3cret@host/study", "needs a driver that is not here; install it with: pip install"),
    ],
)
def test_a_storage_url_that_cannot_be_used_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        open_url(url)
    assert "s3cr" not in str(caught.value)
    assert "@t@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////not/there/study.db", "unable to open database file"),
        ("postgresql://someone:s3cret@/study?host=/not/there", r"\(psycopg.OperationalError\) .*No such file"),
        ("postgres://someone:s3cret@127.0.0.1:1/study", "connection to server at .* failed"),
    ],
)
def test_a_database_that_does_not_answer_is_exit_status_2_and_one_line(url: str, words: str) -> None:
    with pytest.raises(StorageUnreachable, match=words) as caught:
        open_url(url)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:pa@s3cr3t@127.0.0.1:1/study",
        "postgresql://someone:s3cr3t@x@127.0.0.1:1/study",
        "postgresql:/someone:s3cr3t@127.0.0.1:1/study",
        "host=127.0.0.1 port=1 user=someone password=s3cr3t",
        "postgresql://127.0.0.1:1/study?user=someone&password=s3cr3t",
        "postgresql://someone:s3cr3t@no.such.host.invalid/study",
    ],
)
def test_no_part_of_a_password_is_in_the_sentence(url: str) -> None:
    with pytest.raises((UsageError, StorageUnreachable)) as caught:
        open_url(url)
    assert "s3cr3t" not in str(caught.value)


def test_a_lock_says_whose_it_is_and_goes_with_its_owner(tmp_path: Path) -> None:
    with (
        study_lock(tmp_path),
        pytest.raises(StudyLocked, match=r"process \d+ on \S+ since \d{4}-"),
        study_lock(tmp_path),
    ):
        pass
    with study_lock(tmp_path):
        pass


def test_a_folder_that_cannot_hold_a_lock_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*study\.lock"), study_lock(tmp_path / "missing"):
        pass


@pytest.mark.parametrize("n_zeros", [0, 1, 5000])
def test_a_journal_that_a_power_cut_emptied_holds_no_study(tmp_path: Path, n_zeros: int) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(bytes(n_zeros))
    assert search(tmp_path).is_new


def test_the_zeros_that_a_power_cut_leaves_at_the_end_are_cut(tmp_path: Path) -> None:
    search(tmp_path, n_trials=3).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:20])
    for torn in (b"", b'{"op_co'):
        journal.write_bytes(kept + torn + bytes(len(whole)))
        repair_journal(journal)
        assert journal.read_bytes() == kept


def test_a_journal_without_its_beginning_is_refused_untouched(tmp_path: Path) -> None:
    search(tmp_path, n_trials=2).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    headless = b"".join(journal.read_bytes().splitlines(keepends=True)[1:])
    journal.write_bytes(headless)
    with pytest.raises(StorageError, match="has lost its beginning, which names the study; restore it from a copy, or"):
        search(tmp_path)
    assert journal.read_bytes() == headless


@pytest.mark.parametrize("text", ["notes\n", '{"time": 1}\n', "{}\n", "[1]", "notes"])
def test_a_file_that_is_no_journal_is_refused_untouched(tmp_path: Path, text: str) -> None:
    (tmp_path / JOURNAL_NAME).write_text(text)
    with pytest.raises(StorageError, match="is not a study's journal"):
        open_journal(tmp_path)
    assert (tmp_path / JOURNAL_NAME).read_text() == text


def test_a_pipe_is_no_journal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / JOURNAL_NAME)
    with pytest.raises(StorageError, match="is not a regular file"):
        open_journal(tmp_path)


def test_a_journal_of_another_study_is_refused(tmp_path: Path) -> None:
    search(tmp_path, n_trials=1).run(FakeRunner(), quiet)
    with pytest.raises(StudyMismatch, match="the study in this folder is called test, and the config says other"):
        search(tmp_path, name="other")


def test_a_study_that_was_cut_off_before_its_identity_may_have_had_other_objectives(tmp_path: Path) -> None:
    search(tmp_path)
    journal = tmp_path / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    objectives = task().objectives[:2]
    with pytest.raises(StudyMismatch, match="the study test has other objectives"):
        search(tmp_path, objectives=objectives)


@pytest.mark.parametrize("lost", [b"", bytes(32)])
def test_an_owner_that_a_power_cut_emptied_is_made_anew_and_its_trials_go_on(tmp_path: Path, lost: bytes) -> None:
    study = search(tmp_path, n_trials=1)
    study.run(FakeRunner(), quiet)
    raw = stored(tmp_path)
    running = raw.ask(distributions(space()))
    running.set_user_attr("owner", (tmp_path / "owner").read_text())
    running.set_user_attr("settings", space().settings(running.params).as_dict())
    (tmp_path / "owner").write_bytes(lost)
    search(tmp_path, n_trials=1)
    assert stored(tmp_path).trials[running.number].state == TrialState.FAIL
    assert len((tmp_path / "owner").read_text()) == 32


def test_a_foreign_owner_file_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text("Jane Doe")
    with pytest.raises(StorageError, match="does not name a study's owner"):
        search(tmp_path)
    assert (tmp_path / "owner").read_text() == "Jane Doe"


def test_a_lock_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "study.lock").symlink_to("precious")
    with pytest.raises(StorageError, match="it is a symbolic link"), study_lock(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_lock_never_empties_a_file_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "study.lock").write_text("my notes\n")
    with study_lock(tmp_path), pytest.raises(StudyLocked, match="process unknown"), study_lock(tmp_path):
        pass
    assert (tmp_path / "study.lock").read_text() == "my notes\n"


def test_a_pipe_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.lock")
    with pytest.raises(StorageError, match="it is not a regular file"), study_lock(tmp_path):
        pass


@pytest.mark.parametrize("value", ["5", [1], {}, None, 10**6])
def test_a_queued_trial_of_other_values_than_the_space_s_is_refused_in_a_sentence(
    value: object, tmp_path: Path
) -> None:
    search(tmp_path, n_trials=1, initial_design=[space().smallest()])
    journal = tmp_path / JOURNAL_NAME
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    queued = next(found for line in lines for found in _dictionaries(line) if "fixed_params" in found)
    queued["fixed_params"]["chat.n_gpu_layers"] = value
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(StorageError, match="fixed_params of trial 0 that layertune has not written"):
        search(tmp_path, n_trials=1)


def _dictionaries(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a record of the journal, and the dictionaries in it."""
    return [record, *(value for value in record.values() if isinstance(value, dict))]
