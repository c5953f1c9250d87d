"""The front as plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finished_study import result
from layertune.report.scatter import front_plot, scatter
from layertune.results.result import Result
from report_studies import models, on_gpu, recorded, without_device

FIGURE = st.integers(0, 10**8).map(lambda thousandths: thousandths / 1000)
POINT = st.tuples(FIGURE, FIGURE, st.integers(0, 99999).map(str))


@given(points=st.lists(POINT, min_size=1, max_size=20), width=st.integers(40, 200))
def test_it_keeps_to_the_width_and_shows_the_last_point_whole(
    points: list[tuple[float, float, str]], width: int
) -> None:
    lines = scatter(points, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 16
    assert any(points[-1][2] in line for line in lines[:14])


def test_faster_is_higher_and_farther_right() -> None:
    lines = scatter([(1, 1, "a"), (2, 2, "b"), (3, 1, "c")], 60).splitlines()
    at = {name: next((row, line.index(name)) for row, line in enumerate(lines) if name in line[9:]) for name in "abc"}
    assert at["b"][0] < at["a"][0] == at["c"][0]
    assert at["a"][1] < at["b"][1] < at["c"][1]


def test_every_trial_of_the_front_is_drawn_and_the_axes_have_units() -> None:
    drawn = front_plot(recorded(), 80)
    assert all(str(number) in drawn for number in recorded().pareto)
    assert "chat, tokens/s, EMULATED" in drawn
    assert "EMULATED" not in front_plot(on_gpu(), 80)


def test_one_model_is_drawn_over_its_memory_and_a_third_one_is_left_to_the_table() -> None:
    assert "peak VRAM, MiB" in front_plot(models("chat"), 80)
    assert front_plot(models("chat", "code", "embed"), 80).endswith("embed: in the table, and in layertune report")


@pytest.mark.parametrize("study", [without_device(), models("chat"), result()])
def test_points_at_one_place_are_drawn_too(study: Result) -> None:
    assert "│" in front_plot(study, 30)


def test_without_a_front_there_is_nothing_to_draw() -> None:
    assert front_plot(result(trials=[]), 80) == "no front to draw"
