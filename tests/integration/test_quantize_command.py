"""`layertune quantize` by the real llama.cpp, and stand-ins compared with what it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from imatrix_files import write_even_imatrix
from layertune.devices.quantization_process import ask_mixtures
from layertune.models import ModelShape, read_shape
from layertune.models.gguf_header import read_header
from layertune.models.known_models import KNOWN_MODELS, KnownModel, tensors
from layertune.models.quantization import FILE_TYPES_OFFERED, REQUANTIZED_KEY, Mixture
from layertune.models.standin import Standin, known_standin, standin_like, standin_skeleton
from layertune.study.quantized import plan_quantization, standin_of

MODELS = Path(__file__).parents[2] / "models"
SMOLLM2, GEMMA3 = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf", MODELS / "gemma-3-270m-q4_k_m.gguf"
# Its rows are multiples of 256, unlike the demo models', so that no tensor gets another type.
SMALL = KnownModel("small", 4, 256, 256, 4, 1, n_vocab=600, tied=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    known_standin(SMALL).write(path)
    return path


def test_stand_ins_of_every_type_have_the_tensors_and_bytes_of_the_files_that_llama_cpp_writes(
    small: Path, tmp_path: Path
) -> None:
    write_even_imatrix(tmp_path / "imatrix.gguf", read_shape(small))
    needing = {each.file_type for each in ask_mixtures(small, FILE_TYPES_OFFERED) if each.needs_imatrix}
    assert needing == {"IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS"}
    without = [each for each in FILE_TYPES_OFFERED if each not in needing]
    made = made_of(small, without, tmp_path / "without", None)
    made += made_of(small, sorted(needing), tmp_path / "with", tmp_path / "imatrix.gguf")
    for mixture, path in made:
        assert_alike(path, standin_like(small, mixture), mixture.file_type, tmp_path / "standin.gguf")
    needs_one, _ = made[-1]
    assert standin_of(str(small), needs_one.file_type, with_imatrix=False) == standin_like(small, needs_one)


@pytest.mark.parametrize(("source", "file_type"), [(SMOLLM2, "Q3_K_M"), (GEMMA3, "Q4_K_S")], ids=["smollm2", "gemma3"])
def test_a_stand_in_has_the_tensors_and_bytes_of_a_real_models_file(
    source: Path, file_type: str, tmp_path: Path
) -> None:
    ((_, path),) = made_of(source, [file_type], tmp_path / "made", None)
    assert_alike(path, standin_of(str(source), file_type, with_imatrix=False), file_type, tmp_path / "standin.gguf")


def made_of(source: Path, file_types: Sequence[str], folder: Path, imatrix: Path | None) -> list[tuple[Mixture, Path]]:
    plan = plan_quantization(source, file_types, folder, imatrix, overwrite=False)
    return [(each.mixture, Path(plan.write(each, lambda _n, _of: None).path)) for each in plan.files]


def assert_alike(made: Path, planned: Standin, file_type: str, path: Path) -> None:
    planned.write(path, overwrite=True)
    shape = read_shape(path)
    assert types(read_shape(made)) == types(shape)
    assert data_bytes(made) == data_bytes(path)
    assert abs(made.stat().st_size - path.stat().st_size) < 256  # of header: the marks that one of them has
    assert (shape.quantization, shape.metadata["layertune.standin"]) == (file_type, True)


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_the_known_models_are_in_llama_cpps_own_mixture(model: KnownModel) -> None:
    (mixture,) = ask_mixtures(standin_skeleton(model), ["Q4_K_M"])
    assert mixture.tensor_types == {each.name: each.type for each in tensors(model)}


def test_a_command_killed_halfway_leaves_no_file_and_the_next_makes_both(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", "quantize", str(SMOLLM2)]
    command += ["-o", str(tmp_path), "--json", "--types"]
    with subprocess.Popen([*command, "Q3_K_M"], stderr=subprocess.DEVNULL) as process:
        while not any(part.stat().st_size > 2**25 for part in tmp_path.iterdir()):
            assert process.poll() is None
            time.sleep(0.01)
        children = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
    assert children
    assert psutil.wait_procs(children, timeout=10)[1] == []
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".layertune-part")

    answer = subprocess.run([*command, "q3_k_m,Q4_0"], capture_output=True, text=True, check=True)
    made = [tmp_path / f"SmolLM2-135M-Instruct-{each}.gguf" for each in ("Q3_K_M", "Q4_0")]
    assert sorted(tmp_path.iterdir()) == made
    assert [each["path"] for each in json.loads(answer.stdout)["files"]] == [str(path) for path in made]
    assert [each["file_bytes"] for each in json.loads(answer.stdout)["files"]] == [path.stat().st_size for path in made]
    assert [read_shape(path).metadata[REQUANTIZED_KEY] for path in made] == ["Q4_1", "Q4_1"]
    assert "is Q4_1: requantized files lose more" in answer.stderr
    assert "Q4_0, tensor 272 of 272" in answer.stderr


def types(shape: ModelShape) -> dict[str, str]:
    return {tensor.name: tensor.type for tensor in shape.tensors}


def data_bytes(path: Path) -> int:
    return path.stat().st_size - read_header(path).data_offset
