import pytest

from layertune.memory.layer_rows import LayerRows, heads_kv, layer_rows
from small_shapes import N_EMBD, shape


def test_grouped_query_attention_keeps_the_key_value_heads_only() -> None:
    assert layer_rows(shape("qwen2")) == (LayerRows(64, 64),) * 4


def test_without_key_value_heads_all_heads_are_kept() -> None:
    rows = layer_rows(shape("llama", attention__head_count_kv=None))
    assert rows == (LayerRows(N_EMBD, N_EMBD),) * 4


def test_head_sizes_of_the_header_win_over_the_embedding_s_share() -> None:
    rows = layer_rows(shape("qwen3", attention__key_length=128, attention__value_length=64))
    assert rows == (LayerRows(256, 128),) * 4


def test_heads_may_differ_by_layer() -> None:
    rows = layer_rows(shape("deci", attention__head_count_kv=[2, 0, 4, 2]))
    assert rows is not None
    assert [each.n_embd_k for each in rows] == [64, 0, 128, 64]


def test_latent_attention_keeps_one_row_in_k() -> None:
    rows = layer_rows(
        shape("deepseek2", attention__head_count_kv=1, attention__key_length=288, attention__key_length_mla=96)
    )
    assert rows == (LayerRows(288, 0),) * 4


def test_layers_that_predict_further_tokens_keep_nothing() -> None:
    rows = layer_rows(shape("qwen3moe", nextn_predict_layers=1))
    assert rows is not None
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("architecture", "n_layer", "whole"),
    [("gemma3", 12, [5, 11]), ("gemma2", 4, [1, 3]), ("gpt-oss", 4, [1, 3]), ("cohere2", 8, [3, 7])],
)
def test_every_nth_layer_sees_the_whole_context(architecture: str, n_layer: int, whole: list[int]) -> None:
    rows = layer_rows(shape(architecture, n_layer=n_layer, attention__sliding_window=512))
    assert rows is not None
    assert [layer for layer, each in enumerate(rows) if each.window is None] == whole


def test_a_pattern_in_the_header_says_which_layers_are_windowed() -> None:
    rows = layer_rows(
        shape("gemma3", attention__sliding_window=512, attention__sliding_window_pattern=[True, False, True, False])
    )
    assert rows is not None
    assert [each.window for each in rows] == [512, None, 512, None]


def test_without_a_window_gemma3_s_layers_are_whole_and_gemma2_s_windows_are_4096() -> None:
    gemma3, gemma2 = layer_rows(shape("gemma3")), layer_rows(shape("gemma2"))
    assert gemma3 is not None
    assert gemma2 is not None
    assert {each.window for each in gemma3} == {None}
    assert {each.window for each in gemma2} == {None, 4096}


def test_a_recurrent_model_keeps_states_and_no_cache() -> None:
    rows = layer_rows(shape("mamba", ssm__conv_kernel=4, ssm__inner_size=512, ssm__state_size=16))
    assert rows == (LayerRows(n_state=(3 * 512, 16 * 512)),) * 4


def test_rwkv_keeps_its_shifted_tokens_and_a_matrix_a_head() -> None:
    rows = layer_rows(shape("rwkv7", wkv__head_size=64))
    assert rows == (LayerRows(n_state=(2 * N_EMBD, 64 * N_EMBD)),) * 4


def test_hybrid_models_are_recurrent_where_they_have_no_heads() -> None:
    rows = layer_rows(shape("lfm2", attention__head_count_kv=[0, 2, 0, 2], shortconv__l_cache=3))
    assert rows == (LayerRows(n_state=(2 * N_EMBD, 0)), LayerRows(64, 64)) * 2


def test_hybrid_models_may_attend_every_fourth_layer_or_in_all_of_them() -> None:
    keys = {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 16, "ssm__group_count": 1}
    interval, parallel = layer_rows(shape("qwen3next", **keys)), layer_rows(shape("falcon-h1", **keys))
    assert interval is not None
    assert parallel is not None
    assert [bool(each.n_embd_k) for each in interval] == [False, False, False, True]
    assert all(each.n_embd_k and each.n_state[1] for each in parallel)


def test_layers_that_are_run_twice_have_their_heads_twice() -> None:
    assert heads_kv(shape("nanbeige", n_layer=4, attention__head_count_kv=[1, 2])) == [1, 2, 1, 2]


def test_the_router_s_layer_has_one_head() -> None:
    assert heads_kv(shape("graniteswitch")) == [2, 2, 2, 1]


def test_of_an_unknown_architecture_nothing_is_claimed() -> None:
    assert layer_rows(shape("brand-new")) is None
