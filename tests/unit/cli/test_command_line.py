"""The program as a user starts it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin

TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


def layertune(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    known_standin(TINY).write(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "search",
        "pareto",
        "report",
        "export",
        "compare",
        "verify",
        "predict",
        "profile",
        "doctor",
        "standin",
        "quantize",
    ],
)
def test_help_is_answered_with_an_example(command: str) -> None:
    answer = layertune(*command.split(), "--help")
    assert answer.returncode == 0
    assert "Usage:" in answer.stdout
    assert not command or f"layertune {command}" in answer.stdout


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from layertune.cli.main import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = ('llama_cpp', 'optuna', 'pynvml', 'numpy', 'pydantic', 'httpx')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages() -> None:
    assert layertune("--version").stdout.startswith("layertune 0.")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["search"], 2, "no model is given"),
        (["search", "none.toml"], 2, "cannot read none.toml"),
        (["search", "--model", "chat=none.gguf", "--device", "cpu"], 2, "none.gguf: No such file"),
        (["search", "--model", "chat={text}", "--device", "cpu"], 2, "is not a GGUF file"),
        (["search", "--model", "chat={cut}", "--device", "cpu"], 2, "is truncated: its tensors need"),
        (["search", "--model", "chat={llada}", "--device", "cpu"], 2, "is a diffusion model, which does not generate"),
        (["estimate", "--model", "chat={llada}", "--device", "cpu"], 2, "is a diffusion model, which does not"),
        (["search", "--model", "chat={tiny}", "--device", "gpu:7"], 2, "sees no"),
        (["search", "--model", "chat={tiny}", "--device", "cpu", "--set", "chat.nosuch=1"], 2, "unknown key"),
        (["search", "--model", "chat={tiny}", "--device", "cpu", "--set", "chat.n_ctx=64"], 2, "needs 640 tokens"),
        (["search", "--model", "chat={tiny}", "--device", "cpu", "--storage", "gopher://x"], 2, "is not a storage URL"),
        (["pareto", "nowhere"], 2, "cannot read nowhere"),
        (["verify"], 2, "nothing is given to verify; give STUDY, or --env FILE"),
        (["verify", "nowhere"], 2, "cannot read nowhere"),
        (["verify", "--env", "nowhere/.env"], 2, "cannot read nowhere"),
        (
            ["export", "nowhere", "--format", "docx"],
            2,
            "'docx' is no export format; choose one of env, compose, llama-server",
        ),
        (["standin", "Llama-9", "-o", "x.gguf"], 2, "no stand-in is known for 'Llama-9'"),
        (["standin", "{text}", "-o", "x.gguf"], 2, "is not a GGUF file"),
        (
            ["standin", "{tiny}", "--type", "Q9", "-o", "x.gguf"],
            2,
            "'Q9' is no type of a file; choose among Q8_0, Q6_K",
        ),
        (["quantize", "{tiny}", "--types", "Q4_0,Q9"], 2, "'Q9' is no type of a file; choose among Q8_0, Q6_K"),
        (["quantize", "{text}", "--types", "Q4_0"], 2, "is not a GGUF file"),
        (["quantize", "{tiny}", "--types", "Q4_0,IQ2_M"], 2, "IQ2_M of this model needs an importance matrix"),
        (["quantize", "{tiny}", "--types", "Q4_0", "-o", "{text}"], 2, "cannot write"),
        (["search", "--nonsense"], 2, "No such option"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_status(
    arguments: list[str], status: int, words: str, tiny: Path
) -> None:
    text, cut = tiny.with_name("text.gguf"), tiny.with_name("cut.gguf")
    text.write_text("no model at all, but long enough to be looked at")
    cut.write_bytes(tiny.read_bytes()[:-5000])
    llada = tiny.with_name("llada.gguf")
    llada.write_bytes(tiny.read_bytes().replace(b"qwen2", b"llada"))
    filled = [argument.format(tiny=tiny, text=text, cut=cut, llada=llada) for argument in arguments]
    answer = layertune(*filled, cwd=tiny.parent)
    assert (answer.returncode, answer.stdout) == (status, "")
    assert words in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.stderr


def test_a_file_name_that_no_env_can_hold_is_refused_before_anything_is_measured(tiny: Path) -> None:
    quoted = tiny.rename(tiny.with_name("it's.gguf"))
    answer = layertune("search", "--model", f"chat={quoted}", "--device", "cpu", cwd=tiny.parent)
    assert (answer.returncode, "a .env file cannot hold the file name" in answer.stderr) == (2, True)
    assert not (tiny.parent / "studies").exists()


def test_a_dry_run_says_what_would_be_searched_and_leaves_nothing(tiny: Path) -> None:
    answer = layertune("search", "--model", f"chat={tiny}", "--device", "cpu", "--dry-run", cwd=tiny.parent)
    assert answer.returncode == 0
    counted = re.search(r"(\d+) settings of which (\d+) fit, sampler layer-split, at most 40 trials", answer.stderr)
    assert counted
    assert "takes about " in answer.stderr
    as_json = layertune("search", "--model", f"chat={tiny}", "--device", "cpu", "--dry-run", "--json", cwd=tiny.parent)
    found = json.loads(as_json.stdout)
    assert [str(found["n_settings"]), str(found["n_settings_that_fit"])] == [*counted.groups()]
    assert 0 < found["duration"]["seconds"][0] < found["duration"]["seconds"][1] <= 3600
    assert not (tiny.parent / "studies").exists()


def test_the_doctor_reports_as_json() -> None:
    report = json.loads(layertune("doctor", "--json").stdout)
    assert report["build"]["llama_cpp_python"]
    assert {finding["what"] for finding in report["findings"]} >= {"machine", "llama.cpp", "emulated card", "NVML"}


def test_a_stand_in_never_replaces_its_template_and_nothing_else_unasked(tiny: Path) -> None:
    before = tiny.read_bytes()
    answer = layertune("standin", str(tiny), "-o", str(tiny), "--overwrite")
    assert (answer.returncode, "is read by this command" in answer.stderr) == (2, True)
    assert tiny.read_bytes() == before
    copy = tiny.with_name("copy.gguf")
    assert layertune("standin", str(tiny), "-o", str(copy)).returncode == 0
    assert copy.stat().st_size == tiny.stat().st_size
    again = layertune("standin", str(tiny), "-o", str(copy))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
