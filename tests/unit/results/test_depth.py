"""Speeds at depth in result.json, in the sentences under the table, in exports and in the report."""

from dataclasses import replace

from finished_study import result, settings
from layertune.export.header import provenance_lines
from layertune.report import render_report
from layertune.results.depth import depth_remarks
from layertune.results.remarks import study_remarks
from layertune.results.result import Result, parse_result
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort

SAID = (
    "chat in trial 0 generates 47.2 tokens/s with an empty context, 31.5 at half and 23.6 at full context "
    "(1024 tokens); a turn at half context takes 0.3 s."
)


def trial(number: int, split: SplitSettings, effort: Effort) -> FinishedTrial:
    return FinishedTrial.of(number, split, FakeRunner(cap_bytes=2**40).run(split, effort), {"vram": -1.0})


def deep_study() -> Result:
    effort = Effort(3, 3, 0.1)
    deep = trial(0, settings(37, 0), replace(effort, at_depth={"chat": None}))
    return result(trials=[deep, trial(1, settings(0, 0), effort)])


def test_the_remarks_give_the_speeds_at_depth_of_a_pick() -> None:
    assert depth_remarks(deep_study()) == [SAID]
    assert SAID in study_remarks(deep_study())
    assert depth_remarks(result()) == []


def test_exports_of_a_trial_that_was_measured_at_depth_say_so() -> None:
    study = deep_study()
    for number, there in ((0, True), (1, False)):
        lines = provenance_lines(study, study.trial(number))
        assert any("at full context (1024 tokens)" in line for line in lines) == there


def test_a_result_with_speeds_at_depth_is_read_as_it_was_written() -> None:
    study = deep_study()
    assert parse_result(study.model_dump(mode="json"), "result.json") == study


def test_the_report_has_a_table_of_speeds_at_depth_where_there_are_any() -> None:
    page = render_report(deep_study())
    assert '<section id="depth" ' in page
    assert "/trials/0/metrics/chat/tg_tokens_per_s_full/median" in page
    assert '<section id="depth" ' not in render_report(result())
