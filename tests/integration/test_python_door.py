"""The library as docs/python.md shows it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import layertune
from layertune.config.env_file import load_env
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import read_result

DOCS = Path(__file__).parents[2] / "docs" / "python.md"
TINY = KnownModel("tiny", 2, 256, 512, 4, 2, n_vocab=600, tied=True)


def example() -> str:
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rpc")
def test_the_example_searches_prints_the_front_and_writes_the_env(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in re.findall(r"models/(\S+\.gguf)", example()):
        known_standin(TINY).write(tmp_path / "models" / name)
    # Two trials measured once show the same as twelve with finals.
    short = (
        '"search": {"n_trials": 2}, "finals": {"max_rounds": 0}, "measurement": {"max_repeats": 2, "min_repeats": 2}'
    )
    script = example().replace('"search": {"n_trials": 12}', short)
    assert script != example()
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "the largest settings fit: True" in answer.stdout
    assert "TrialFinished" in answer.stdout
    result = read_result(tmp_path / "studies" / "pair")
    assert len(result.trials) == 2
    variables = load_env(tmp_path / ".env")
    assert int(variables["CHAT_N_GPU_LAYERS"]) == result.picked("balanced").settings["chat"].n_gpu_layers


def test_the_example_has_at_most_25_lines_of_code() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 25


def test_every_promised_name_is_there_and_in_the_documentation() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in layertune.__all__:
        assert getattr(layertune, name).__name__ == name
        assert name in text


def test_importing_layertune_imports_nothing_else_of_it() -> None:
    code = "import sys, layertune; print([name for name in sys.modules if name.startswith(('layertune.', 'pydantic'))])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
