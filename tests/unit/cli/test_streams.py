"""Readers that go, disks that are full, and descriptors that are closed: as a user's shell has them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from layertune.cli.console import printing, show_json, warn
from layertune.errors import OutputError

ROOT = Path(__file__).parents[3]
STUDY = ROOT / "studies" / "demo-256mib"
LAYERTUNE = f"{sys.executable} -c 'from layertune.cli.main import run; run()'"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash with `layertune` in it; the exit status is that of layertune."""
    script = f'set -o pipefail; layertune() {{ {LAYERTUNE} "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("command", [f"pareto {STUDY}", f"pareto {STUDY} --json", f"export {STUDY}", "--help"])
def test_a_reader_that_stops_early_is_no_error(command: str) -> None:
    for unbuffered in ("", "1"):
        answer = shell(f"PYTHONUNBUFFERED={unbuffered} layertune {command} | true")
        assert (answer.returncode, answer.stderr) == (0, "")
    answer = shell(f"layertune {command} | head -1")
    assert (answer.returncode, answer.stderr, len(answer.stdout.splitlines())) == (0, "", 1)


@pytest.mark.parametrize("command", [f"pareto {STUDY}", f"pareto {STUDY} --json", f"export {STUDY}", "--help"])
def test_results_that_a_full_disk_refuses_are_an_error_in_one_sentence(command: str) -> None:
    answer = shell(f"layertune {command} > /dev/full")
    assert answer.returncode == 1
    assert answer.stderr == (
        "layertune: standard output cannot be written: No space left on device; make room there, or write elsewhere\n"
    )


@pytest.mark.parametrize("progress", ["2> /dev/full", "2>&-", "2> >(true)"])
def test_progress_that_cannot_be_written_changes_nothing(progress: str, tmp_path: Path) -> None:
    answer = shell(f"layertune export {STUDY} -o {tmp_path}/a.env {progress}")
    assert answer.returncode == 0
    assert (tmp_path / "a.env").read_text().startswith("#")
    assert shell(f"layertune pareto {tmp_path}/none {progress}").returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_not_taken_by_files(closed: str, tmp_path: Path) -> None:
    answer = shell(f"layertune export {STUDY} -o {tmp_path}/a.env {closed}; layertune pareto {STUDY} {closed}")
    assert answer.returncode == 0
    assert (tmp_path / "a.env").read_text() == shell(f"layertune export {STUDY}").stdout


def test_an_output_that_is_standard_output_adds_to_the_file_it_goes_to(tmp_path: Path) -> None:
    answer = shell(f"echo before > {tmp_path}/all; layertune export {STUDY} -o /dev/stdout >> {tmp_path}/all")
    assert answer.returncode == 0
    assert (tmp_path / "all").read_text() == "before\n" + shell(f"layertune export {STUDY}").stdout


def test_what_a_long_command_found_is_worth_more_than_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_values: object, **_names: object) -> None:
        raise OutputError("standard output cannot be written: no space", remedy="make room")

    monkeypatch.setattr(json, "dumps", refuse)
    with printing():
        show_json({})
    warn("after")
    assert capsys.readouterr().err == "warning: standard output cannot be written: no space\nwarning: after\n"
