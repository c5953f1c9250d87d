"""The steps of each setting, and whether to share the device, on the page."""

import re

from compared import engine
from explained import pair, study
from layertune.explain import coexist_or_swap, explain
from layertune.report import render_report
from report_page import Page
from report_studies import recorded


def section(html: str, name: str) -> Page:
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found is not None
    return Page.of(found[0])


def test_the_page_has_every_figure_of_the_explanation() -> None:
    result = study()
    shown = [figure.value for figure in section(render_report(result), "steps").figures]
    for line in explain(result, result.trial(0), {}).lines:
        if line.speed is not None:
            assert {line.speed.tokens_per_s, line.speed.share} <= set(shown)
        if line.memory is not None:
            assert {line.memory.device_bytes, line.memory.host_bytes} <= set(shown)


def test_every_line_says_what_its_figures_are() -> None:
    texts = " ".join(section(render_report(study()), "steps").texts)
    for words in ("modelled", "measured: trial 1", "no two trials differ in n_ctx alone", "no recorded plan"):
        assert words in texts


def test_the_verdict_has_its_break_even_and_its_loads() -> None:
    trials = [pair(engine(20)), pair(engine(37), engine(0)), pair(engine(0), engine(37))]
    result = study(trials, speeds={1: {"chat": 64.0}, 2: {"code": 64.0}})
    page = section(render_report(result), "swap")
    case = coexist_or_swap(result, result.trial(0)).cases[0]
    assert case.per_minute is not None
    assert case.per_minute in [figure.value for figure in page.figures]
    assert {figure.at for figure in page.figures} >= {"/trials/1/load_s/chat/median", "/trials/2/load_s/code/median"}


def test_what_is_missing_for_a_verdict_is_said_on_the_page() -> None:
    texts = " ".join(section(render_report(recorded()), "swap").texts)
    assert "No verdict, since this is missing: the load time of chat" in texts
