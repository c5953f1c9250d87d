"""A model file replaced or deleted while a search runs, on the emulated card, with a tiny stand-in."""

import subprocess
import sys
from pathlib import Path

import pytest

from layertune.models import file_sha256
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import read_result

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

FIRST = KnownModel("chat", 4, 256, 512, 4, 2, n_vocab=2000, tied=True)
OTHER = KnownModel("chat", 5, 256, 512, 4, 2, n_vocab=2000, tied=True)
CONFIG = """
name = "tiny"
device = "emulated:14MiB"
emulated = { n_threads = 1 }
host = { n_cpus = 1 }
search = { n_trials = 4, sampler = "random" }
measurement = { min_repeats = 2, max_repeats = 2, warm_up = "0.01s", max_attempts = 1, reference_every = 0 }
finals = { max_rounds = 0, confirming_rounds = 0 }
[models.chat]
path = "chat.gguf"
workload = { n_prompt = 8, n_generate = 4 }
space = { n_ctx = 256, n_batch = [16, 32] }
"""
# Runs the command, and does something to the model file once two trials are measured.
COMMAND = """
import sys
from pathlib import Path
from layertune.cli.main import run
from layertune.trial.process_runner import ProcessTrialRunner
real, n_run = ProcessTrialRunner.run, 0
def meddle(*arguments):
    global n_run
    outcome = real(*arguments)
    n_run += 1
    if n_run == 2:
        {meddling}
    return outcome
ProcessTrialRunner.run = meddle
run()
"""
GO_ON = "pass"


def search(folder: Path, meddling: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = COMMAND.format(meddling=meddling)
    command = [sys.executable, "-c", code, "search", "tiny.toml", "--study", "study", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("meddling", "words"),
    [
        ("Path('other.gguf').replace('chat.gguf')", "chat.gguf was replaced or changed"),
        ("Path('chat.gguf').unlink()", "chat.gguf cannot be read any more"),
    ],
)
def test_the_study_ends_with_a_sentence_and_its_result_is_the_first_files(
    meddling: str, words: str, tmp_path: Path
) -> None:
    known_standin(FIRST).write(tmp_path / "chat.gguf")
    known_standin(OTHER).write(tmp_path / "other.gguf")
    kept, other = (tmp_path / "chat.gguf").read_bytes(), (tmp_path / "other.gguf").read_bytes()
    first = file_sha256(tmp_path / "chat.gguf")
    (tmp_path / "tiny.toml").write_text(CONFIG)
    answer = search(tmp_path, meddling)
    assert answer.returncode == 2, answer.stderr
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    result = read_result(tmp_path / "study")
    assert len(result.trials) == 2
    assert (result.models["chat"].sha256, result.models["chat"].n_layer) == (first, 4)

    (tmp_path / "chat.gguf").write_bytes(other)
    refused = search(tmp_path, GO_ON, "--resume")
    assert refused.returncode == 2
    assert "the study was made under other conditions: model chat was" in refused.stderr
    assert read_result(tmp_path / "study") == result

    (tmp_path / "chat.gguf").write_bytes(kept)
    resumed = search(tmp_path, GO_ON, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(read_result(tmp_path / "study").trials) == 4
