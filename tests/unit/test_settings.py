from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.settings import EngineSettings, SplitSettings

engines = st.builds(
    EngineSettings,
    n_gpu_layers=st.integers(0, 200),
    n_ctx=st.integers(1, 40_000),
    n_batch=st.integers(1, 5000),
    n_ubatch=st.integers(1, 5000),
    n_threads=st.integers(1, 16),
    n_parallel=st.integers(1, 4),
    n_cpu_moe=st.integers(0, 250),
    n_cpu_ffn=st.integers(0, 250),
    n_threads_batch=st.none() | st.integers(1, 16),
    kv_offload=st.sampled_from(["on", "off"]),
    op_offload=st.sampled_from(["on", "off"]),
    kv_unified=st.sampled_from(["on", "off"]),
    tensor_overrides=st.sampled_from([(), ("ffn_up=CPU",), ("ffn_up=CPU", "ffn_down=CPU")]),
)


def engine(**changes: Any) -> EngineSettings:
    values: dict[str, Any] = {"n_gpu_layers": 0, "n_ctx": 1024, "n_batch": 512, "n_ubatch": 512, "n_threads": 1}
    return EngineSettings(**values | changes)


def test_n_batch_is_clamped_to_the_requested_context_before_that_is_padded() -> None:
    canonical = engine(n_ctx=300, n_batch=2048, n_ubatch=512).canonical(n_layer=30)
    assert (canonical.n_ctx, canonical.n_batch, canonical.n_ubatch) == (512, 300, 300)


def test_999_layers_are_the_whole_model_with_its_output_layer() -> None:
    assert engine(n_gpu_layers=999).canonical(n_layer=36).n_gpu_layers == 37


@pytest.mark.parametrize("field", ["n_cpu_moe", "n_cpu_ffn"])
def test_only_layers_of_the_device_can_keep_tensors_on_the_host(field: str) -> None:
    kept = [getattr(engine(n_gpu_layers=5, **{field: n}).canonical(n_layer=8), field) for n in (0, 4, 5, 8, 99)]
    assert kept == [0, 0, 5, 8, 8]
    assert engine(n_gpu_layers=1, **{field: 99}).canonical(8) == engine(n_gpu_layers=1).canonical(8)


def test_later_settings_are_in_files_only_if_they_are_not_the_default() -> None:
    assert "n_cpu_ffn" not in engine().as_dict()
    assert engine(n_cpu_ffn=3).as_dict()["n_cpu_ffn"] == 3


def test_prompts_have_the_threads_of_tokens_unless_they_have_their_own() -> None:
    alike, own = engine(n_threads=4, n_threads_batch=4), engine(n_threads=4, n_threads_batch=8)
    assert alike.canonical(8) == engine(n_threads=4)
    assert own.canonical(8) == own
    assert [(each.prompt_threads, each.most_threads) for each in (engine(n_threads=4), own)] == [(4, 4), (8, 8)]
    assert own.memory_key(8) == engine(n_threads=2).memory_key(8)
    assert "n_threads_batch is 513" in (engine(n_threads_batch=513).out_of_range() or "")


def test_only_layers_of_the_device_have_a_cache_to_keep_on_the_host() -> None:
    kept = [engine(n_gpu_layers=n, kv_offload="off").canonical(8).kv_offload for n in (0, 1, 2, 9)]
    assert kept == ["on", "on", "off", "off"]  # the first layer on the device is the output layer
    assert engine(n_gpu_layers=9, n_cpu_ffn=3, kv_offload="off").layers(8) == "9/9 -ncffn 3 -nkvo"


def test_overrides_of_tensors_count_only_with_a_layer_on_the_device() -> None:
    one = engine(n_gpu_layers=2, tensor_overrides=("a=CPU", "b=CPU"))
    assert one.canonical(8) == one
    assert replace(one, n_gpu_layers=0).canonical(8) == engine().canonical(8)
    assert one.placement.host_tensors == ["a", "b"]
    assert (one.layers(8), one.written("tensor_overrides")) == ("2/9 -ot", "a=CPU,b=CPU")
    assert "is no override" in (engine(tensor_overrides=("(=CPU",)).out_of_range() or "")


def test_only_weights_on_the_host_can_have_their_operations_offloaded() -> None:
    kept = [engine(n_gpu_layers=n, op_offload="off").canonical(8).op_offload for n in (0, 8, 9)]
    assert kept == ["off", "off", "on"]
    assert engine(n_gpu_layers=9, n_cpu_ffn=3, op_offload="off").canonical(8).op_offload == "off"


def test_each_slot_of_a_parallel_context_is_padded() -> None:
    assert engine(n_ctx=1000, n_parallel=3).canonical(n_layer=1).n_ctx == 3 * 512


def test_slots_of_one_cache_may_fill_all_of_the_context() -> None:
    shared = engine(n_ctx=1000, n_parallel=3, kv_unified="on").canonical(n_layer=1)
    assert (shared.n_ctx, shared.n_ctx_slot, shared.kv_unified) == (1024, 1024, "on")
    assert engine(n_ctx=1000, n_parallel=3).canonical(n_layer=1).n_ctx_slot == 512
    assert engine(kv_unified="on").canonical(1) == engine()  # one slot has one cache anyway


def test_settings_that_run_as_one_engine_compare_equal() -> None:
    wide, narrow = engine(n_ctx=128, n_batch=2048), engine(n_ctx=256, n_batch=128, n_ubatch=128)
    assert wide.canonical(30) == narrow.canonical(30)


def test_a_quantized_v_cache_without_flash_attention_is_impossible() -> None:
    bad = EngineSettings(n_gpu_layers=0, n_ctx=512, n_batch=1, n_ubatch=1, n_threads=1, flash_attn="off", type_v="q8_0")
    split = SplitSettings.of({"chat": engine(), "code": bad})
    assert engine().impossible() is None
    assert split.impossible() == "code: type_v = q8_0 needs flash attention, and flash_attn is off"


def test_a_split_reads_like_a_mapping_and_keeps_its_order() -> None:
    split = SplitSettings.of({"code": engine(n_gpu_layers=3), "chat": engine()})
    assert list(split) == ["code", "chat"]
    assert split["code"].n_gpu_layers == 3
    assert len({split, SplitSettings.of({"code": engine(n_gpu_layers=3), "chat": engine()})}) == 1


@given(engines, st.integers(0, 150))
def test_canonical_settings_are_their_own_canonical_form(settings: EngineSettings, n_layer: int) -> None:
    canonical = settings.canonical(n_layer)
    assert canonical.canonical(n_layer) == canonical
    assert canonical.n_ubatch <= canonical.n_batch <= settings.n_ctx
    assert canonical.n_ctx % 256 == 0
    assert canonical.n_gpu_layers <= n_layer + 1


@given(st.integers(0, 150), st.integers(0, 160), st.lists(st.floats(0, 9, width=32), min_size=2, max_size=4))
def test_proportions_that_place_the_layers_alike_are_one_engine(
    n_layer: int, n_gpu_layers: int, parts: list[float]
) -> None:
    if not any(parts):
        return
    settings = replace(engine(n_gpu_layers=n_gpu_layers), tensor_split=tuple(parts))
    canonical = settings.canonical(n_layer)
    assert canonical.canonical(n_layer) == canonical
    assert sum(canonical.tensor_split) == (canonical.n_gpu_layers if n_gpu_layers else 0)
    twice = replace(settings, tensor_split=tuple(2 * part for part in parts))
    assert twice.canonical(n_layer) == canonical


def test_without_layers_or_a_second_device_there_is_nothing_to_split() -> None:
    assert replace(engine(n_gpu_layers=0), tensor_split=(3.0, 1.0)).canonical(30) == engine(n_gpu_layers=0).canonical(
        30
    )
    assert replace(engine(n_gpu_layers=5), tensor_split=(1.0,)).canonical(30) == engine(n_gpu_layers=5).canonical(30)
    assert "tensor_split" not in engine(n_gpu_layers=5).as_dict()


def test_the_context_of_several_slots_is_read_per_request() -> None:
    engine = EngineSettings(n_gpu_layers=0, n_ctx=4096, n_batch=8, n_ubatch=8, n_threads=1)
    assert engine.slots_words == "4096"
    assert replace(engine, n_parallel=4).slots_words == "4×1024"
    shared = replace(engine, n_parallel=4, kv_unified="on")
    assert (shared.slots_words, shared.each_words) == ("4 in 4096", "together")
