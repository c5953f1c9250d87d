"""Layers over several devices: each tensor and each cache is counted once, where its layer is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.errors import UsageError
from layertune.memory import HOST, ModelMemory
from layertune.memory.placement import TensorInventory, layer_devices
from layertune.memory.projection import CacheTotal, Projection
from layertune.memory.weight_bytes import Weights
from layertune.models import ModelShape
from layertune.settings import EngineSettings, Placement, SplitSettings
from small_shapes import N_LAYER, engine, linear, planner, shape

ALL = N_LAYER + 1
SHAPES = [
    shape("qwen2"),
    shape("llama", tied=True),
    shape("gemma3", attention__sliding_window=128, attention__sliding_window_pattern=[1, 0, 1, 0]),
]


def over_two(model: ModelShape) -> ModelMemory:
    return ModelMemory(model, TensorInventory.plain(model), linear(model), 2)


def split(n_gpu_layers: int, *tensor_split: float) -> EngineSettings:
    return replace(engine(n_gpu_layers), tensor_split=tuple(tensor_split))


def test_the_first_layers_stay_on_the_host_and_the_output_layer_is_on_the_last_device() -> None:
    assert layer_devices(4, 4, (1.0, 1.0)) == (HOST, "gpu0", "gpu0", "gpu1", "gpu1")
    assert layer_devices(4, 4, ()) == (HOST, "gpu0", "gpu0", "gpu0", "gpu0")
    assert layer_devices(4, 0, (1.0, 1.0)) == (HOST,) * 5
    assert layer_devices(4, 99, (1.0, 0.0)) == ("gpu0",) * 5


@given(st.sampled_from(SHAPES), st.integers(0, ALL), st.integers(0, 9), st.integers(0, 9))
def test_two_devices_hold_what_one_does_but_for_what_each_has_its_own_copy_of(
    model: ModelShape, n_gpu_layers: int, first: int, second: int
) -> None:
    if first + second == 0:
        return
    whole = ModelMemory(model, TensorInventory.plain(model), linear(model)).plan(engine(n_gpu_layers))
    plan = over_two(model).plan(split(n_gpu_layers, first, second))
    homes = layer_devices(N_LAYER, n_gpu_layers, (first, second))
    shared_bytes = sum(tensor.n_bytes for tensor in model.tensors if tensor.name == "rope_freqs.weight")
    n_copies = len(set(homes[:-1]) - {HOST})
    held = sum(each.weights_bytes for each in plan.on_devices)
    assert held == whole.devices["gpu0"].weights_bytes + max(0, n_copies - 1) * shared_bytes
    assert sum(each.kv_bytes or 0 for each in plan.on_devices) == whole.devices["gpu0"].kv_bytes
    assert plan.devices[HOST] == whole.devices[HOST]
    for device in ("gpu0", "gpu1"):
        assert (plan.devices[device].weights_bytes > 0) == (device in homes)


def test_the_output_is_where_the_last_layer_is() -> None:
    held = Weights(SHAPES[1], TensorInventory.plain(SHAPES[1]))
    embedding = next(tensor.n_bytes for tensor in SHAPES[1].tensors if tensor.name == "token_embd.weight")
    assert held.split(Placement(ALL, tensor_split=(4.0, 1.0)))["gpu1"] > embedding
    assert held.split(Placement(ALL, tensor_split=(4.0, 1.0)))["gpu1"] < embedding + 1024 * 1024
    assert held.split(Placement(ALL, tensor_split=(1.0, 0.0))) == held.split(Placement(ALL))


def test_a_cache_by_llama_cpp_s_word_is_shared_out_by_layers() -> None:
    def project(_key: EngineSettings) -> Projection:
        cache = CacheTotal((0, 1, 2, 3), 3000, 1000)
        return Projection({"gpu0": 1, "gpu1": 2, HOST: 3}, 4, (cache,), {}, flash_attn=True)

    model = shape("brand-new")
    plan = ModelMemory(model, TensorInventory.plain(model), project, 2).plan(split(4, 1, 1))
    assert plan.kv_source == "llama.cpp"
    assert [each.kv_bytes for each in plan.devices.values()] == [2000, 1000, 1000]
    assert [each.compute_bytes for each in plan.devices.values()] == [1, 2, 3]


@pytest.mark.parametrize("settings", [split(3), split(3, 1, 1, 1)])
def test_layers_that_nothing_splits_over_the_devices_have_no_plan(settings: EngineSettings) -> None:
    with pytest.raises(UsageError, match=r"3 layers are split over \d of 2 devices; give tensor_split a part for each"):
        over_two(SHAPES[0]).plan(settings)


def test_without_layers_on_a_device_no_split_is_needed() -> None:
    plan = over_two(SHAPES[0]).plan(split(0))
    assert [each.weights_bytes for each in plan.on_devices] == [0, 0]


def test_all_models_fit_where_each_device_holds_its_own_part() -> None:
    both = planner(2, chat=SHAPES[0], code=SHAPES[1])
    plan = both.plan(SplitSettings.of({"chat": split(ALL, 1, 0), "code": split(ALL, 0, 1)}))
    first, second = ((plan.bytes_on(device) or 0) + plan.log_error_bytes for device in plan.devices)
    assert plan.devices == ("gpu0", "gpu1")
    assert plan.device_bytes == first + second - 2 * plan.log_error_bytes
    assert plan.fits(first, second)
    assert not plan.fits(first - 1, second + 1)
    assert not plan.fits(first + 1, second - 1)
