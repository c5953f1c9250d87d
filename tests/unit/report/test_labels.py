"""Labels: none covers another, none leaves the figure."""

import re

from hypothesis import given
from hypothesis import strategies as st

from layertune.report.labels import place

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
