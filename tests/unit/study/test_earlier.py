"""What is kept where a search begins with less than its folder shows."""

import shutil
from pathlib import Path

import pytest

from layertune.results.result import read_result
from layertune.study.earlier import keep_earlier

STUDY = Path(__file__).parents[3] / "studies" / "demo-256mib"
WRITTEN = ("result.json", ".env", "report.html")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(STUDY / "result.json", tmp_path)
    (tmp_path / ".env").write_text("A=1\n")
    return tmp_path


def keep(folder: Path, finished: list[int], *, begins_anew: bool) -> str:
    """Return what is said."""
    said: list[str] = []
    keep_earlier(folder, WRITTEN, finished, said.append, begins_anew=begins_anew)
    return "\n".join(said)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def numbers() -> list[int]:
    return [trial.number for trial in read_result(STUDY).trials]


@pytest.mark.parametrize("n_left", [0, 1, 8])
def test_a_result_with_more_trials_than_the_study_is_kept_and_said(folder: Path, n_left: int) -> None:
    said = keep(folder, numbers()[:n_left], begins_anew=n_left == 0)
    assert names(folder) == [".env.old", "result.json.old"]
    assert (folder / "result.json.old").read_bytes() == (STUDY / "result.json").read_bytes()
    n_trials = len(numbers())
    assert f"the study has lost {n_trials - n_left} of the {n_trials} finished trials in result.json" in said
    assert "what was there is kept as result.json.old, .env.old" in said
    assert ("the search begins anew" in said) == (n_left == 0)


def test_what_was_kept_before_stays(folder: Path) -> None:
    (folder / "result.json.old").write_text("first")
    (folder / ".env.old").symlink_to("nowhere")
    keep(folder, [], begins_anew=True)
    assert (folder / "result.json.old").read_text() == "first"
    assert names(folder) == [".env.old", ".env.old2", "result.json.old", "result.json.old2"]


@pytest.mark.parametrize("text", ["", "\0" * 100, "{}", '{"schema_version": 99}', '{"other": "tool"}'])
def test_a_result_that_cannot_be_read_is_kept(folder: Path, text: str) -> None:
    (folder / "result.json").write_text(text)
    keep(folder, numbers(), begins_anew=False)
    assert (folder / "result.json.old").read_text() == text


def test_files_of_something_else_are_kept(folder: Path) -> None:
    (folder / "result.json").unlink()
    said = keep(folder, [], begins_anew=False)
    assert (folder / ".env.old").read_text() == "A=1\n"
    assert "has files that are not of this study; what was there is kept as .env.old" in said


def test_a_study_that_lost_nothing_says_nothing(folder: Path) -> None:
    assert keep(folder, [*numbers(), 99], begins_anew=False) == ""
    assert names(folder) == [".env", "result.json"]
