import pytest
from hypothesis import given
from hypothesis import strategies as st

from compared import Row, study
from layertune.compare.front_comparison import Overlap, hypervolumes, overlap
from layertune.config import Objective

BIG = Row((37, 29), (10, 5), 900)
SMALL = Row((37, 20), (8, 4), 600)

rows = st.lists(
    st.builds(
        lambda layers, chat, code, mib: Row((layers, layers), (chat, code), mib),
        st.integers(0, 30),
        st.floats(0.1, 100),
        st.floats(0.1, 100),
        st.floats(1, 1000),
    ),
    min_size=1,
    max_size=5,
)


def test_all_hypervolumes_have_one_reference() -> None:
    reference, (big, small) = hypervolumes([study([BIG], budget_mib=1000), study([SMALL], budget_mib=700)])
    assert reference is not None
    assert reference.objectives == ("chat.tokens_per_s", "code.tokens_per_s", "vram.peak_bytes")
    assert reference.worst[:2] == (0, 0)
    assert reference.best[:2] == (10, 5)
    assert [value / 2**20 for value in (reference.worst[2], reference.best[2])] == [1000, 600]
    assert big == pytest.approx(1 * 1 * 100 / 400)
    assert small == pytest.approx(0.8 * 0.8 * 1)


def test_an_objective_with_one_value_is_left_out() -> None:
    context = Objective("chat.n_ctx", "minimize")
    speed = Objective("chat.tokens_per_s", "maximize")
    first, other = (study([row], objectives=[speed, context]) for row in (BIG, SMALL))
    reference, volumes = hypervolumes([first, other])
    assert reference is not None
    assert reference.objectives == ("chat.tokens_per_s",)
    assert volumes == [pytest.approx(1), pytest.approx(0.8)]


def test_studies_with_different_objectives_have_no_hypervolume() -> None:
    other = study([BIG], objectives=[Objective("chat.ttft_s", "minimize")])
    assert hypervolumes([study([BIG]), other]) == (None, [None, None])


def test_the_worst_latency_counts_too() -> None:
    latency = [Objective("chat.ttft_s", "minimize")]
    first, other = (study([row], objectives=latency) for row in (BIG, SMALL))
    _, (slow, quick) = hypervolumes([first, other])  # the figures of a row are all metrics', latencies included
    assert slow is not None
    assert quick is not None
    assert 0 < slow < quick


def test_a_study_without_a_front_has_no_hypervolume() -> None:
    reference, volumes = hypervolumes([study([BIG]), study([SMALL], None)])
    assert reference is not None
    assert volumes[1] is None
    assert hypervolumes([study([SMALL], None)] * 2) == (None, [None, None])


@given(rows, rows)
def test_a_hypervolume_is_a_share_and_another_trial_never_lessens_it(first: list[Row], other: list[Row]) -> None:
    _, volumes = hypervolumes([study(first), study(first + other), study(first + other)])
    assert all(volume is None or -1e-9 <= volume <= 1 + 1e-9 for volume in volumes)
    if volumes[0] is not None and volumes[1] is not None:
        assert volumes[1] >= volumes[0] - 1e-9
        assert volumes[1] == volumes[2]


def test_shared_settings_of_both_fronts_are_counted() -> None:
    assert overlap(study([BIG, SMALL]), study([SMALL])) == Overlap(1, 2, 1, threads_count=True)


def test_threads_are_ignored_if_the_numbers_of_cores_differ() -> None:
    there = Row(BIG.layers, BIG.speeds, BIG.mib, changes={"n_threads": 16})
    assert overlap(study([BIG]), study([there], n_cores=16)) == Overlap(1, 1, 1, threads_count=False)
    assert overlap(study([BIG]), study([there])) == Overlap(0, 1, 1, threads_count=True)
