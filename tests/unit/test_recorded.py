"""The recorded studies: what docs/comparing.md says of them, and what they must not contain."""

import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from layertune.config import load_config
from layertune.results.result import read_result

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.parent for path in ROOT.glob("studies/*/study.toml") if (path.parent / "result.json").exists())
MARK = "<!-- compare:begin -->\n"


def compare(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "compare_recorded.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what `make compare` reads and writes."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "docs" / "pictures", tmp_path / "docs" / "pictures", dirs_exist_ok=True)
    shutil.copy(ROOT / "docs" / "comparing.md", tmp_path / "docs")
    for folder in STUDIES:
        (tmp_path / "studies" / folder.name).mkdir(parents=True)
        shutil.copy(folder / "result.json", tmp_path / "studies" / folder.name)
    return tmp_path


def test_the_page_s_comparison_is_what_the_recorded_studies_give() -> None:
    answer = compare(ROOT, "--check")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_comparison_that_is_out_of_date_is_named_and_only_its_block_is_replaced(copy: Path) -> None:
    page = copy / "docs" / "comparing.md"
    right = page.read_text(encoding="utf-8")
    page.write_text(right.replace(MARK, MARK + "made up\n"), encoding="utf-8")
    answer = compare(copy, "--check")
    assert answer.returncode == 1
    assert answer.stdout.strip() == "out of date: comparing.md; run make compare"
    assert compare(copy).returncode == 0
    assert page.read_text(encoding="utf-8") == right


def test_a_page_without_the_marks_is_one_sentence(copy: Path) -> None:
    (copy / "docs" / "comparing.md").write_text("# Comparing\n", encoding="utf-8")
    answer = compare(copy)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("comparing.md has no lines <!-- compare:begin -->")


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_recorded_study_is_whole_and_names_no_folder_of_the_machine_that_made_it(folder: Path) -> None:
    result, config = read_result(folder), load_config(folder / "study.toml")
    assert result.study.name == config.name
    assert result.picks
    for model in config.models.values():
        assert {(folder / "../../models").resolve()} == {path.parent.resolve() for path in model.paths.values()}
    for name in (".env", "journal.log", "result.json", "study.toml"):
        found = re.search(r'["= ](/[\w.-]+/[\w./-]+)', (folder / name).read_text(encoding="utf-8"))
        assert found is None, found


def test_a_recording_that_nobody_planned_is_refused_with_the_names_that_there_are() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "record_studies.py"), "demo-1tib"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "no recording is called demo-1tib; there are demo-512mib, demo-384mib" in answer.stderr


@pytest.mark.parametrize("place", [ROOT, Path.home(), Path(tempfile.gettempdir())], ids=["clone", "home", "temporary"])
def test_a_study_that_names_a_folder_of_this_machine_is_not_recorded(place: Path, tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "record_studies.py"))
    for path in script["recorded_files"](tmp_path):
        path.write_text("../../models/chat.gguf")
    script["refuse_paths"](tmp_path)
    (tmp_path / "journal.log").write_text(f"{place}/models/chat.gguf")
    with pytest.raises(SystemExit, match="names a folder of this machine"):
        script["refuse_paths"](tmp_path)


def test_a_recorded_study_is_not_what_make_verify_takes(tmp_path: Path) -> None:
    (tmp_path / "studies" / "demo-384mib").mkdir(parents=True)
    (tmp_path / "studies" / "demo-384mib" / "result.json").touch()
    command = [sys.executable, str(ROOT / "scripts" / "demo_verify.py")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 1
    assert "there is no finished study of the demo pair here" in answer.stderr
