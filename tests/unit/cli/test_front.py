"""What stands under the front: the baselines, and how good the plan was."""

import pytest
from rich.console import Console

from finished_study import result, settings
from layertune.cli.front import baseline_table
from layertune.memory.correction import Correction
from layertune.results.remarks import plan_words
from layertune.results.result import BudgetInfo, Result
from layertune.results.summary import Baseline, Planned
from layertune.units import MIB
from small_shapes import planner, shape

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
    console = Console(width=140)
    with console.capture() as capture:
        console.print(baseline_table(study))
    return capture.get().splitlines()


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
