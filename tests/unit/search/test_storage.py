import json
from pathlib import Path

import pytest

from layertune.errors import StorageError, StorageUnreachable, StudyLocked, UsageError
from layertune.search.storage import JOURNAL_NAME, mend_journal, open_journal, open_url
from layertune.search.study_lock import study_lock
from layertune.testing import FakeRunner
from small_study import quiet, search


@pytest.mark.parametrize("line", [b"null\n", b"{}\n", b"[1, 2]\n", b"\x00\x00\x00\n", b"\x00\x00\x00"])
def test_a_last_line_that_is_no_record_is_cut(line: bytes, tmp_path: Path) -> None:
    search(tmp_path, n_trials=2).run(FakeRunner(), quiet)
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole + line)
    mend_journal(journal)
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
        ("redis://host:6379/0?user=a&password=s3cr@t&x=1", r"\*\*\* \(hidden, as it may hold a password\) is not"),
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
