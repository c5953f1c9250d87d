"""The planned size of a context checkpoint, compared with the log of a real llama-server: Gemma 3 has a window."""

import re
from pathlib import Path

import pytest

from layertune.memory.kv_cache import checkpoint_bytes
from layertune.memory.layer_rows import layer_rows
from layertune.models import read_shape
from layertune.settings import EngineSettings
from layertune.units import MIB
from served import TOOLS, WITHOUT_GPU, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (TOOLS / "llama-server").exists(), reason="no llama-server here; make tools builds it"),
]

_SIZE = re.compile(r"created context checkpoint (\d+) of (\d+) .*size = ([\d.]+) MiB")
_N_WORDS = 400  # of two tokens or more each, so more than the window of 512


def test_a_full_checkpoint_has_the_planned_size_and_slots_keep_as_many_as_they_may(
    demo_pair: dict[str, Path], tmp_path: Path
) -> None:
    model = demo_pair["code"]
    settings = EngineSettings(n_gpu_layers=0, n_ctx=2048, n_batch=128, n_ubatch=128, n_threads=2)
    rows = layer_rows(read_shape(model))
    assert rows is not None
    flags = ["-c", "2048", "-b", "128", "-ub", "128", "-t", "2", "--parallel", "1"]
    flags += ["--ctx-checkpoints", "3", "--checkpoint-min-step", "0"]
    command = ["llama-server", "-m", str(model), *flags, *WITHOUT_GPU]
    with served(command, tmp_path, {"LLAMA_ARG_LOG_VERBOSITY": "5"}) as server:
        text = ""
        for turn in range(2):
            text += " ".join(f"word{turn}{number}" for number in range(_N_WORDS // 2)) + "\n"
            text += server.ask("/completion", {"prompt": text, "n_predict": 4, "cache_prompt": True})["content"]
        made = [(int(n), int(most), float(size)) for n, most, size in _SIZE.findall(server.logged())]
    assert made, "the server made no checkpoint"
    assert {most for _, most, _ in made} == {3}
    assert max(n for n, _, _ in made) <= 3
    planned_mib = checkpoint_bytes(rows, settings.canonical(len(rows)), flash_attn=True) / MIB
    assert max(size for _, _, size in made) == pytest.approx(planned_mib, abs=0.001)
