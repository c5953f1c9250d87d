"""What is read of a study before anything of it is planned."""

from pathlib import Path

import pytest

import predictable_study
from layertune.devices.target import Target
from layertune.errors import ConfigError, DeviceError, ModelFileError, UsageError
from layertune.models import read_shape
from layertune.results.result import DeviceInfo
from layertune.study.calibrated import Recorded, calibrate, refuse_other_gpu, shape_of
from layertune.study.models_on_device import is_measured_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return predictable_study.write(tmp_path / "small")


def test_a_config_without_one_of_the_models_is_one_sentence(folder: Path) -> None:
    config = folder / "study.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("[models.code]", "[models.other]"), encoding="utf-8")
    with pytest.raises(ConfigError, match="has the models chat, other, and the study measured chat, code; give the"):
        Recorded.read(folder)


def test_the_study_s_own_file_is_known_by_its_size_too(folder: Path) -> None:
    recorded = Recorded.read(folder)
    assert shape_of(recorded, "chat").n_layer == 4
    with (folder / "chat.gguf").open("ab") as file:
        file.write(bytes(32))
    with pytest.raises(ModelFileError, match=r"chat\.gguf is not the model that the study measured: .* in \d+ bytes"):
        shape_of(recorded, "chat")


def test_a_known_model_s_shape_stands_for_a_file_of_another_size(folder: Path) -> None:
    shape, model = read_shape(folder / "chat.gguf"), Recorded.read(folder).result.models["chat"]
    larger = model.model_copy(update={"file_bytes": model.file_bytes + 1})
    assert is_measured_file(shape, larger, is_skeleton=True)
    assert not is_measured_file(shape, larger)
    assert not is_measured_file(shape, model.model_copy(update={"n_layer": 5}), is_skeleton=True)


def test_what_stayed_disturbed_teaches_nothing(folder: Path) -> None:
    recorded = Recorded.read(folder)
    assert len(recorded.quiet_trials()) == len(predictable_study.SPLITS)
    disturbed = [each.model_copy(update={"warnings": ["disturbed: x"]}) for each in recorded.result.trials]
    loud = Recorded(folder, recorded.result.model_copy(update={"trials": disturbed}), recorded.config)
    with pytest.raises(UsageError, match="has no measured trial that nothing disturbed; search again"):
        loud.quiet_trials()


def test_another_gpu_than_the_study_s_cannot_be_asked_for_it() -> None:
    measured = DeviceInfo(kind="gpu", name="Card A", vram_bytes=2**33, driver=None)
    refuse_other_gpu(Target("gpu", "Card A", 2**33), measured)
    with pytest.raises(DeviceError, match=r"takes of Card A can only be asked .* here is Card B"):
        refuse_other_gpu(Target("gpu", "Card B", 2**33), measured)


def test_a_study_that_seeks_a_speed_at_depth_is_not_predicted(folder: Path) -> None:
    recorded = Recorded.read(folder)
    config = recorded.config.model_copy(update={"floors": ["chat.turn_s <= 9"]})
    with pytest.raises(UsageError, match=r"seeks chat\.turn_s, a speed at a filled context"):
        calibrate(Recorded(folder, recorded.result, config))
