"""What a space that is left open searches: by header, device and budget."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from layertune.config import IntRange, ModelSpace, StudyConfig, dump_config, parse_config
from layertune.config.threads import with_default_threads
from layertune.devices.target import Target
from layertune.errors import BuildError, ConfigError
from layertune.memory.placement import TensorInventory
from layertune.memory.plan import Overhead
from layertune.memory.projection import Projection
from layertune.models import ModelShape
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.search_space import SearchSpace
from layertune.study.auto_space import with_auto_spaces
from layertune.study.models_on_device import ModelsOnDevice
from layertune.units import MIB
from small_shapes import linear, shape


def dense(**keys: Any) -> ModelShape:
    """Return a model whose feed-forward tensors are no experts."""
    found = shape(**{"n_layer": 28, **keys})
    return replace(found, tensors=tuple(replace(each, name=each.name.replace("_exps", "")) for each in found.tensors))


@dataclass(frozen=True)
class Asked:
    """Projections that llama.cpp was asked for; of architectures in `refused` it cannot load a model."""

    shapes: Mapping[str, ModelShape]
    flash_attn: bool = True
    loads: bool = True

    def learn(self, _wanted: object) -> None:
        if not self.loads:
            raise BuildError("unknown model architecture")

    def inventory(self, key: str) -> TensorInventory:
        return TensorInventory.plain(self.shapes[key])

    def project(self, key: str, engine: EngineSettings) -> Projection | None:
        if not self.flash_attn and engine.type_v == "q4_0":
            return None
        return linear(self.shapes[key])(engine)


def opened(
    shapes: Mapping[str, ModelShape],
    size: str = "2MiB",
    n_cores: int = 1,
    device: str | None = None,
    target: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    **space: Any,
) -> tuple[StudyConfig, tuple[str, ...]]:
    table = {
        "models": {name: {"path": f"{name}.gguf", "space": {"auto": True, **space}} for name in shapes},
        "device": device or f"emulated:{size}",
    }
    config = with_default_threads(parse_config(table, folder=Path()), n_cores)
    sizes = [int(float(each.removesuffix("MiB")) * MIB) for each in size.split("+")]
    parts = [Target("emulated", "card", each, **target or {}) for each in sizes]
    found = Target("cpu", "CPU") if device == "cpu" else Target.composite(parts)
    projections: Any = Asked(shapes, **asked or {})
    models = ModelsOnDevice(dict(shapes), found, projections, Overhead(0, "none"), len(shapes))
    return with_auto_spaces(config, models)


def space_of(found: tuple[StudyConfig, tuple[str, ...]], name: str = "a") -> ModelSpace:
    return found[0].models[name].space


def test_a_dense_model_that_does_not_fit_searches_layers_feed_forward_parts_and_batches() -> None:
    found = opened({"a": dense()})
    space = space_of(found)
    assert space.n_gpu_layers == IntRange()
    assert space.n_cpu_ffn == [0, 4, 7, 10, 14, 18, 21, 24, 28]
    assert (space.n_cpu_moe, space.n_batch, space.n_ubatch) == (0, 2048, [512, 256, 128])
    (words,) = found[1]
    assert words.startswith(
        "a: searched are n_gpu_layers 0 to 29, n_cpu_ffn 0, 4, 7, 10, 14, 18, 21, 24 or 28, n_ubatch"
    )
    assert "n_cpu_moe 0 (it has no experts)" in words
    assert "n_threads 1 (there are no more cores for it)" in words


def test_a_mixture_keeps_experts_on_the_host_layer_by_layer() -> None:
    space = space_of(opened({"a": shape(n_layer=28)}))
    assert space.n_cpu_moe == IntRange(min=0, max=28)
    assert space.n_cpu_ffn == 0


def test_a_recurrent_model_has_no_feed_forward_tensors_and_no_cache_types_but_states_to_keep_on_the_host() -> None:
    model = dense(architecture="mamba", ssm__conv_kernel=4, ssm__inner_size=512, ssm__state_size=16)
    model = replace(model, tensors=tuple(each for each in model.tensors if "ffn" not in each.name))
    found = opened({"a": model}, size="1MiB", n_ctx=4096)
    space = space_of(found)
    assert (space.n_cpu_ffn, space.cache_types, space.kv_offload) == (0, None, ["on", "off"])
    assert "n_cpu_ffn 0 (it has no feed-forward tensors)" in found[1][0]
    assert "cache_types f16 (smaller ones would free 0 B, less than 2 layers)" in found[1][0]


def test_a_hybrid_model_with_a_long_context_searches_its_cache() -> None:
    keys = {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 16, "full_attention_interval": 28}
    long = space_of(opened({"a": dense(architecture="qwen3next", **keys)}, size="4MiB", n_ctx=4096))
    assert long.cache_types == ["f16/f16", "q8_0/q8_0", "q8_0/q4_0"]
    short = space_of(opened({"a": dense(architecture="qwen3next", **keys)}, size="1MiB", n_ctx=640))
    assert short.cache_types is None


def test_what_fits_whole_searches_batches_only() -> None:
    found = opened({"a": dense(), "b": dense(tied=True)}, size="64MiB", n_cores=12, n_ctx=1024)
    space = space_of(found)
    assert (space.n_gpu_layers, space.n_cpu_ffn, space.n_threads, space.cache_types) == ("all", 0, 4, None)
    assert space.n_ubatch == [512, 256, 128]
    assert "n_threads 4" in found[1][1]
    assert "(all models fit the budget whole)" in found[1][1]


def test_models_that_fit_alone_but_not_together_are_searched() -> None:
    one, both = {"a": dense()}, {"a": dense(), "b": dense()}
    assert space_of(opened(one, size="16MiB", n_ctx=640)).n_gpu_layers == "all"
    assert space_of(opened(both, size="16MiB", n_ctx=640)).n_gpu_layers == IntRange()


def test_a_layer_kept_on_the_host_by_the_user_is_why_threads_still_count() -> None:
    space = space_of(opened({"a": dense()}, size="64MiB", n_cores=12, n_ctx=1024, n_gpu_layers=20))
    assert (space.n_gpu_layers, space.n_threads) == (20, [6, 3])


def test_a_budget_that_nothing_fits_opens_the_same_space_as_a_small_one() -> None:
    assert space_of(opened({"a": dense()}, size="0.01MiB")) == space_of(opened({"a": dense()}))


def test_without_a_device_threads_and_batches_are_searched() -> None:
    found = opened({"a": dense()}, device="cpu", n_cores=8)
    space = space_of(found)
    assert (space.n_gpu_layers, space.n_cpu_ffn, space.kv_offload) == (0, 0, "on")
    assert (space.n_threads, space.n_ubatch) == ([8, 4], [512, 256, 128])
    assert "(there is no device to offload to)" in found[1][0]


def test_memory_that_is_the_ram_frees_nothing_by_keeping_parts_on_the_host() -> None:
    found = opened({"a": dense()}, target={"shares_ram": True})
    assert (space_of(found).n_cpu_ffn, space_of(found).kv_offload) == (0, "on")
    assert "(the device's memory is the RAM)" in found[1][0]


def test_several_devices_have_fewer_values_of_the_rest() -> None:
    one = space_of(opened({"a": dense()}, size="4MiB", n_ctx=4096, n_cores=24))
    two = space_of(opened({"a": dense()}, size="2MiB+2MiB", n_ctx=4096, n_cores=24))
    assert (one.n_ubatch, one.n_threads) == ([512, 256, 128], [12, 6])
    assert two.n_ubatch == [512, 256]
    assert two.n_cpu_ffn == one.n_cpu_ffn


def test_tied_embeddings_count_twice_for_what_fits_whole() -> None:
    def layers(size: str, *, tied: bool) -> Any:
        return space_of(opened({"a": dense(tied=tied, n_layer=4)}, size=size, n_ctx=640)).n_gpu_layers

    plain, tied = dense(n_layer=4), dense(n_layer=4, tied=True)
    assert sum(each.n_bytes for each in plain.tensors) > sum(each.n_bytes for each in tied.tensors)
    assert layers("2MiB", tied=False) == layers("2MiB", tied=True) == "all"


def test_the_cache_is_searched_where_it_takes_two_layers_and_its_quality_is_measured() -> None:
    long = space_of(opened({"a": dense()}, n_ctx=4096))
    assert (long.cache_types, long.kv_offload) == (["f16/f16", "q8_0/q8_0", "q8_0/q4_0"], ["on", "off"])
    without_attention = opened({"a": dense()}, asked={"flash_attn": False}, n_ctx=4096)
    assert space_of(without_attention).cache_types is None
    assert "llama.cpp has no flash attention for smaller ones here" in without_attention[1][0]
    switched_off = space_of(opened({"a": dense()}, n_ctx=4096, flash_attn="off"))
    assert switched_off.cache_types is None


def test_a_model_that_llama_cpp_cannot_plan_is_searched_by_its_header() -> None:
    found = opened({"a": dense()}, asked={"loads": False})
    space = space_of(found)
    assert (space.n_gpu_layers, space.cache_types, space.kv_offload) == (IntRange(), None, "on")


def test_what_the_config_writes_is_kept() -> None:
    written = {"n_gpu_layers": [0, 10], "n_ubatch": 64, "n_threads": [3, 9], "type_k": "q8_0", "kv_offload": "off"}
    space = space_of(opened({"a": dense()}, n_ctx=4096, **written))
    assert (space.n_gpu_layers, space.n_ubatch, space.n_threads) == ([0, 10], 64, [3, 9])
    assert (space.type_k, space.cache_types, space.kv_offload) == ("q8_0", None, "off")


@pytest.mark.parametrize("space", [None, "auto", {"auto": True}])
def test_no_space_and_auto_are_the_same_and_an_explicit_table_is_not(space: Any) -> None:
    table = {"path": "a.gguf"} | ({} if space is None else {"space": space})
    assert parse_config({"models": {"a": table}}).models["a"].space.auto
    assert not parse_config({"models": {"a": {"path": "a.gguf", "space": {}}}}).models["a"].space.auto


def test_a_space_is_a_table_or_auto() -> None:
    with pytest.raises(ConfigError, match=r"space: 'all' is no space; write"):
        parse_config({"models": {"a": {"path": "a.gguf", "space": "all"}}})


def test_the_config_of_a_study_has_every_value_and_opens_nothing_again() -> None:
    found, _words = opened({"a": dense()}, n_ctx=4096)
    recorded = tomllib.loads(dump_config(found))["models"]["a"]["space"]
    assert recorded["auto"]
    again = opened({"a": dense()}, size="64MiB", **recorded)
    assert (again[0].models, again[1]) == (found.models, ())


def test_settings_that_hardly_pay_together_are_one_engine() -> None:
    found, _words = opened({"a": dense()}, n_ctx=4096)
    space = SearchSpace.of(found, {"a": 28}, n_threads=1, capacities=(2 * MIB,))
    engines = {space.canonical_engine("a", each) for each in space.engines("a")}
    assert len(engines) < space.n_settings() / 5
    assert all(each.n_gpu_layers == 29 for each in engines if each.n_cpu_ffn)
    assert all(each.type_k == "f16" for each in engines if each.kv_offload == "off")
    settings = SplitSettings.of({"a": next(each for each in engines if each.n_cpu_ffn == 14)})
    assert space.settings(space.params(settings)) == settings


def test_a_baseline_that_the_open_space_does_not_combine_is_refused() -> None:
    found, _words = opened({"a": dense()}, n_ctx=4096)
    space = SearchSpace.of(found, {"a": 28}, n_threads=1, capacities=(2 * MIB,))
    with pytest.raises(ConfigError, match="n_cpu_ffn = 14 is not searched next to its other values"):
        space.baseline("mine", {"a": {"n_gpu_layers": 10, "n_cpu_ffn": 14}})
    assert space.baseline("mine", {"a": {"n_gpu_layers": 29, "n_cpu_ffn": 14}})["a"].n_cpu_ffn == 14
