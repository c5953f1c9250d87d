"""What a pick's peak is made of."""

import re

from finished_study import result
from layertune.memory import HOST
from layertune.report import render_report
from layertune.report.memory_section import headroom_bytes, headroom_cell, memory_parts
from layertune.report.source import distinct_picks, sources
from layertune.results.result import BudgetInfo
from layertune.units import MIB, format_bytes
from report_page import Page
from report_studies import first_version, recorded, without_device


def test_the_parts_are_the_peak() -> None:
    for source in sources(recorded()):
        parts = memory_parts(source)
        assert parts is not None
        assert source.trial.vram is not None
        assert sum(part.n_bytes for part in parts) == source.trial.vram.peak_bytes


def test_buffers_on_the_host_are_not_the_device_s() -> None:
    for source in sources(recorded()):
        on_device = [
            held.weights_bytes
            for devices in (source.trial.buffers or {}).values()
            for device, held in devices.items()
            if device != HOST
        ]
        assert sum(part.n_bytes for part in memory_parts(source) or [] if part.kind == "weights") == sum(on_device)


def test_without_buffers_or_a_device_there_are_no_parts() -> None:
    for study in (first_version(), without_device()):
        assert all(memory_parts(source) is None for source in sources(study))


def test_headroom_is_the_study_s_own_constraint_where_it_was_recorded() -> None:
    (source, *_) = sources(recorded())
    left_over = headroom_bytes(recorded(), source)
    assert left_over == (-source.trial.violations["vram"], "/trials/0/violations/vram")


def test_without_a_constraint_headroom_is_the_budget_less_the_peak() -> None:
    study = first_version().model_copy(update={"budget": BudgetInfo(vram_bytes=8000 * MIB, margin_bytes=1000 * MIB)})
    source = sources(study)[1]
    assert source.trial.vram is not None
    assert headroom_bytes(study, source) == (7000 * MIB - source.trial.vram.peak_bytes, "")


def test_of_several_devices_headroom_is_in_the_unit_of_its_column_and_the_fullest_one_s_stands_behind_it() -> None:
    study = recorded()
    capacity_bytes = study.budget.capacity_bytes()
    assert capacity_bytes is not None
    budget = BudgetInfo(vram_bytes=capacity_bytes, margin_bytes=0, devices=[capacity_bytes // 2] * 2)
    fullest = [each.model_copy(update={"violations": {"vram": -3.0 * MIB}}) for each in study.trials]
    study = study.model_copy(update={"budget": budget, "trials": fullest})
    source = sources(study)[study.picks["balanced"]]
    assert source.trial.vram is not None
    left_bytes = capacity_bytes - source.trial.vram.peak_bytes
    assert headroom_bytes(study, source) == (left_bytes, "")
    assert re.sub("<[^>]*>", "", headroom_cell(study, source)) == (
        f"{format_bytes(left_bytes)} in all, 3.0 MiB on the fullest device"
    )
    assert "reserved for further server processes" not in render_report(study)


def test_what_further_server_processes_will_take_is_a_row_of_the_column() -> None:
    study = recorded()
    assert "reserved for further server processes" not in render_report(study)
    more = [
        each.model_copy(update={"violations": {"vram": each.violations["vram"] + 5 * MIB}}) for each in study.trials
    ]
    page = render_report(study.model_copy(update={"trials": more}))
    row = page.partition("reserved for further server processes")[2].partition("</tr>")[0]
    assert "5.0 MiB" in row


def test_each_picked_trial_is_shown_once_with_all_its_names() -> None:
    names = {source.trial.number: name for name, source in distinct_picks(result())}
    assert sorted(names) == sorted(set(result().picks.values()))
    assert sum(len(name.split(", ")) for name in names.values()) == len(result().picks)


def test_the_parts_drawn_are_as_wide_as_their_bytes() -> None:
    html = render_report(recorded())
    bars = re.findall(r'data-x="(\d+)"[^>]*><title>[^<]*</title><rect class="part[^>]* width="([\d.]+)"', html)
    assert len(bars) > 6
    wide = [(float(n_bytes), float(width)) for n_bytes, width in bars][: len(bars) // 2]
    most, widest = max(wide)
    assert all(abs(width - n_bytes * widest / most) < 0.2 for n_bytes, width in wide)


def test_the_table_of_parts_names_every_place() -> None:
    shown = {figure.at for figure in Page.of(render_report(recorded())).figures}
    for pick in set(recorded().picks.values()):
        at = next(source.at for source in sources(recorded()) if source.trial.number == pick)
        assert f"{at}/vram/unaccounted_bytes" in shown
        assert f"{at}/vram/peak_bytes" in shown
