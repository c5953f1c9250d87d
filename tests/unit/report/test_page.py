"""The whole page: what it shows is what result.json has, and it asks nobody for anything."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from finalists import trial
from finished_study import result
from layertune.report import render_report
from layertune.results.result import BudgetInfo, ClockInfo, Result
from report_page import Page, as_json, resolve
from report_studies import STUDIES, first_version, on_gpu, recorded, with_finals


@pytest.fixture(params=STUDIES, scope="module")
def study(request: pytest.FixtureRequest) -> Result:
    return STUDIES[request.param]()


@pytest.fixture(scope="module")
def page(study: Result) -> Page:
    return Page.of(render_report(study))


def test_every_figure_that_names_its_place_equals_result_json(study: Result, page: Page) -> None:
    document = as_json(study)
    for figure in page.figures:
        if figure.at:
            assert figure.value == resolve(document, figure.at), figure


def test_every_figure_shown_is_its_exact_value_rounded(page: Page) -> None:
    for figure in page.figures:
        shown = re.fullmatch(r"([+-]?[\d.]+(?:e[+-]?\d+)?)\s?(B|KiB|MiB|GiB|%|s)?", figure.text)
        if shown is None:  # minutes and hours
            assert re.fullmatch(r"\d+[mh] \d\d[sm]", figure.text), figure
            continue
        number, unit = shown.groups()
        scale = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "%": 0.01}.get(unit or "", 1)
        is_gain = figure.at.startswith("/baselines/") and unit == "%"
        exact = abs((figure.value - 1) if is_gain else figure.value)
        digits = len(number.partition(".")[2])
        assert abs(abs(float(number)) * scale - exact) <= 0.5001 * 10.0**-digits * scale, figure


def test_every_measured_speed_and_peak_is_in_the_page(study: Result, page: Page) -> None:
    shown = {figure.at for figure in page.figures}
    for at, each in enumerate(study.trials):
        if each.state != "measured":
            continue
        for name in study.models:
            assert f"/trials/{at}/metrics/{name}/tokens_per_s/median" in shown
            assert f"/trials/{at}/metrics/{name}/tokens_per_s_together/median" in shown
        assert each.vram is None or f"/trials/{at}/vram/peak_bytes" in shown


def test_every_point_of_the_figures_is_drawn_at_a_figure_of_result_json(study: Result, page: Page) -> None:
    names = list(study.models)
    measured = [each for each in study.trials if each.metrics is not None]
    for each in measured:
        speeds = [(each.metrics or {})[name]["tokens_per_s"].median for name in names]
        if len(names) > 1:
            assert (speeds[0], speeds[1]) in page.marks
        for name, speed in zip(names, speeds, strict=True):
            assert (each.settings[name].n_gpu_layers, speed) in page.marks


def test_every_point_tells_its_trial_s_own_figures(study: Result) -> None:
    html = render_report(study)
    for each in study.trials:
        for name, metrics in (each.metrics or {}).items():
            speed = metrics["tokens_per_s"].median
            told = f"{name}: {speed:.1f}" if speed >= 10 else f"{name}: {speed:.2f}"
            values = f'data-x="{each.settings[name].n_gpu_layers}" data-y="{speed!r}"'
            tips = re.findall(rf"{re.escape(values)}><title>trial {each.number}\b([^<]*)</title>", html)
            assert any(told in tip for tip in tips)


def test_the_page_asks_the_network_for_nothing(page: Page) -> None:
    assert {value[:1] for value in page.values("href")} <= {"#"}
    for forbidden in ("src", "srcset", "action", "style", "poster", "background", "xlink:href", "formaction"):
        assert page.values(forbidden) == []
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_its_policy_allows_its_own_style_and_script_and_nothing_else(study: Result) -> None:
    html = render_report(study)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy
        assert "url(" not in text
        assert "@import" not in text


def test_every_link_leads_somewhere_and_every_anchor_is_one(page: Page) -> None:
    anchors = page.values("id")
    assert len(anchors) == len(set(anchors))
    assert {value[1:] for value in page.values("href")} <= set(anchors)


def test_the_page_is_small(study: Result) -> None:
    assert len(render_report(study).encode()) < 1_000_000


def test_the_same_result_gives_the_same_page(study: Result) -> None:
    assert render_report(study) == render_report(study)


def test_emulated_figures_say_so_in_the_title_and_in_every_heading_of_a_speed() -> None:
    html = render_report(recorded())
    assert "<title>rtx4050-3b-7b (EMULATED)" in html
    for label in re.findall(r'(?:scope="col" role="columnheader"|class="label"[^>]*)>([^<]*)<', html):
        assert "tokens/s EMULATED" in label or "tokens/s ranks" in label or "tokens/s" not in label, label
    assert "EMULATED" not in render_report(on_gpu())


def test_what_an_older_result_lacks_is_said_and_nothing_crashes() -> None:
    texts = " ".join(Page.of(render_report(first_version())).texts)
    for words in ("Buffers on a device: not recorded", "Baselines: not recorded", "went: not recorded"):
        assert words in texts


def test_figures_can_be_reached_by_keyboard_and_lead_to_the_trial() -> None:
    study = recorded()
    html = render_report(study)
    for number in study.pareto:
        assert re.search(rf'<a class="mark"[^>]* href="#trial-{number}"><title>trial {number}', html)
        assert f'id="trial-{number}"' in html
    assert "llama-server --host 127.0.0.1" in html


def test_a_limit_that_is_exceeded_is_shown() -> None:
    texts = " ".join(Page.of(render_report(with_finals())).texts)
    assert "measured, over vram" in texts
    assert "over its limit: vram by 5 B" in texts


def test_the_clock_and_the_limits_of_a_budget_are_read_from_their_places() -> None:
    clock = ClockInfo(wall_s=100, load_s=10, warm_up_s=15, measure_s=70, unload_s=1, overhead_s=4)
    study = result(budget=BudgetInfo(vram_bytes=2**32, margin_bytes=2**20)).model_copy(update={"clock": clock})
    shown = {figure.at: figure.text for figure in Page.of(render_report(study)).figures if figure.at}
    assert shown["/clock/measure_s"] == "1m 10s"
    assert shown["/budget/margin_bytes"] == "1.0 MiB"


@pytest.mark.parametrize("speeds", [(1e-4, 2e-4), (1e7, 1.0), (5.0, 5.0), (5.0, 5.0 + 1e-15)])
def test_speeds_of_any_size_are_drawn_within_the_figure(speeds: tuple[float, float]) -> None:
    study = result(trials=[trial(at, {"chat": [speed], "code": [speed]}, 10) for at, speed in enumerate(speeds)])
    html = render_report(study)
    for x, y in re.findall(r'<circle class="\w+" cx="([^"]*)" cy="([^"]*)"', html):
        assert 0 <= float(x) <= 560
        assert 0 <= float(y) <= 460
