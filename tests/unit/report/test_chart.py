"""Axes whose ticks are round, and labels that do not overlap."""

import re

from hypothesis import given
from hypothesis import strategies as st

from layertune.report.chart import axis, place, tick_text

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


INSIDE = (0.0, 0.0, 300.0, 200.0)
POINTS = st.lists(
    st.tuples(st.floats(0, 300), st.floats(0, 200), st.text("abc 123", min_size=1, max_size=30)), max_size=12
)


def test_a_point_with_room_has_its_label_beside_it() -> None:
    assert re.findall(r">([^<]*)</text>", place([(50, 100, "8 balanced")], INSIDE)) == ["8 balanced"]


@given(points=POINTS)
def test_no_label_leaves_the_figure_or_covers_another(points: list[tuple[float, float, str]]) -> None:
    drawn = place(points, INSIDE)
    boxes = []
    for x, y, words in re.findall(r'x="([-\d.]+)" y="([-\d.]+)"[^>]*>([^<]*)<', drawn):
        boxes.append((float(x), float(y), float(x) + 6.4 * len(words)))
        assert boxes[-1][0] + 0.1 >= 0
        assert boxes[-1][2] <= 300.1
        assert 0 < boxes[-1][1] <= 200
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            assert abs(one[1] - other[1]) > 11.8 or one[2] <= other[0] + 0.2 or other[2] <= one[0] + 0.2


def test_a_second_label_at_the_same_place_goes_elsewhere_or_is_left_out() -> None:
    drawn = place([(150, 100, "a name of some length")] * 9, INSIDE)
    assert 1 < drawn.count("<text") < 9
