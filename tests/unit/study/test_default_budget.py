"""Default budgets of cards that are not here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layertune.config import CONFIG_NAME, StudyConfig, dump_config, parse_config
from layertune.devices.cores import Cores
from layertune.devices.target import Target
from layertune.errors import DeviceError
from layertune.memory.plan import MemoryPlan, ModelPlan, Overhead, PlannedBytes
from layertune.settings import EngineSettings, SplitSettings
from layertune.study import default_budget, threads
from layertune.study.default_budget import with_default_budget
from layertune.study.estimate import Estimate
from layertune.study.estimate_table import answers
from layertune.study.models_on_device import measured_overhead
from layertune.study.study import Study
from layertune.study.threads import with_free_threads
from layertune.units import GIB, MIB

RTX = Target("gpu", "RTX 4050", 6141 * MIB, 0, backend="CUDA", free_bytes=5000 * MIB)


def config(device: str = "gpu:0", **budget: Any) -> StudyConfig:
    return parse_config({"models": {"a": {"path": "a.gguf"}}, "device": device, "budget": budget})


def budget_of(target: Target, written: StudyConfig | None = None) -> tuple[tuple[int, ...], list[str]]:
    said: list[str] = []
    found = with_default_budget(written or config(), target, said.append)
    return found.budget.each_device(), said


def test_the_default_is_what_is_free_less_a_reserve_and_the_sum_is_said() -> None:
    assert budget_of(RTX) == (
        (4744 * MIB,),
        [
            "budget of RTX 4050: 4744.0 MiB = 5000.0 MiB free of 6141.0 MiB, less 256.0 MiB for what other programs "
            "open later"
        ],
    )


def test_a_written_budget_is_kept_without_a_word() -> None:
    assert budget_of(RTX, config(vram="6141MiB")) == ((6141 * MIB,), [])


def test_each_of_several_cards_has_its_own() -> None:
    both = Target.composite([RTX, Target("gpu", "A2000", 12 * GIB, 1, free_bytes=12 * GIB)])
    assert budget_of(both, config("gpu:0+1"))[0] == (4744 * MIB, 12 * GIB - 256 * MIB)


def test_machines_that_share_a_study_have_the_same_budget_whatever_is_free() -> None:
    found = with_default_budget(config(), RTX, lambda _said: None, shared=True)
    assert found.budget.vram == 6141 * MIB - 256 * MIB


def test_an_overfull_card_has_no_budget() -> None:
    full = Target("gpu", "Radeon", 12 * GIB, 0, backend="Vulkan", free_bytes=-9 * GIB)
    with pytest.raises(DeviceError, match=r"Radeon has no memory left for models: 0 B free.*close other programs"):
        budget_of(full)


def test_a_gpu_that_shares_the_ram_has_no_more_than_is_available_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_budget, "available_ram_bytes", lambda: 9 * GIB)
    apple = Target("gpu", "Apple M3", 12 * GIB, 0, backend="MTL", free_bytes=12 * GIB, shares_ram=True)
    (size,), (said,) = budget_of(apple)
    assert size == 9 * GIB - 256 * MIB
    assert "available of the RAM that it shares" in said


def test_a_resumed_study_keeps_its_default_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "this_cores", lambda: Cores(4, 4))
    recorded = with_default_budget(config(), RTX, lambda _said: None)
    (tmp_path / CONFIG_NAME).write_text(dump_config(recorded))

    def resumed(written: StudyConfig) -> tuple[int, ...]:
        found = with_free_threads(written, tmp_path, lambda _said: None, resume=True, shared=False, foreign=lambda: 0.0)
        return found.budget.each_device()

    assert resumed(config()) == (4744 * MIB,)
    assert resumed(config(vram="1GiB")) == (GIB,)
    assert resumed(config("gpu:1")) == ()


def test_a_study_that_was_opened_anew_resumes_with_the_budget_it_was_begun_with(tmp_path: Path) -> None:
    nothing: Any = None  # what a search would need

    def opened(free_bytes: int, *, default: bool = True) -> Study:
        found = with_default_budget(config(), replace(RTX, free_bytes=free_bytes), lambda _said: None)
        return Study(found, nothing, nothing, nothing, nothing, {}, has_default_budget=default)

    begun = opened(5000 * MIB)
    assert begun._resumed(tmp_path) == begun.config
    (tmp_path / CONFIG_NAME).write_text(dump_config(begun.config))
    assert opened(4000 * MIB)._resumed(tmp_path).budget == begun.config.budget
    written = opened(4000 * MIB, default=False)
    assert written._resumed(tmp_path) == written.config


def answer(overhead: Overhead) -> str:
    engine = EngineSettings(n_gpu_layers=1, n_ctx=256, n_batch=8, n_ubatch=8, n_threads=1)
    model = ModelPlan({"gpu0": PlannedBytes(GIB, 0, 0), "host": PlannedBytes(0, 0, 0)}, "computed", True)
    plan = MemoryPlan({"a": model, "b": model}, overhead, 2)
    settings = SplitSettings.of({"a": engine, "b": engine})
    (line,) = answers(Estimate(settings, plan, (3 * GIB,), {}, {}, None))
    return line


def test_a_setting_fits_only_with_the_drivers_overhead(tmp_path: Path) -> None:
    cuda = measured_overhead(RTX, tmp_path)
    assert cuda.is_default
    assert answer(cuda) == (
        "gpu0: 3096.0 MiB of 3072.0 MiB: DOES NOT FIT, 24.0 MiB too much, including 2 × 524.0 MiB overhead (not "
        "measured on this card yet: what an H200 takes)"
    )


def test_where_the_overhead_is_not_known_the_answer_says_so(tmp_path: Path) -> None:
    vulkan = Target("gpu", "Radeon", 12 * GIB, 0, backend="Vulkan")
    assert answer(measured_overhead(vulkan, tmp_path)) == (
        "gpu0: 2048.0 MiB of 3072.0 MiB: FITS WITHOUT the driver's overhead, 1024.0 MiB to spare; it is added 2 times: "
        "not measured yet: a search measures it"
    )


def test_an_estimate_adds_what_is_on_the_host_where_it_shares_the_memory() -> None:
    engine = EngineSettings(n_gpu_layers=1, n_ctx=256, n_batch=8, n_ubatch=8, n_threads=1)
    model = ModelPlan({"gpu0": PlannedBytes(2 * GIB, 0, 0), "host": PlannedBytes(GIB, 0, 0)}, "computed", True)
    plan = MemoryPlan({"a": model}, Overhead(0, "none"), 1)
    found = Estimate(SplitSettings.of({"a": engine}), plan, (2 * GIB + MIB,), {}, {"a": GIB}, None)
    assert found.fits()
    shared = replace(found, shares_ram=True)
    assert shared.fits() is False
    assert answers(shared) == [
        "gpu0: 3072.0 MiB of 2049.0 MiB: DOES NOT FIT, 1023.0 MiB too much, including 1024.0 MiB on the host, which "
        "shares its memory"
    ]
