"""The line through the time of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.report.layers_section import fit_layers


@given(base_s=st.floats(1, 20), share=st.floats(0, 0.9), n_generate=st.integers(1, 512))
def test_times_on_a_line_are_found_again(base_s: float, share: float, n_generate: int) -> None:
    layer_s = -share * base_s / 30
    points = [(layers, n_generate / (base_s + layer_s * layers)) for layers in (0, 7, 15, 30)]
    fit = fit_layers(points, n_generate)
    assert fit is not None
    assert fit.base_s == pytest.approx(base_s)
    assert fit.layer_s == pytest.approx(layer_s, abs=1e-9)
    assert fit.tokens_per_s(15) == pytest.approx(points[2][1])
    assert fit.n == 4


def test_three_different_layer_counts_are_too_few() -> None:
    assert fit_layers([(0, 5.0), (10, 6.0), (20, 7.0), (20, 7.1)], 16) is None
    assert fit_layers([], 16) is None


def test_a_line_that_would_reach_no_time_at_all_is_no_fit() -> None:
    assert fit_layers([(0, 1.0), (1, 1000.0), (2, 1000.0), (3, 1000.0)], 16) is None


def test_points_off_the_line_lower_the_share_that_it_explains() -> None:
    fit = fit_layers([(0, 5.0), (10, 6.6), (20, 6.2), (30, 9.0)], 16)
    assert fit is not None
    assert 0.5 < fit.explained < 1
