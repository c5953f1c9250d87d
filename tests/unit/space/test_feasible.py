import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_study
from layertune.config import parse_config
from layertune.errors import NothingFits
from layertune.memory import ModelMemory, Planner
from layertune.memory.buffers import resident_bytes
from layertune.memory.correction import Correction
from layertune.memory.placement import TensorInventory
from layertune.memory.projection import Projection
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.feasible import FeasibleSpace, learned_correction
from layertune.space.limits import VRAM, Limits
from layertune.space.search_space import SearchSpace
from layertune.testing import fake_runner
from layertune.trial.outcome import Infeasible
from layertune.units import MIB
from layertune.vram.vram_report import VramReport
from small_shapes import linear, planner, shape
from small_study import N_LAYERS

PLANNER = planner(**{name: shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()})


def limits(vram_bytes: int | None, **changes: Any) -> Limits:
    vram = () if vram_bytes is None else (vram_bytes,)
    limit = Limits(vram, 0, None, n_processes=2, file_bytes=dict.fromkeys(N_LAYERS, 2**40))
    return replace(limit, **changes)


def feasible(vram_bytes: int | None, space: SearchSpace | None = None, **changes: Any) -> FeasibleSpace:
    return FeasibleSpace(space or small_study.space(), PLANNER, limits(vram_bytes, **changes))


def needed_bytes(each: SplitSettings) -> int:
    plan = PLANNER.plan(each)
    return (plan.device_bytes or 0) + plan.log_error_bytes


@cache
def all_needed_bytes() -> dict[SplitSettings, int]:
    return {each: needed_bytes(each) for each in small_study.space().enumerate()}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 4 * MIB))
def test_exactly_the_settings_that_fit_are_counted_and_yielded(vram_bytes: int) -> None:
    fitting = {each for each, n_bytes in all_needed_bytes().items() if n_bytes <= vram_bytes}
    found = list(feasible(vram_bytes).shuffled(1))
    assert set(found) == fitting
    assert len(found) == len(fitting) == feasible(vram_bytes).n_settings()


def four_models() -> FeasibleSpace:
    """Four models of 42 engines each, whose bytes all differ."""
    n_layers = {f"model{number}": 40 + number for number in range(4)}
    model = {"path": "a.gguf", "space": {"n_ctx": 1024, "n_batch": 512, "n_gpu_layers": {"min": 0, "max": "all"}}}
    config = parse_config({"models": dict.fromkeys(n_layers, model)}, source="test", folder=Path())
    space = SearchSpace.of(config, n_layers, n_threads=2)
    models = planner(**{name: shape(n_layer=n_layer) for name, n_layer in n_layers.items()})
    limit = replace(limits(6 * MIB), file_bytes=dict.fromkeys(n_layers, 2**40), n_processes=4)
    return FeasibleSpace(space, models, limit)


def test_four_models_are_counted_exactly_without_a_table_of_all_their_combinations() -> None:
    found = four_models()
    rows = [found.engine_bytes(name)[:, 0] for name in found.planner.models]
    sums = rows[0][:, None, None, None] + rows[1][None, :, None, None]
    sums = sums + rows[2][None, None, :, None] + rows[3][None, None, None, :]
    expected = int((sums <= found.capacity_bytes).sum())
    tracemalloc.start()
    n_settings = found.n_settings()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < expected < sums.size
    assert n_settings == expected
    assert peak_bytes < sums.size // 8  # far less than 8 bytes for each combination of three models


def test_without_a_device_every_possible_setting_fits() -> None:
    assert feasible(None).n_settings() == small_study.space().n_settings()


def test_only_the_models_own_settings_are_planned_never_the_joint_space() -> None:
    space = small_study.space(n_batch=[64, 128, 256, 512], n_threads=[1, 2])
    asked = []

    def memory(name: str, n_layer: int) -> ModelMemory:
        model = shape(n_layer=n_layer)
        project = linear(model)

        def counted(key: EngineSettings) -> Projection | None:
            asked.append((name, key))
            return project(key)

        return ModelMemory(model, TensorInventory.plain(model), counted)

    models = {name: memory(name, n_layer) for name, n_layer in N_LAYERS.items()}
    cut = FeasibleSpace(space, Planner(models, PLANNER.overhead, 2), limits(MIB))
    assert 0 < cut.n_settings() < space.n_settings()
    # 14 and 22 splits, four and two physical batches; threads take no memory.
    assert len(asked) == len(set(asked)) == 14 * 4 + 22 * 2


def test_violations_are_the_bytes_over_the_budget() -> None:
    for each in islice(small_study.space().shuffled(3), 50):
        assert feasible(MIB).violations(each)[VRAM] == needed_bytes(each) - MIB
        assert feasible(MIB).exceeded(each) == (needed_bytes(each) > MIB)


def test_settings_over_the_ram_limit_are_not_feasible() -> None:
    narrow = feasible(None, ram_per_model_bytes=MIB)
    found = list(narrow.shuffled(0))
    assert 0 < len(found) < small_study.space().n_settings()
    for each in found:
        assert not narrow.exceeded(each)
    assert any(narrow.violations(each)["ram.code"] > 0 for each in small_study.space().enumerate())


def test_settings_that_llama_cpp_refuses_are_never_feasible() -> None:
    space = small_study.space(flash_attn=["on", "off"], type_v="q8_0")
    found = feasible(None, space)
    assert {each["chat"].flash_attn for each in found.shuffled(0)} == {"on"}
    refused = next(each for number in range(space.n_settings()) if (each := space.at(number)).impossible())
    assert "needs flash attention" in (found.refused(refused) or "")
    assert found.n_settings() == space.n_settings() // 2


def test_a_context_that_cannot_be_created_is_refused_whatever_the_memory() -> None:
    models = {name: shape(n_layer=n_layer) for name, n_layer in N_LAYERS.items()}
    silent = {name: ModelMemory(each, TensorInventory.plain(each), lambda _key: None) for name, each in models.items()}
    space = FeasibleSpace(small_study.space(), Planner(silent, PLANNER.overhead, 2), limits(None))
    assert space.n_settings() == 0
    assert space.refused(next(small_study.space().enumerate())) == "llama.cpp creates no context with these settings"
    with pytest.raises(NothingFits, match=r"llama\.cpp accepts no setting of the space; search other settings"):
        space.check()


def test_nothing_fits_says_what_the_smallest_would_need() -> None:
    with_layers = small_study.space(n_gpu_layers=[4, 8])
    with pytest.raises(NothingFits, match=r"budget of 100.0 KiB: the smallest is planned to need \d"):
        feasible(100 * 1024, with_layers).check()


def measured(number: int, beyond_bytes: int) -> FinishedTrial:
    each = small_study.space().smallest().with_layers("chat", 5)
    peak_bytes = needed_bytes(each) + beyond_bytes
    report = VramReport(peak_bytes, 0, "device", "nvml", {"load": peak_bytes})
    return FinishedTrial.of(number, each, replace(fake_runner.measured(each), vram=report), {})


def test_a_learned_correction_makes_a_new_smaller_feasible_space_and_leaves_the_old_one() -> None:
    space = feasible(3 * MIB)
    before = space.n_settings()
    correction = learned_correction(PLANNER, [measured(0, MIB // 4)], limits(3 * MIB))
    assert correction is not None
    assert correction.overhead_bytes == MIB // 4
    corrected = space.corrected(correction)
    assert corrected.n_settings() < before
    assert (space.correction, space.n_settings()) == (None, before)
    each = small_study.space().smallest()
    assert corrected.violations(each)[VRAM] == needed_bytes(each) - 3 * MIB + 2 * (MIB // 4)


def test_a_trial_that_spilled_lowers_the_room_of_all_later_ones() -> None:
    each = small_study.space().smallest().with_layers("chat", 5)
    planned_bytes = PLANNER.plan(each).device_bytes or 0
    free_bytes = planned_bytes - 1000
    spilled = FinishedTrial.of(0, each, Infeasible("spilled", None, "more than was free", 1000, 1.0), {})
    space = feasible(3 * MIB)
    alone = space.corrected(learned_correction(PLANNER, [spilled], limits(3 * MIB)))
    assert alone.capacity_bytes == free_bytes
    assert alone.exceeded(each)
    # The overhead of the process that spilled was in use already; another process's was not.
    overhead_bytes = 2000
    both = space.corrected(learned_correction(PLANNER, [measured(1, overhead_bytes), spilled], limits(3 * MIB)))
    assert both.capacity_bytes == free_bytes - overhead_bytes


def test_what_llama_cpp_s_log_cannot_resolve_is_not_beyond_the_plan() -> None:
    space = feasible(3 * MIB)
    before = space.n_settings()
    correction = learned_correction(PLANNER, [measured(0, -10), measured(1, 0)], limits(3 * MIB))
    assert correction == Correction(0, 0, 2)
    assert space.corrected(correction).n_settings() == before


def test_where_the_device_shares_the_ram_the_host_counts_against_one_budget() -> None:
    each = small_study.space().smallest().with_layers("chat", 5)
    plan = PLANNER.plan(each)
    apart, shared = feasible(3 * MIB), feasible(3 * MIB, shares_ram=True)
    file_bytes = 2**40  # larger than any model, so that all weights on the host count once
    on_host = sum(
        resident_bytes(buffers, file_bytes)
        for model in plan.models.values()
        if (buffers := model.devices["host"].buffers()) is not None
    )
    assert on_host > 0
    assert shared.violations(each)[VRAM] == apart.violations(each)[VRAM] + on_host
    assert shared.n_settings() < apart.n_settings()
    assert not any(shared.exceeded(found) for found in shared.shuffled(1))
    outcome = fake_runner.measured(each)
    on_device = limits(3 * MIB).violations(each, outcome)[VRAM]
    in_ram = limits(3 * MIB, shares_ram=True).violations(each, outcome)[VRAM]
    held = [report.buffers["host"] for report in outcome.models.values() if "host" in report.buffers]
    assert in_ram - on_device == sum(resident_bytes(each, file_bytes) for each in held)
