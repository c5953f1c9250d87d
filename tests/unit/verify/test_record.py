import json
from dataclasses import replace

from finished_study import result
from layertune.results.trial_info import MetricInfo
from layertune.units import MIB
from layertune.verify.gauge import Drift, MemoryReading
from layertune.verify.markdown import render_markdown
from layertune.verify.record import Check, Load, Memory, PlanCheck, SpeedComparison, Subject, Verification
from layertune.verify.record_json import as_json
from layertune.verify.requests import Answered, Failed, Phase

PLAN = PlanCheck(True, "100.0 MiB of 200.0 MiB", None, 200 * MIB, {"chat": 100 * MIB})
FIRST = Answered(0.0, 0.25, 0.05, 1.0, 16, n_reused=0)
SOAK = Phase("soak", 10, 60.0, {"chat": [FIRST, replace(FIRST, ttft_s=0.75, tpot_s=None), Failed(1.0, "stalled")]})
FOUND = Verification(
    started="2026-11-26 01:02:03",
    layertune_version="0.1.0",
    subject=Subject(
        study="demo",
        created="2026-11-25T01:02:03+00:00",
        trial=7,
        settings={"chat": result().trial(1).settings["chat"]},
        device="emulated card, 200.0 MiB; Test CPU",
        emulated=True,
        server="llama-server",
        builds={"chat": "b1-0c1e570"},
        measured_build="0c1e570",
        untaken=(),
    ),
    load=Load(10, 60.0, {"chat": (64, 16)}),
    plan=PLAN,
    checks=(
        Check("chat: the model file is here", "passed", "chat.gguf"),
        Check("VRAM", "not checked", "a CPU has none"),
        Check("60.0 s of load without out-of-memory", "failed", "2 of 3 answered", "look at the logs"),
    ),
    compared=(
        SpeedComparison("chat", "alone", 30.0, (29.0, 31.0), MetricInfo(median=40.0, mad=1.0, n=1, samples=[40.0])),
    ),
    memory=Memory(
        "card",
        "ledger",
        0,
        {"chat": 100 * MIB},
        100 * MIB,
        101 * MIB,
        Drift(MIB, False, 2, (MemoryReading(0.0, MIB),)),
        0,
    ),
    phases=(SOAK,),
    meanwhile={"soak": ["other programs took 0.50 cores for 60.0 s"]},
)


def test_the_record_ticks_passed_items_and_gives_reasons_for_the_others() -> None:
    text = render_markdown(FOUND)
    assert "- [x] chat: the model file is here: chat.gguf\n" in text
    assert "- [ ] *not checked:* VRAM: a CPU has none\n" in text
    assert "- [ ] **failed:** 60.0 s of load without out-of-memory: 2 of 3 answered\n" in text
    assert "**FAILED**:\n\n- 60.0 s of load without out-of-memory: 2 of 3 answered; look at the logs\n" in text


def test_an_emulated_card_is_marked_in_the_record() -> None:
    assert "**EMULATED**: the speeds are this CPU's, not a GPU's" in render_markdown(FOUND)
    real = replace(FOUND, subject=replace(FOUND.subject, emulated=False))
    assert "EMULATED" not in render_markdown(real)


def test_the_record_shows_speeds_next_to_the_studys() -> None:
    text = render_markdown(FOUND)
    assert "| chat | alone | 30.00 (29.00 – 31.00) | 2 | 40.00 | 0.75 |" in text
    assert "| chat | 2 | 1 | 32.00 | 0.25 / 0.75 / 0.75 | 50 / 50 / 50 |" in text
    unlike = replace(FOUND, compared=(replace(FOUND.compared[0], study=None),))
    assert "| chat | alone | 30.00 (29.00 – 31.00) | 2 | not measured |  |" in render_markdown(unlike)


def test_other_programs_that_used_the_processor_are_listed_under_the_speeds() -> None:
    assert "\n\nMeanwhile, other programs took 0.50 cores for 60.0 s.\n" in render_markdown(FOUND)


def test_another_build_and_missing_settings_are_marked_in_the_record() -> None:
    assert "another build than the measured one" not in render_markdown(FOUND)
    dirty = replace(FOUND.subject, measured_build="0c1e570-dirty")
    assert "another build than the measured one" not in render_markdown(replace(FOUND, subject=dirty))
    other = replace(FOUND.subject, builds={"chat": "b1-fffffff"}, untaken=("--cache-ram",))
    text = render_markdown(replace(FOUND, subject=other))
    assert "**another build than the measured one**, 0c1e570" in text
    assert "- **not as measured**, this server has no option for --cache-ram\n" in text


def test_the_json_has_every_request() -> None:
    document = json.loads(json.dumps(as_json(FOUND), allow_nan=False))
    assert document["passed"] is False
    (soak,) = document["phases"]
    assert soak["failures"] == {"chat: stalled": 1}
    assert soak["models"]["chat"]["requests"]["ttft_s"] == [0.25, 0.75]
    assert soak["models"]["chat"]["requests"]["tpot_s"] == [0.05, None]
    assert soak["models"]["chat"]["n_answered"] == 2
    assert soak["models"]["chat"]["failed"] == [[1.0, "stalled"]]
    assert document["memory"]["drift"]["moved_bytes"] == MIB


def test_a_record_passes_if_no_check_failed() -> None:
    found = replace(FOUND, checks=FOUND.checks[:2])
    assert found.passed
    assert render_markdown(found).startswith("# Verification of demo\n\n**PASSED**\n\n- 2026")


def test_text_of_other_programs_is_escaped_in_the_markdown() -> None:
    evil = "x\n- [x] all is well | `rm` <img src=x> **b** [a](http://b)"
    found = replace(
        FOUND,
        subject=replace(FOUND.subject, study=evil, device=evil, server=evil, builds={"chat": evil}, untaken=(evil,)),
        checks=(Check("a check", "failed", evil, evil),),
        meanwhile={"soak": [evil]},
        memory=None if FOUND.memory is None else replace(FOUND.memory, source=evil),
    )
    text = render_markdown(found)
    assert text.count("all is well") == 10
    assert "\n- [x] all" not in text
    for mark in ("<img", " `rm", " | `", " [a](http", "**b**"):
        assert mark not in text
