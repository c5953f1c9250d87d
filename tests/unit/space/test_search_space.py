import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from layertune.errors import ConfigError
from layertune.sampler.distributions import distributions
from layertune.settings import OFFLOAD_SWITCHES
from layertune.space.search_space import SearchSpace
from small_study import N_LAYERS, config, space


def test_searched_dimensions_are_static_parameters_and_fixed_ones_are_none() -> None:
    assert distributions(space()) == {
        "chat.n_gpu_layers": IntDistribution(0, 13),
        "chat.n_batch": IntDistribution(256, 512, step=256),
        "code.n_gpu_layers": IntDistribution(0, 21),
        "code.n_batch": IntDistribution(256, 512, step=256),
    }


def test_a_range_whose_step_misses_the_whole_model_still_has_it() -> None:
    stepped = space(n_gpu_layers={"min": 0, "max": "all", "step": 5})
    assert distributions(stepped)["chat.n_gpu_layers"] == CategoricalDistribution((0, 5, 10, 13))


def test_values_keep_their_order_without_repetitions() -> None:
    found = distributions(space(n_batch=[512, 64, 512, 128], type_k=["q8_0", "f16"]))
    assert found["chat.n_batch"] == CategoricalDistribution((512, 64, 128))
    assert found["chat.type_k"] == CategoricalDistribution(("q8_0", "f16"))


def test_without_a_device_no_layer_is_offloaded() -> None:
    hostly = SearchSpace.of(config(), N_LAYERS, n_threads=2, offloads=False)
    assert {engine.n_gpu_layers for settings in hostly.enumerate() for _, engine in settings.items()} == {0}
    switches = config(**{switch: ["on", "off"] for switch in OFFLOAD_SWITCHES})
    hostly = SearchSpace.of(switches, N_LAYERS, n_threads=2, offloads=False)
    assert not any(each.field in OFFLOAD_SWITCHES for each in hostly.searched)


def test_overrides_of_tensors_are_one_dimension_whose_values_are_written_as_for_llama_server() -> None:
    overridden = space(tensor_overrides=[[], ["attn_q=CPU", r"\.ffn_up=CPU"]])
    written = CategoricalDistribution(("", "[.]ffn_up=CPU,attn_q=CPU"))
    assert distributions(overridden)["chat.tensor_overrides"] == written
    assert [each.tensor_overrides for each in overridden.engines("chat")][1:3] == [
        ("[.]ffn_up=CPU", "attn_q=CPU"),
        (),
    ]
    assert not any(each.field == "tensor_overrides" for each in space(tensor_overrides=["attn_q=CPU"]).searched)


def test_threads_come_from_the_host_where_the_config_names_none() -> None:
    assert space().smallest()["chat"].n_threads == 2
    assert space(n_threads=[1, 4]).smallest()["chat"].n_threads == 1


def test_the_smallest_setting_has_the_smallest_of_everything_that_takes_memory() -> None:
    smallest = space(n_ctx=[4096, 2048], n_gpu_layers={"min": 3}).smallest()["chat"]
    assert (smallest.n_gpu_layers, smallest.n_ctx, smallest.n_batch) == (3, 2048, 256)


def test_the_space_enumerates_as_many_settings_as_it_counts() -> None:
    small = space(n_gpu_layers=[0, 5])
    settings = list(small.enumerate())
    assert len(settings) == len(set(settings)) == small.n_settings() == 2 * 2 * 22 * 2


@given(st.data())
def test_params_and_settings_convert_into_each_other(data: st.DataObject) -> None:
    mixed = space(n_batch=[512, 64], type_v=["f16", "q8_0"], flash_attn="on")
    params = {each.name: data.draw(st.sampled_from(each.values)) for each in mixed.dimensions if len(each.values) > 1}
    assert mixed.params(mixed.settings(params)) == params


def test_a_baseline_is_a_setting_of_the_space_and_999_is_the_whole_model() -> None:
    baseline = space().baseline("b", {"chat": {"n_gpu_layers": 999}, "code": {"n_batch": 512}})
    assert (baseline["chat"].n_gpu_layers, baseline["chat"].n_batch) == (13, 256)
    assert (baseline["code"].n_gpu_layers, baseline["code"].n_batch) == (0, 512)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"code": {"speed": 1}}, "baselines.b: there is no code.speed"),
        ({"chat": {"n_batch": 100}}, "chat.n_batch = 100 is not searched; choose one of 256, 512"),
    ],
)
def test_a_baseline_outside_the_space_is_refused(values: dict[str, dict[str, int]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        space().baseline("b", values)


@pytest.mark.parametrize("n_ctx", [1024, [1024, 2048]])
def test_settings_carry_the_slots_of_the_config(n_ctx: int | list[int]) -> None:
    assert {engine.n_parallel for _, engine in space(n_ctx=n_ctx).smallest().items()} == {1}


def test_layers_past_the_whole_model_are_the_whole_model_in_lists_and_baselines() -> None:
    clamped = space(n_gpu_layers=[0, 99, 999])
    assert distributions(clamped)["chat.n_gpu_layers"] == IntDistribution(0, 13, step=13)
    assert clamped.baseline("all", {"chat": {"n_gpu_layers": 999}})["chat"].n_gpu_layers == 13


def test_settings_that_llama_cpp_would_refuse_are_not_enumerated() -> None:
    mixed = space(flash_attn=["on", "off"], type_v=["f16", "q8_0"])
    settings = list(mixed.enumerate())
    assert all(each.impossible() is None for each in settings)
    assert len(settings) == mixed.n_settings() * 3 // 4


@examples(max_examples=20)
@given(st.integers(0, 2**40))
def test_a_shuffled_space_has_every_setting_once(seed: int) -> None:
    small = space(n_gpu_layers=[0, 5], n_batch=256, flash_attn=["on", "off"], type_v=["f16", "q8_0"])
    shuffled = list(small.shuffled(seed))
    assert len(shuffled) == len(set(shuffled))
    assert set(shuffled) == set(small.enumerate())
    assert shuffled == list(small.shuffled(seed))


def test_a_huge_space_yields_its_first_setting_without_enumerating_all() -> None:
    """Two hundred million settings: neither the grid nor the search for an unseen setting may list them."""
    huge = space(n_ctx=list(range(256, 256 * 401, 256)), n_threads=list(range(1, 401)))
    assert huge.n_settings() > 10**8
    assert next(huge.shuffled(1)) != next(huge.shuffled(2))


def test_more_settings_of_a_model_than_can_be_planned_are_refused_before_any_is() -> None:
    huge = space(n_ctx=list(range(256, 256 * 401, 256)), n_threads=list(range(1, 401)))
    with pytest.raises(ConfigError, match=r"models\.chat\.space has \d+ settings, and at most 1000000 can be planned"):
        next(huge.engines("chat"))


def test_all_layers_may_be_written_as_a_value_in_lists_and_baselines() -> None:
    assert space(n_gpu_layers="all").smallest()["chat"].n_gpu_layers == 13
    both = space(n_gpu_layers=[0, "all"], n_cpu_moe="all")
    assert [each.values for each in both.dimensions if each.name == "chat.n_gpu_layers"] == [(0, 13)]
    assert both.baseline("all", {"chat": {"n_gpu_layers": "all"}})["chat"].n_gpu_layers == 13


def test_a_baseline_whose_layers_are_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"chat\.n_gpu_layers = 'most' is not searched; choose one of 0, 1"):
        space().baseline("mine", {"chat": {"n_gpu_layers": "most"}})
