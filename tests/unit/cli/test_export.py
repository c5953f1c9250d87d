"""layertune export, as a user starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployments import demo, worksheet
from layertune.results.result import write_result


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> str:
    write_result(demo(), tmp_path / "result.json")
    return str(tmp_path)


def test_one_file_is_printed_as_it_is(study: str) -> None:
    answer = export(study, "--format", "preset")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("; layertune ")


def test_several_files_are_printed_under_their_names(study: str) -> None:
    printed = export(study, "--format", "ollama").stdout
    assert printed.startswith("==> chat.Modelfile <==\n# layertune ")
    assert "\n\n==> code.Modelfile <==\n# layertune " in printed


def test_several_files_are_written_into_a_folder(study: str, tmp_path: Path) -> None:
    answer = export(study, "--format", "systemd", "-o", str(tmp_path / "new" / "units"))
    assert (answer.returncode, answer.stdout) == (0, "")
    assert sorted(path.name for path in (tmp_path / "new" / "units").iterdir()) == [
        "llama-server-chat.service", "llama-server-code.service"
    ]  # fmt: skip
    assert answer.stderr.count("wrote ") == 2


def test_one_file_goes_to_the_name_that_was_given_or_into_a_folder_that_is_there(study: str, tmp_path: Path) -> None:
    export(study, "--format", "compose", "-o", str(tmp_path / "mine.yml"))
    export(study, "--format", "compose", "-o", str(tmp_path))
    assert (tmp_path / "mine.yml").read_bytes() == (tmp_path / "compose.yml").read_bytes()


def test_the_folder_of_the_models_can_be_given(study: str) -> None:
    assert "model = /srv/a b/gemma-" in export(study, "--format", "preset", "--models-dir", "/srv/a b").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compat", "worksheet", "--format", "compose"], "--compat worksheet is about a .env file"),
        (["--compat", "docker"], "nothing is known of 'docker'"),
        (
            ["--compat", "worksheet"],
            "-t 4 of the case study for both models; search with --set chat",
        ),
        (["--pick", "9"], "the study has no trial 9"),
        (["-o", "{file}/x"], "cannot write"),
        (["--format", "ollama", "-o", "{file}"], "cannot make"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(study: str, arguments: list[str], words: str) -> None:
    answer = export(study, *(argument.format(file=f"{study}/result.json") for argument in arguments))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert words in " ".join(answer.stderr.split())


def test_compat_worksheet_prints_its_warnings_and_the_two_changes_of_the_compose_file(tmp_path: Path) -> None:
    write_result(worksheet(20, 21), tmp_path / "result.json")
    answer = export(str(tmp_path), "--compat", "worksheet", "--pick", "code")
    assert answer.returncode == 0
    assert "\nCODE_N_GPU_LAYERS=" in answer.stdout
    assert answer.stderr.count("warning: ") == 18
    assert "warning: CHAT_THREADS=4 is not read by the case study's compose file, which has -t 4\n" in answer.stderr
    assert "needs two changes:\n1. delete the two comments" in answer.stderr
