"""The door to the terminal: nothing is printed but through it, and nothing goes out raw."""

import ast
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from layertune.cli import console
from layertune.cli.main import app
from layertune.errors import LayertuneError, UsageError
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "layertune"
RECORDED = ROOT / "studies" / "demo-256mib"

# Programs of their own: their streams are pipes or logs that another process of layertune reads, never a terminal.
PROGRAMS = {
    "devices/bandwidth.py",
    "devices/host_rates.py",
    "devices/emulated/server.py",
    "devices/inspection.py",
    "devices/projection_process.py",
    "trial/worker.py",
}
assert all((SOURCE / path).is_file() for path in PROGRAMS)
FILES = sorted(
    path.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("*.py")
    if path.relative_to(SOURCE).as_posix() not in PROGRAMS | {"cli/console.py"}
)

# Of a terminal, of rich, of Markdown, of no encoding but UTF-8, and of none at all.
HOSTILE = "\x1b]52;c;QQ==\x07\x9b2J\u202e[/x][bold]`|<b>\n- [x] 모델 × \udcff\r"
COMMANDS = [
    ["pareto", "{study}", "--plot"],
    ["pareto", "{study}", "--json"],
    ["export", "{study}", "--explain"],
    ["export", "{study}", "--explain", "--json"],
    ["compare", "{study}", "{study}"],
    ["compare", "{study}", "{study}", "--markdown"],
    ["compare", "{study}", "{study}", "--json"],
    ["report", "{study}", "-o", "{folder}/page.html"],
    ["verify", "{study}", "--models-dir", "{folder}"],
    ["verify", "{study}", "--models-dir", "{folder}", "--json"],
    ["pareto", "{folder}/no\x1b[2Jstudy\nlayertune: all is well"],
    ["search", "--model", "chat={folder}/no\x1b[2J", "--set", "x\x1b[2J.y=1", "--device", "cpu"],
    ["no\x1b[2Jcommand"],
    ["pareto", "{study}", "--no\x1b[2J"],
    ["search", "--trials", "\x1b[2J"],
    ["--help"],
    ["search", "--help"],
    ["--version"],
]


def hostile(value: Any, words: str) -> Any:
    """Return the values of a result.json with `words` behind every text that is free."""
    if isinstance(value, dict):
        free = {"file", "architecture", "quantization", "name", "model", "reason", "source", "version", "driver"}
        return {
            key: f"{each}{words}" if key in free and isinstance(each, str) else hostile(each, words)
            for key, each in value.items()
        }
    return [hostile(each, words) for each in value] if isinstance(value, list) else value


def hostile_study(folder: Path, words: str) -> Path:
    data = json.loads((RECORDED / "result.json").read_text(encoding="utf-8"))
    names = [each["name"] for each in data["objectives"]]
    changed = hostile(data, words)
    for objective, name in zip(changed["objectives"], names, strict=True):
        objective["name"] = name
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(changed), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_study(tmp_path_factory.mktemp("hostile"), HOSTILE)


def said(command: list[str], study: Path, encoding: str) -> bytes:
    arguments = [word.format(study=study, folder=study.parent) for word in command]
    answer = CliRunner(charset=encoding).invoke(app, arguments)
    assert answer.exception is None or isinstance(answer.exception, (LayertuneError, SystemExit)), answer.exception
    return answer.output_bytes


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp949", "cp1252", "latin-1"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: ascii(" ".join(command)))
def test_no_command_fails_on_an_encoding_or_sends_a_control_character(
    command: list[str], encoding: str, study: Path
) -> None:
    text = said(command, study, encoding).decode(encoding)
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "[2J" not in text.replace("\\x1b[2J", "").replace("\\x9b2J", "")


@given(words=st.text())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_of_a_result_is_shown(words: str, tmp_path: Path) -> None:
    text = said(["pareto", "{study}", "--plot"], hostile_study(tmp_path / "study", words), "utf-8").decode()
    assert not [char for char in text if not char.isprintable() and char != "\n" and not char.isspace()]


@given(line=st.text(), encoding=st.sampled_from(["ascii", "cp949", "cp1252", "latin-1", "utf-8"]))
@example(line="a" * 200, encoding="ascii")  # a cell that is cut off
def test_a_line_is_one_line_of_visible_characters_in_any_encoding(line: str, encoding: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n"))
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n"))
        console.say(line)
        console.show(line)
        table = console.Table(line)
        table.column(line, line)
        table.row(line)
        console.show_table(table)
        sys.stderr.flush()
        sys.stdout.flush()
        on_stderr, on_stdout = (each.buffer.getvalue().decode(encoding) for each in (sys.stderr, sys.stdout))
    assert on_stderr.count("\n") == 1
    assert all(char.isprintable() or char == "\n" or char.isspace() for char in on_stderr + on_stdout)
    assert not set(on_stderr + on_stdout) & {"\x1b", "\x07", "\r", "\x9b", "\t"}


def test_a_study_folder_that_no_file_of_it_can_name_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    known_standin(KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)).write(model)
    arguments = ["search", "--model", f"chat={model}", "--device", "cpu", "--study", f"{tmp_path}/\udcff/mine"]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, UsageError)
    assert "is not UTF-8; choose another with --study" in str(answer.exception)


def test_the_live_line_takes_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    live = console.LiveLine("trial", 3, 0)
    live.update(1, stage="load [/x]\x1b[2J")
    live.say("[/x] \x1b[2J")
    assert capsys.readouterr().err == "[/x] \\x1b[2J\n"


def test_warnings_log_lines_and_tracebacks_go_through_the_door() -> None:
    code = (
        "import logging, warnings; from layertune.cli.console import take_over; take_over()\n"
        "warnings.warn('a\\x1b[2J')\n"
        "logging.getLogger('optuna').warning('b %s', '\\x1b[2J')\n"
        "raise ValueError('c\\x1b[2J postgresql://u:pw@h/db')\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"\x1b" not in answer.stderr
    assert b"pw" not in answer.stderr
    for line in (b"warning: UserWarning: a\\x1b[2J", b"b \\x1b[2J", b"ValueError: c\\x1b[2J postgresql://***@h/db"):
        assert line in answer.stderr


STREAMS = {f"sys.{name}" for name in ("stdout", "stderr", "__stdout__", "__stderr__")}


def printing(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module could print: calls and imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            words = ast.unparse(node.func)
            if words == "print" or words.endswith((".echo", ".secho", "Console")) or words.startswith("rich."):
                yield words
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in STREAMS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "rich")
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in {"rich", "sys", "builtins"}:
            yield str(node.module)


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_printed_but_through_the_door(path: str) -> None:
    assert list(printing(ast.parse((SOURCE / path).read_text(encoding="utf-8")))) == []
