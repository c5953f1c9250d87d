from pathlib import Path

import pytest

from finished_study import result
from layertune.config import parse_config
from layertune.devices.target import Target
from layertune.memory.correction import Correction
from layertune.results.result import write_result
from layertune.results.summary import Planned
from layertune.study.models_on_device import measured_overhead, place_models
from layertune.units import GIB, MIB
from small_shapes import planner, shape

PLANNED = Planned(planner(chat=shape(n_layer=36), code=shape(n_layer=36)), 100, 40, Correction(300 * MIB, MIB, 7))
GPU = Target("gpu", "emulated card", vram_bytes=6 * 2**30, gpu_index=0)


def test_an_earlier_study_on_the_same_gpu_tells_its_overhead(tmp_path: Path) -> None:
    write_result(result(planned=PLANNED), tmp_path / "result.json")
    overhead = measured_overhead(GPU, tmp_path)
    assert overhead.n_bytes == 300 * MIB
    assert overhead.source == f"the median of 7 trials in {tmp_path}"


def test_another_gpu_no_study_or_one_without_trials_tells_nothing(tmp_path: Path) -> None:
    assert measured_overhead(GPU, tmp_path).n_bytes is None
    write_result(result(planned=PLANNED), tmp_path / "result.json")
    assert measured_overhead(Target("gpu", "another", 2**33), tmp_path).n_bytes is None
    write_result(result(), tmp_path / "result.json")
    assert measured_overhead(GPU, tmp_path).n_bytes is None


@pytest.mark.parametrize(
    ("device", "vram", "each"),
    [
        ("emulated:4GiB", None, (4 * GIB,)),
        ("emulated:4GiB", 1, (1,)),
        ("emulated:4GiB+2GiB", "1GiB+1", (GIB, 1)),
        ("cpu", "1GiB", ()),
    ],
)
def test_a_budget_is_what_is_written_however_small(
    device: str, vram: object, each: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layertune.devices.target.has_rpc", lambda: True)
    monkeypatch.setattr("layertune.study.models_on_device.Projections", lambda *_arguments: None)
    table = {"models": {"chat": {"path": "a.gguf"}}, "device": device, "budget": {} if vram is None else {"vram": vram}}
    config = parse_config(table, source="x.toml", folder=Path())
    models = place_models({}, config.resolved_device(), 1, config.n_processes)
    assert models.vram_bytes(config) == each
