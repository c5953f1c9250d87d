from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.memory import GPU, HOST, ModelMemory
from layertune.memory.buffers import LOG_ERROR_BYTES, BufferBytes
from layertune.memory.placement import TensorInventory
from layertune.memory.projection import CacheTotal, Projection
from layertune.models import ModelShape
from layertune.settings import EngineSettings, SplitSettings
from small_shapes import N_LAYER, engine, linear, planner, shape

ALL = N_LAYER + 1
SHAPES = {
    "plain": shape("qwen2"),
    "tied": shape("llama", tied=True),
    "windowed": shape("gemma3", attention__sliding_window=128, attention__sliding_window_pattern=[1, 0, 1, 0]),
    "latent": shape("deepseek2", attention__head_count_kv=1, attention__key_length=288, attention__key_length_mla=96),
    "recurrent": shape("mamba", ssm__conv_kernel=4, ssm__inner_size=512, ssm__state_size=16),
    "hybrid": shape("lfm2", attention__head_count_kv=[0, 2, 0, 2], shortconv__l_cache=3),
}
shapes = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)
engines = st.builds(
    engine,
    st.integers(0, ALL + 2),
    n_cpu_moe=st.integers(0, N_LAYER),
    n_cpu_ffn=st.integers(0, N_LAYER),
    n_ctx=st.integers(64, 16_384),
    n_batch=st.integers(1, 4096),
    n_ubatch=st.integers(1, 2048),
    n_parallel=st.integers(1, 4),
    kv_unified=st.sampled_from(["on", "off"]),
    type_k=st.sampled_from(["f16", "q8_0", "q4_0"]),
    type_v=st.sampled_from(["f16", "q8_0", "q4_0"]),
)


def memory(model: ModelShape) -> ModelMemory:
    return ModelMemory(model, TensorInventory.plain(model), linear(model))


def on_device(model: ModelShape, settings: EngineSettings) -> BufferBytes:
    held = memory(model).plan(settings).devices[GPU].buffers()
    assert held is not None
    return held


@given(shapes, engines)
def test_a_plan_is_the_sum_of_parts_that_are_never_negative(model: ModelShape, settings: EngineSettings) -> None:
    for planned in memory(model).plan(settings).devices.values():
        parts = (planned.weights_bytes, planned.kv_bytes, planned.compute_bytes, planned.output_bytes)
        assert all(part is not None and part >= 0 for part in parts)
        assert planned.total_bytes == sum(part for part in parts if part is not None)


@given(shapes, engines, st.integers(0, 8192))
def test_more_context_never_takes_less(model: ModelShape, settings: EngineSettings, more: int) -> None:
    less_bytes = on_device(model, settings).total_bytes
    assert on_device(model, replace(settings, n_ctx=settings.n_ctx + more)).total_bytes >= less_bytes


@given(shapes, engines, st.integers(0, 2048))
def test_a_larger_physical_batch_never_takes_less(model: ModelShape, settings: EngineSettings, more: int) -> None:
    larger = replace(settings, n_ubatch=settings.n_ubatch + more)
    assert on_device(model, larger).total_bytes >= on_device(model, settings).total_bytes


@given(shapes, engines, st.integers(0, ALL))
def test_more_layers_never_hold_less_weights_and_cache(model: ModelShape, settings: EngineSettings, more: int) -> None:
    """Compute buffers may shrink with the last layer (llama.cpp then keeps no activations on the host)."""
    fewer = on_device(model, settings)
    held = on_device(model, replace(settings, n_gpu_layers=settings.n_gpu_layers + more))
    assert held.weights_bytes >= fewer.weights_bytes
    assert held.kv_bytes >= fewer.kv_bytes


@given(shapes, engines)
def test_device_and_host_share_the_cache_between_them(model: ModelShape, settings: EngineSettings) -> None:
    split = memory(model).plan(settings).devices
    whole = memory(model).plan(replace(settings, n_gpu_layers=ALL)).devices
    assert (split[GPU].kv_bytes or 0) + (split[HOST].kv_bytes or 0) == whole[GPU].kv_bytes


@given(shapes, engines)
def test_a_cache_that_is_not_offloaded_is_on_the_host(model: ModelShape, settings: EngineSettings) -> None:
    offloaded, kept = (memory(model).plan(replace(settings, kv_offload=each)).devices for each in ("on", "off"))
    assert kept[GPU].kv_bytes == 0
    assert kept[HOST].kv_bytes == (offloaded[GPU].kv_bytes or 0) + (offloaded[HOST].kv_bytes or 0)
    for device in (GPU, HOST):
        assert kept[device].weights_bytes == offloaded[device].weights_bytes


@given(shapes, engines)
def test_settings_that_run_as_one_engine_have_one_plan(model: ModelShape, settings: EngineSettings) -> None:
    assert memory(model).plan(settings) == memory(model).plan(settings.canonical(model.n_layer))
    assert memory(model).plan(settings) == memory(model).plan(replace(settings, n_threads=7))


def test_of_an_unknown_architecture_the_cache_is_llama_cpp_s_word() -> None:
    def project(_key: EngineSettings) -> Projection:
        return Projection({GPU: 10, HOST: 20}, 30, (CacheTotal((0, 1, 2, 3), 3000, 1000),), {}, flash_attn=True)

    model = shape("brand-new")
    plan = ModelMemory(model, TensorInventory.plain(model), project).plan(engine(2))
    assert plan.kv_source == "llama.cpp"
    assert (plan.devices[GPU].kv_bytes, plan.devices[HOST].kv_bytes) == (1000, 3000)
    plan = ModelMemory(model, TensorInventory.plain(model), project).plan(engine(2, kv_offload="off"))
    assert (plan.devices[GPU].kv_bytes, plan.devices[HOST].kv_bytes) == (0, 4000)


@pytest.mark.parametrize(
    ("flash_attn", "is_indexer", "on_device"),
    # Of 10 heads the last layer has 4, and so much of K; of V, too, or as much as every layer, or the larger of both.
    [(True, False, 400 + 40), (False, False, 400 + 25), (None, False, 400 + 40), (True, True, 250 + 25)],
)
def test_of_one_cache_s_total_a_layer_has_what_its_heads_take(
    flash_attn: bool | None, is_indexer: bool, on_device: int
) -> None:
    def project(_key: EngineSettings) -> Projection:
        cache = CacheTotal((0, 1, 2, 3), 1000, 100, is_indexer)
        return Projection({GPU: 0, HOST: 0}, 0, (cache,), {}, flash_attn=flash_attn)

    model = shape("brand-new", attention__head_count_kv=[1, 2, 3, 4])
    plan = ModelMemory(model, TensorInventory.plain(model), project).plan(engine(2))
    assert plan.kv_source == "llama.cpp"
    assert plan.devices[GPU].kv_bytes == on_device
    assert plan.log_error_bytes == 3 * LOG_ERROR_BYTES  # K, V and the compute buffer


def test_without_llama_cpp_s_word_an_unknown_cache_is_none_and_so_is_the_sum() -> None:
    model = shape("brand-new")
    plan = ModelMemory(model, TensorInventory.plain(model), lambda _key: None).plan(engine(2))
    assert plan.kv_source is None
    assert plan.devices[GPU].kv_bytes is None
    assert plan.devices[GPU].total_bytes is None
    assert plan.devices[GPU].buffers() is None


def test_where_llama_cpp_contradicts_our_rules_its_word_counts() -> None:
    model = shape("qwen2")

    def project(key: EngineSettings) -> Projection:
        ours = linear(model)(key)
        assert ours is not None
        return replace(ours, caches=(CacheTotal((0, 1, 2, 3), 2 * ours.caches[0].n_bytes, 0),))

    assert ModelMemory(model, TensorInventory.plain(model), project).plan(engine(ALL)).kv_source == "llama.cpp"


def test_states_that_llama_cpp_did_allocate_are_its_word_too() -> None:
    def project(_key: EngineSettings) -> Projection:
        return Projection({GPU: 0, HOST: 0}, 0, (), {GPU: 70, HOST: 30}, flash_attn=None)

    model = shape("brand-new")
    plan = ModelMemory(model, TensorInventory.plain(model), project).plan(engine(2))
    assert (plan.devices[GPU].kv_bytes, plan.devices[HOST].kv_bytes) == (70, 30)


def test_a_plan_of_two_models_adds_up_and_fits_a_budget_that_holds_its_uncertainty() -> None:
    both = planner(chat=SHAPES["plain"], code=SHAPES["tied"])
    plan = both.plan(SplitSettings.of({"chat": engine(ALL), "code": engine(2)}))
    needed_bytes = sum(
        on_device(SHAPES[name], engine(layers)).total_bytes for name, layers in (("plain", ALL), ("tied", 2))
    )
    assert plan.device_bytes == plan.needed_bytes == needed_bytes
    assert plan.fits(needed_bytes + plan.log_error_bytes)
    assert not plan.fits(needed_bytes + plan.log_error_bytes - 1)


def test_every_process_takes_the_device_s_overhead() -> None:
    both = planner(chat=SHAPES["plain"], code=SHAPES["plain"])
    dear = replace(both, overhead=replace(both.overhead, n_bytes=1000))
    settings = SplitSettings.of({"chat": engine(1), "code": engine(1)})
    assert (dear.plan(settings).needed_bytes or 0) - (dear.plan(settings).device_bytes or 0) == 2000


def test_the_most_layers_that_fit_are_found() -> None:
    both = planner(chat=SHAPES["plain"], code=SHAPES["plain"])
    settings = SplitSettings.of({"chat": engine(ALL), "code": engine(ALL)})
    for layers in range(ALL + 1):
        plan = both.plan(settings.with_layers("code", layers))
        budget_bytes = (plan.needed_bytes or 0) + plan.log_error_bytes
        assert both.most_layers(settings, "code", [budget_bytes], range(ALL + 1)) == layers
    assert both.most_layers(settings, "code", [1], range(ALL + 1)) is None
