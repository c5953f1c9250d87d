from layertune.memory.kv_cache import checkpoint_bytes, layer_bytes
from layertune.memory.layer_rows import LayerRows
from small_shapes import engine

PLAIN = LayerRows(64, 64)


def test_a_layer_keeps_k_and_v_of_every_token() -> None:
    assert layer_bytes([PLAIN], engine(), flash_attn=True, alignment_bytes=32) == [1024 * (64 + 64) * 2]


def test_quantized_caches_take_their_blocks() -> None:
    settings = engine(type_k="q8_0", type_v="q4_0")
    assert layer_bytes([PLAIN], settings, flash_attn=True, alignment_bytes=32) == [1024 * 2 * (34 + 18)]


def test_a_window_is_kept_with_a_physical_batch_and_padded() -> None:
    windowed = LayerRows(64, 64, window=300)
    assert layer_bytes([windowed], engine(n_ubatch=128), flash_attn=True, alignment_bytes=32) == [512 * 256]


def test_a_window_wider_than_the_context_is_the_context() -> None:
    assert layer_bytes([LayerRows(64, 64, window=9999)], engine(), flash_attn=True, alignment_bytes=32) == [1024 * 256]


def test_each_slot_has_its_own_part_of_the_context_and_its_own_window() -> None:
    settings = engine(n_ctx=1024, n_parallel=4, n_ubatch=128)
    plain, windowed = layer_bytes([PLAIN, LayerRows(64, 64, window=16)], settings, flash_attn=True, alignment_bytes=32)
    assert plain == 1024 * 256
    assert windowed == 4 * 256 * 256


def test_slots_of_one_cache_share_the_context_and_its_window_grows_with_them() -> None:
    settings = engine(n_ctx=4096, n_parallel=4, n_ubatch=128, kv_unified="on")
    rows = [PLAIN, LayerRows(64, 64, window=100), LayerRows(n_state=(100, 1000))]
    plain, windowed, recurrent = layer_bytes(rows, settings, flash_attn=True, alignment_bytes=32)
    assert plain == 4096 * 256
    assert windowed == 768 * 256  # 4 * 100 + 128 cells, padded to 256
    assert recurrent == 4 * 4400


def test_without_flash_attention_every_v_is_as_wide_as_the_widest() -> None:
    rows = [PLAIN, LayerRows(64, 256)]
    assert layer_bytes(rows, engine(), flash_attn=False, alignment_bytes=32) == [1024 * 2 * (64 + 256)] * 2


def test_states_are_32_bit_a_slot_whatever_the_cache_type_and_the_context() -> None:
    rows = [LayerRows(n_state=(100, 1000))]
    for settings in (engine(n_parallel=2), engine(n_parallel=2, n_ctx=8192, type_k="q8_0")):
        assert layer_bytes(rows, settings, flash_attn=True, alignment_bytes=32) == [800 + 8000]


def test_every_tensor_is_padded_to_the_device_s_alignment() -> None:
    assert layer_bytes([LayerRows(n_state=(1, 1))], engine(), flash_attn=True, alignment_bytes=128) == [256]


def test_a_checkpoint_has_the_window_of_one_slot_and_its_states() -> None:
    rows = [PLAIN, LayerRows(64, 64, window=300), LayerRows(n_state=(100, 1000))]
    settings = engine(n_ctx=2048, n_parallel=2, type_k="q8_0")
    window_bytes = 300 * (68 + 128)
    assert checkpoint_bytes(rows, settings, flash_attn=True) == window_bytes + 300 * 12 + 1100 * 4
    short = engine(n_ctx=512, n_parallel=2)
    assert checkpoint_bytes(rows[:2], short, flash_attn=True) == 256 * (256 + 12)


def test_a_model_that_keeps_its_whole_context_has_no_checkpoints() -> None:
    assert checkpoint_bytes([PLAIN, PLAIN], engine(), flash_attn=True) == 0
