"""What stands under the front: the baselines, and how good the plan was."""

from pathlib import Path

import pytest

from finished_study import result, settings
from layertune.memory.correction import Correction
from layertune.report.front_table import baseline_table, front_table
from layertune.results.remarks import plan_words
from layertune.results.result import BudgetInfo, Result, read_result
from layertune.results.summary import Baseline, Planned
from layertune.units import MIB
from small_shapes import planner, shape

STUDIES = Path(__file__).parents[3] / "studies"
PLANNER = planner(chat=shape(n_layer=36), code=shape(n_layer=36))
RULES = [
    Baseline("fit-chat-first", settings(99, 20), "a rule"),
    Baseline("fit-alone", settings(99, 99), "another"),
    Baseline("other", settings(3, 3), "another"),
    Baseline("ollama", None, "a third"),
]


def finished(correction: Correction | None = None, room_bytes: int | None = None) -> Result:
    budget = BudgetInfo(vram_bytes=4 * MIB, margin_bytes=0)
    return result(planned=Planned(PLANNER, 100, 40, correction, room_bytes), baselines=RULES, budget=budget)


def printed(study: Result) -> list[str]:
    return [" ".join(row) for row in baseline_table(study).rows]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fit-chat-first", "trial 1"),
        ("fit-alone", "over the budget"),
        ("other", "not measured"),
        ("ollama", "would evict a model"),
    ],
)
def test_every_baseline_says_what_became_of_it(name: str, words: str) -> None:
    (line,) = [line for line in printed(finished()) if line.startswith(name)]
    assert words in line


def test_a_baseline_that_fits_by_plan_alone_is_told_what_the_overhead_makes_of_it() -> None:
    planned_bytes = PLANNER.plan(settings(3, 3)).device_bytes
    assert planned_bytes is not None
    (line,) = [line for line in printed(finished(room_bytes=planned_bytes - 1024)) if line.startswith("other")]
    assert "not run: 1.0 KiB over with overhead and headroom" in line
    (line,) = [line for line in printed(finished(room_bytes=planned_bytes)) if line.startswith("other")]
    assert "not measured" in line


def test_the_plan_s_errors_are_shown_never_hidden() -> None:
    checked, exact, unchecked = (
        finished(correction).plan for correction in (Correction(2 * MIB, MIB, 7), Correction(0, 0, 7), None)
    )
    assert checked is not None
    assert exact is not None
    assert unchecked is not None
    assert plan_words(checked) == (
        "40 of 100 settings fit. 7 measured trials took 2.0 MiB more than planned each, and at most 1.0 MiB on top."
    )
    assert plan_words(exact) == "40 of 100 settings fit. None of 7 measured trials took more than planned."
    assert plan_words(unchecked) == "40 of 100 settings fit. No trial has checked the plan yet."


@pytest.mark.parametrize("study", ["demo-256mib", "demo-files"])
def test_two_models_fit_80_columns_with_a_row_for_each_of_a_trial_s_models(study: str) -> None:
    recorded = read_result(STUDIES / study)
    front = front_table(recorded, 80)
    assert front.width() <= 80
    assert [row[1] for row in front.rows] == ["chat", "code"] * len(recorded.pareto)
    assert "; -c -b 1024 128 everywhere" in front.title
    picks = ", ".join(row[-1] for row in front.rows if row[-1]).split(", ")
    assert sorted(picks) == sorted(recorded.picks)
    widths = [len(cell) for row in baseline_table(recorded, 80).rows for cell in row[:-1]]
    assert max(widths) < 25


def test_files_are_named_by_what_differs_where_the_columns_are_few() -> None:
    recorded = read_result(STUDIES / "demo-files")
    front = front_table(recorded, 80)
    files = {row[2] for row in front.rows}
    assert {"Q4_K_M", "Q8_0"} < files
    assert not any(".gguf" in file for file in files)


def test_a_wide_terminal_has_a_row_for_each_trial() -> None:
    recorded = read_result(STUDIES / "demo-256mib")
    assert len(front_table(recorded, 140).rows) == len(recorded.pareto)
