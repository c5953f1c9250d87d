from hypothesis import given
from hypothesis import strategies as st

from layertune.memory.correction import Correction, Residual

byte_counts = st.integers(0, 2**40)
residuals = st.builds(
    lambda planned, overhead, growth: Residual(planned, planned + overhead, planned + overhead + growth),
    byte_counts,
    byte_counts,
    byte_counts,
)


def test_nothing_measured_is_nothing_learned() -> None:
    assert Correction.learn([]) is None


def test_the_median_after_the_load_is_the_overhead_and_the_most_growth_the_headroom() -> None:
    learned = Correction.learn([Residual(100, 150, 160), Residual(200, 250, 290), Residual(300, 352, 352)])
    assert learned == Correction(overhead_bytes=50, headroom_bytes=40, n_trials=3)


def test_a_plan_that_was_exact_is_not_corrected() -> None:
    assert Correction.learn([Residual(100, 100, 100)]) == Correction(0, 0, 1)


def test_a_plan_that_was_too_high_is_not_corrected_downwards() -> None:
    assert Correction.learn([Residual(100, 90, 90)]) == Correction(0, 0, 1)


@given(st.lists(residuals, min_size=1, max_size=20))
def test_no_measured_trial_is_beyond_the_corrected_plan(measured: list[Residual]) -> None:
    learned = Correction.learn(measured)
    assert learned is not None
    beyond_bytes = learned.overhead_bytes + learned.headroom_bytes
    assert all(each.peak_bytes <= each.planned_bytes + beyond_bytes for each in measured)
