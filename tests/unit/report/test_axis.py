"""Axes: every value has a place, and what is named is round."""

from hypothesis import given
from hypothesis import strategies as st

from layertune.report.axis import axis, tick_text

VALUES = st.lists(st.floats(0.001, 1e7), min_size=1, max_size=20)


@given(values=VALUES, from_zero=st.booleans(), whole=st.booleans())
def test_every_value_lies_between_the_ends(values: list[float], from_zero: bool, whole: bool) -> None:
    drawn = axis("speed", values, from_zero=from_zero, whole=whole).spanning(50, 500)
    assert all(50 <= drawn(value) <= 500 for value in values)
    assert all(50 - 1e-6 <= drawn(tick) <= 500 + 1e-6 for tick in drawn.ticks)
    assert 1 <= len(drawn.ticks) <= 9


@given(values=VALUES)
def test_larger_is_farther_along(values: list[float]) -> None:
    drawn = axis("speed", values).spanning(400, 10)
    places = [drawn(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)


def test_an_axis_from_zero_begins_there_and_names_round_values() -> None:
    drawn = axis("tokens/s", [7.5, 38.0])
    assert drawn.low == 0
    assert [tick_text(tick) for tick in drawn.ticks] == ["0", "10", "20", "30", "40"]


def test_values_close_together_are_drawn_apart_where_zero_is_not_asked_for() -> None:
    drawn = axis("tokens/s", [98.0, 100.0], from_zero=False)
    assert 97 < drawn.low < 98
    assert axis("tokens/s", [2.0, 100.0], from_zero=False).low == 0


def test_layers_are_whole() -> None:
    assert axis("n_gpu_layers", [3], whole=True).ticks == (0, 1, 2, 3)


def test_nothing_measured_has_an_axis_too() -> None:
    assert axis("tokens/s", []).ticks[0] == 0
    assert axis("tokens/s", [0.0]).high > 0
