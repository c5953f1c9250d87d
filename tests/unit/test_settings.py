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
)


def engine(**changes: int) -> EngineSettings:
    return EngineSettings(
        **{"n_gpu_layers": 0, "n_ctx": 1024, "n_batch": 512, "n_ubatch": 512, "n_threads": 1} | changes
    )


def test_n_batch_is_clamped_to_the_requested_context_before_that_is_padded() -> None:
    canonical = engine(n_ctx=300, n_batch=2048, n_ubatch=512).canonical(n_layer=30)
    assert (canonical.n_ctx, canonical.n_batch, canonical.n_ubatch) == (512, 300, 300)


def test_999_layers_are_the_whole_model_with_its_output_layer() -> None:
    assert engine(n_gpu_layers=999).canonical(n_layer=36).n_gpu_layers == 37


def test_each_slot_of_a_parallel_context_is_padded() -> None:
    assert engine(n_ctx=1000, n_parallel=3).canonical(n_layer=1).n_ctx == 3 * 512


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
