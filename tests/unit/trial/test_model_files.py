"""No trial is of another model than the study: its files are looked at before each load and after it."""

import sys
from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.models import ModelFiles
from scripted_worker import DONE, EFFORT, MEASURED, SETTINGS, scripted

if sys.platform == "win32":
    pytest.skip("the scripts need POSIX", allow_module_level=True)

ANSWERS = f"""
    while request:
        print({DONE!r}, flush=True)
        request = sys.stdin.readline()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_file_that_was_replaced_between_two_trials_ends_the_study(model: Path, tmp_path: Path) -> None:
    with scripted(ANSWERS, tmp_path, files=[ModelFiles([model])]) as runner:
        assert runner.run(SETTINGS, EFFORT) == MEASURED
        model.write_bytes(b"Weights")
        with pytest.raises(ModelFileError, match="was replaced or changed; put the first file back and go on with"):
            runner.run(SETTINGS, EFFORT)
        with pytest.raises(ModelFileError):
            runner.prepare(SETTINGS)


def test_a_trial_during_which_a_file_was_replaced_has_no_outcome(model: Path, tmp_path: Path) -> None:
    script = f"open({str(model)!r}, 'w').write('Weights'); print({DONE!r}, flush=True); time.sleep(600)"
    with (
        scripted(script, tmp_path, files=[ModelFiles([model])]) as runner,
        pytest.raises(ModelFileError, match="was replaced or changed"),
    ):
        runner.run(SETTINGS, EFFORT)


def test_a_deleted_file_ends_the_study_in_one_sentence(model: Path, tmp_path: Path) -> None:
    with scripted(ANSWERS, tmp_path, files=[ModelFiles([model])]) as runner:
        model.unlink()
        with pytest.raises(ModelFileError, match="cannot be read any more: No such file or directory; put the first"):
            runner.run(SETTINGS, EFFORT)
