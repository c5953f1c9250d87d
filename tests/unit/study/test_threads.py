"""The look at the machine before a search: one sentence, and threads that leave room."""

from pathlib import Path

import pytest

from layertune.config import CONFIG_NAME, StudyConfig, dump_config, parse_config
from layertune.config.threads import with_default_threads
from layertune.devices.cores import Cores
from layertune.study import threads
from layertune.study.threads import foreign_cores, with_free_threads


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "this_cores", lambda: Cores(8, 8))


def config() -> StudyConfig:
    models = {name: {"path": f"{name}.gguf", "space": {}} for name in ("a", "b")}
    return parse_config({"models": models, "device": "cpu"})


def chosen(
    folder: Path, foreign: float | None, *, resume: bool = False, shared: bool = False
) -> tuple[list[object], list[str]]:
    said: list[str] = []
    found = with_free_threads(config(), folder, said.append, resume=resume, shared=shared, foreign=lambda: foreign)
    return [model.space.n_threads for model in found.models.values()], said


@pytest.mark.parametrize("foreign", [None, 0.0, 0.4])
def test_a_quiet_machine_is_shared_out_without_a_word(tmp_path: Path, foreign: float | None) -> None:
    assert chosen(tmp_path, foreign) == ([4, 4], [])


def test_cores_that_other_programs_use_are_left_to_them_and_that_is_said_once(tmp_path: Path) -> None:
    assert chosen(tmp_path, 3.8) == (
        [2, 2],
        [
            "warning: other programs use 3.8 of 8 cores: speeds will be lower and noisier, and trials take longer; to "
            "leave them room, a 2, b 2 threads by default"
        ],
    )


def test_models_share_the_physical_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "this_cores", lambda: Cores(20, 6, 8))
    assert chosen(tmp_path, 0.0) == ([3, 3], [])


def test_at_least_one_thread_is_left(tmp_path: Path) -> None:
    assert chosen(tmp_path, 8.0)[0] == [1, 1]


def test_a_resumed_study_keeps_its_threads_on_a_busy_machine(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text(dump_config(with_default_threads(config(), 6)))
    assert chosen(tmp_path, 8.0, resume=True) == (
        [3, 3],
        ["warning: other programs use 8.0 of 8 cores: speeds will be lower and noisier, and trials take longer"],
    )
    assert chosen(tmp_path, 8.0)[0] == [1, 1]


def test_machines_that_share_a_study_choose_the_same_threads(tmp_path: Path) -> None:
    assert chosen(tmp_path, 8.0, shared=True)[0] == [4, 4]


def test_this_machine_reports_what_other_programs_use() -> None:
    found = foreign_cores()
    assert found is None or found >= 0
