from dataclasses import replace
from itertools import product
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.config import Floor, Workload, parse_config
from layertune.devices.host_rates import HostRates
from layertune.export.env import is_planned, render_planned_env
from layertune.export.flags import HostCaches, engine_flags
from layertune.memory import HOST, ModelMemory, Planner
from layertune.memory.placement import TensorInventory
from layertune.memory.plan import Overhead
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.study.bandwidth_model import DeviceRate, MachineRates, engine_time
from layertune.study.expected_speeds import EnginesByModel
from small_shapes import engine, linear, shape

RATES = MachineRates(HostRates((1, 2), (1e9, 2e9), (1e10, 2e10)), (DeviceRate(4e9, 4e10),))
WORKLOAD = Workload(n_prompt=64, n_generate=16)


def engines(capacity_bytes: int, rates: MachineRates | None = RATES, **fixed: Any) -> tuple[EnginesByModel, Any, Any]:
    shapes = {"chat": shape(n_layer=4), "code": shape(n_layer=6, tied=True)}
    space_table = {"n_ctx": 1024, "n_batch": 256, "n_ubatch": [64, 256]} | fixed
    models = {name: {"path": "a.gguf", "space": space_table} for name in shapes}
    config = parse_config({"models": models}, source="test", folder=Path())
    space = SearchSpace.of(config, {name: each.n_layer for name, each in shapes.items()}, n_threads=1)
    memories = {name: ModelMemory(each, TensorInventory.plain(each), linear(each)) for name, each in shapes.items()}
    limits = Limits((capacity_bytes,), 0, None, n_processes=2, file_bytes=dict.fromkeys(shapes, 0))
    feasible = FeasibleSpace(space, Planner(memories, Overhead(0, "none"), 2), limits)
    return EnginesByModel(space, feasible, memories, dict.fromkeys(shapes, WORKLOAD), rates), space, feasible


WHOLE = 8_000_000


def log_score(found: EnginesByModel, settings: SplitSettings) -> float:
    return sum(map(log, found.expected(settings).tokens_per_s.values())) / 2


@given(st.integers(0, WHOLE))
def test_the_recommended_setting_always_fits(capacity_bytes: int) -> None:
    found, _space, feasible = engines(capacity_bytes)
    best = found.best((), {})
    if feasible.n_settings() == 0:
        assert best is None
    else:
        assert best is not None
        assert not feasible.exceeded(best)
        assert found.expected(best).fits


@pytest.mark.parametrize("capacity_bytes", [600_000, 1_000_000, 1_500_000, WHOLE])
def test_no_setting_that_fits_is_expected_to_be_better(capacity_bytes: int) -> None:
    found, space, feasible = engines(capacity_bytes)
    best = found.best((), {})
    assert best is not None
    every = [SplitSettings.of({"chat": a, "code": b}) for a, b in product(space.engines("chat"), space.engines("code"))]
    most = max(log_score(found, each) for each in every if not feasible.exceeded(each))
    assert log_score(found, best) >= most - 0.001


def test_equal_speeds_are_a_tie_that_the_least_memory_wins() -> None:
    same = MachineRates(RATES.host, (DeviceRate(1e9, 1e10),))
    found, _space, _feasible = engines(WHOLE, same)
    best = found.best((), {})
    assert best is not None
    assert [each.n_gpu_layers for _, each in best.items()] == [0, 0]


def test_the_first_settings_are_the_best_and_the_fastest_for_each_model_with_the_rest_for_the_others() -> None:
    found, _space, feasible = engines(1_000_000)
    weights = {"chat": 1.0, "code": 1.0}
    first = found.first((), weights)
    assert first[0] == found.best((), weights)
    for name in weights:
        fastest = found.best((), {each: float(each == name) for each in weights})
        assert fastest is not None
        most = found.expected(fastest).tokens_per_s[name]
        assert max(found.expected(each).tokens_per_s[name] for each in first) == pytest.approx(most)
    assert not any(feasible.exceeded(each) for each in first)
    everything = engines(WHOLE)[0]
    assert everything.first((), {"chat": 1.0, "code": 1.0}) == [everything.best((), {})]


def test_a_model_whose_speed_does_not_count_has_no_setting_of_its_own() -> None:
    found, _space, _feasible = engines(1_000_000)
    assert len(found.first((), {"chat": 1.0, "code": 0.0})) <= 2


def test_without_rates_the_device_gets_what_fits_and_no_speed_is_made_up() -> None:
    found, _space, _feasible = engines(WHOLE, None)
    best = found.best((), {})
    assert best is not None
    assert [each.n_gpu_layers for _, each in best.items()] == [5, 7]
    assert found.expected(best).tokens_per_s == {}


def test_a_floor_is_kept_and_one_that_nothing_reaches_leaves_no_setting() -> None:
    found, _space, _feasible = engines(1_000_000)
    speeds = {
        name: max(found.expected(best).tokens_per_s[name] for best in [found.best((), weights)] if best is not None)
        for name, weights in (("chat", {"chat": 1.0, "code": 0.0}), ("code", {"chat": 0.0, "code": 1.0}))
    }
    floor = Floor.parse(f"code.tokens_per_s >= {speeds['code'] * 0.99:.3f}", ["chat", "code"])
    best = found.best([floor], {"chat": 1.0, "code": 0.0})
    assert best is not None
    assert found.expected(best).tokens_per_s["code"] >= floor.value
    beyond = Floor.parse(f"code.tokens_per_s >= {speeds['code'] * 2:.3f}", ["chat", "code"])
    assert found.best([beyond], {}) is None


def test_a_prompt_is_read_once_for_each_physical_batch_and_a_token_once() -> None:
    model = shape(n_layer=4)
    memory = ModelMemory(model, TensorInventory.plain(model), linear(model))
    reading = MachineRates(HostRates((1,), (1e9,), (1e30,)), (DeviceRate(1e9),))
    used = memory.weights_used(engine(0))[HOST]
    one = engine_time(memory, engine(0, n_ubatch=64).canonical(4), WORKLOAD, reading)
    two = engine_time(memory, engine(0, n_ubatch=32).canonical(4), WORKLOAD, reading)
    assert two.prompt_s - one.prompt_s == pytest.approx(used.n_bytes / 1e9)
    assert one.token_s > (used.n_bytes + used.output_bytes) / 1e9


def test_a_prompt_is_computed_by_its_own_threads() -> None:
    model = shape(n_layer=4)
    memory = ModelMemory(model, TensorInventory.plain(model), linear(model))
    one, own, two = (
        engine_time(memory, engine(0, n_threads=n, n_threads_batch=n_batch).canonical(4), WORKLOAD, RATES)
        for n, n_batch in ((1, None), (1, 2), (2, None))
    )
    assert (own.prompt_s, own.token_s) == (two.prompt_s, one.token_s)
    assert own.prompt_s < one.prompt_s


def test_a_cache_that_is_kept_on_the_host_is_read_there() -> None:
    model = shape(n_layer=4)
    memory = ModelMemory(model, TensorInventory.plain(model), linear(model))
    offloaded, kept = (
        engine_time(memory, engine(5, kv_offload=each).canonical(4), WORKLOAD, RATES) for each in ("on", "off")
    )
    kv_bytes = memory.plan(engine(5)).devices["gpu0"].kv_bytes or 0
    assert kept.token_s - offloaded.token_s == pytest.approx(72 / 1024 * kv_bytes * (1 / 1e9 - 1 / 4e9))


def test_a_gpu_computes_prompts_of_the_host_s_layers_unless_op_offload_is_off() -> None:
    model = shape(n_layer=4)
    memory = ModelMemory(model, TensorInventory.plain(model), linear(model))
    gpu = replace(RATES, computes_prompts=True)
    times = [
        engine_time(memory, engine(2, op_offload=each).canonical(4), WORKLOAD, rates)
        for each, rates in (("on", gpu), ("off", gpu), ("on", RATES))
    ]
    assert times[0].prompt_s < times[1].prompt_s == times[2].prompt_s


def test_more_layers_on_a_faster_device_are_never_expected_to_be_slower() -> None:
    model = shape(n_layer=4)
    memory = ModelMemory(model, TensorInventory.plain(model), linear(model))
    speeds = [engine_time(memory, engine(n).canonical(4), WORKLOAD, RATES).tokens_per_s(WORKLOAD) for n in range(6)]
    assert list(np.diff(speeds) > 0) == [True] * 5


def test_a_planned_env_says_that_it_is_not_measured(tmp_path: Path) -> None:
    flags = engine_flags(engine(3), "on", HostCaches(512), on_cpu=False)
    text = render_planned_env(["study x\nCHAT_MODEL=evil"], {"chat": ("a model.gguf", flags)})
    assert text.startswith("# NOT MEASURED YET: ")
    assert [line for line in text.splitlines() if line.startswith("CHAT_MODEL")] == ["CHAT_MODEL='a model.gguf'"]
    assert "CHAT_N_GPU_LAYERS=3\n" in text
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    (tmp_path / "other").write_text("CHAT_MODEL=a\n", encoding="utf-8")
    assert is_planned(tmp_path / ".env")
    assert not is_planned(tmp_path / "other")
    assert not is_planned(tmp_path / "missing")
