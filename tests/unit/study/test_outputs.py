"""What `-o` refuses, and what it writes."""

import shutil
from pathlib import Path

import pytest

from layertune.errors import UsageError
from layertune.study.outputs import check_output, write_files, write_output

STUDY = Path(__file__).parents[3] / "studies" / "demo-256mib"
KEPT = ["study.toml", "journal.log", "result.json", "warm_start.json", "owner", "study.lock"]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = shutil.copytree(STUDY, tmp_path / "study")
    for name in KEPT:
        if not (folder / name).exists():
            (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("way", ["path", "link", "link to the folder", "name in use"])
def test_a_study_s_own_files_are_refused_however_they_are_named(study: Path, name: str, way: str) -> None:
    before = (study / name).read_bytes()
    path = study / name
    if way == "link":
        path = study.parent / "link"
        path.symlink_to(study / name)
    elif way == "link to the folder":
        (study.parent / "folder").symlink_to(study)
        path = study.parent / "folder" / name
    elif way == "name in use":
        (study / name).unlink()
        before = b""
    with pytest.raises(UsageError, match="is a file of the study in "):
        write_output(path, "new", reads=[])
    assert (before == b"" and not (study / name).exists()) or (study / name).read_bytes() == before


def test_what_a_command_reads_is_refused_also_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "hard").hardlink_to(tmp_path / "mine.json")
    for name in ("mine.json", "hard"):
        with pytest.raises(UsageError, match="is read by this command"):
            check_output(tmp_path / name, reads=[tmp_path / "mine.json"])


def test_the_first_of_several_files_is_not_written_where_another_is_refused(study: Path) -> None:
    with pytest.raises(UsageError, match="is a file of the study"):
        list(write_files(study, {"a.sh": "new", "owner": "new"}, reads=[]))
    assert not (study / "a.sh").exists()


def test_what_a_search_can_write_again_is_no_file_of_its_own(study: Path) -> None:
    for name in (".env", "report.html", "verify.md"):
        write_output(study / name, "new", reads=[study])
        assert (study / name).read_text() == "new"


def test_the_names_of_a_study_are_free_elsewhere(tmp_path: Path) -> None:
    write_output(tmp_path / "owner", "new", reads=[])
    write_output(tmp_path / "result.json", "new", reads=[])
    with pytest.raises(UsageError, match="is a file of the study"):
        write_output(tmp_path / "result.json", "newer", reads=[])
