import pytest

import small_shapes
from compared import engine
from explained import pair, study
from layertune.explain import Change, Gives, Line, Memory, engines_to_plan, explain
from layertune.explain.line import Over, gives, ordered
from layertune.memory import HOST
from layertune.results.result import Result
from layertune.results.trial_info import BufferInfo
from layertune.units import MIB

PLANNER = small_shapes.planner(chat=small_shapes.shape(n_layer=36), code=small_shapes.shape(n_layer=36))


def lines(result: Result) -> dict[tuple[str, str, int], Line]:
    told = explain(result, result.trial(0), {}).lines
    return {(line.model, line.knob, line.to): line for line in told}


def change(share: float, clear: bool | None = True) -> Change:
    half = None if clear is None else abs(share) / 2 if clear else 2 * abs(share)
    low, high = (None, None) if half is None else (10 * (share - half), 10 * (share + half))
    return Change(10 * share, low, high, 10.0, "modelled")


def line(model: str, freed_bytes: int | None, speed: Change | None) -> Line:
    memory = None if freed_bytes is None else Memory(-freed_bytes, 0, "plan")
    return Line(model, "n_ctx", 2, 1, (), speed, None, memory, None, None, gives(speed, freed_bytes))


def test_a_measured_line_has_measured_speed_and_measured_bytes() -> None:
    found = lines(study())["chat", "n_gpu_layers", 19]
    assert found.speed is not None
    assert (found.speed.source, found.speed.trial) == ("measured", 1)
    assert found.memory == Memory(-10 * MIB, 0, "measured")


def test_a_setting_has_a_modelled_step_and_measured_larger_steps() -> None:
    found = lines(study())
    step, measured = found["chat", "n_gpu_layers", 21], found["chat", "n_gpu_layers", 37]
    assert step.speed is not None
    assert measured.speed is not None
    assert (step.speed.source, measured.speed.source) == ("modelled", "measured")


def test_a_missing_value_has_its_reason() -> None:
    found = lines(study())["chat", "n_ctx", 512]
    assert (found.speed, found.no_speed) == (None, "no two trials differ in n_ctx alone")
    assert (found.memory, found.no_memory) == (None, "no recorded plan")
    assert found.gives == "unknown"


def test_recorded_bytes_are_preferred_to_planned_ones() -> None:
    result = study()
    held = {HOST: buffers(5 * MIB), "gpu0": buffers(7 * MIB)}
    plans = {0: {"chat": held}, 3: {"chat": {HOST: buffers(6 * MIB), "gpu0": buffers(4 * MIB)}}}
    moved = [trial.model_copy(update={"planned": plans.get(trial.number)}) for trial in result.trials]
    moved[3] = moved[3].model_copy(update={"settings": dict(pair(engine(21), engine(9)).items())})
    told = explain(result := result.model_copy(update={"trials": moved}), result.trial(0), PLANNER.models).lines
    found = {(line.model, line.knob, line.to): line.memory for line in told}
    assert found["chat", "n_gpu_layers", 21] == Memory(-3 * MIB, MIB, "recorded plan")
    again = found["chat", "n_ctx", 512]
    assert again is not None
    assert again.source == "plan"
    assert again.device_bytes < 0
    asked = engines_to_plan(result, [result.trial(0)])["chat"]
    assert engine(21) not in asked
    assert {engine(20), engine(20, n_ctx=512, n_batch=256)} <= set(asked)


def test_a_step_over_the_budget_has_its_excess() -> None:
    result = study([pair(engine(20)), pair(engine(21)), pair(engine(22))], excess_bytes=-float(4 * MIB))
    assert lines(result)["chat", "n_gpu_layers", 21].over == Over(6 * MIB, "the budget")
    assert lines(study([pair(engine(20)), pair(engine(19))]))["chat", "n_gpu_layers", 19].over is None


def test_a_step_over_the_ram_limit_of_the_model_has_its_excess() -> None:
    """A layer fewer is a layer more on the host."""
    result = study([pair(engine(20))])
    limited = result.trial(0).model_copy(update={"violations": {"vram": -1.0, "ram.chat": -1.0}})
    told = explain(result, limited, PLANNER.models).lines
    moved = next(line for line in told if (line.model, line.knob, line.to) == ("chat", "n_gpu_layers", 19))
    assert moved.memory is not None
    assert moved.memory.host_bytes > 0
    assert moved.over == Over(moved.memory.host_bytes - 1, "the model's RAM limit")


@pytest.mark.parametrize(
    ("freed_bytes", "speed", "expected"),
    [
        (1, change(-0.1), "memory"),
        (1, None, "memory"),
        (0, change(0.1), "speed"),
        (0, change(0.1, None), "speed"),
        (-1, change(0.1, clear=False), "neither"),
        (0, change(-0.1), "neither"),
        (0, None, "unknown"),
        (None, change(-0.1), "unknown"),
        (None, change(0.1), "speed"),
    ],
)
def test_the_benefit_of_a_line_is_its_clear_gain(
    freed_bytes: int | None, speed: Change | None, expected: Gives
) -> None:
    assert gives(speed, freed_bytes) == expected


def test_lines_that_free_memory_come_before_lines_that_gain_speed() -> None:
    told = [
        line("unknown", 0, None),
        line("little speed", -5, change(0.1)),
        line("frees, speed unknown", 9, None),
        line("dear", 10, change(-0.5)),
        line("neither", 0, change(-0.1)),
        line("much speed", -5, change(0.4)),
        line("cheap", 100, change(-0.6)),
        line("free", 1, change(0.01, clear=False)),
    ]
    assert [each.model for each in ordered(told, on_device=True)] == [
        "free",
        "cheap",
        "dear",
        "frees, speed unknown",
        "much speed",
        "little speed",
        "neither",
        "unknown",
    ]


def test_without_a_device_host_memory_is_the_scarce_one() -> None:
    result = study([pair(engine(0)), pair(engine(0, n_ctx=512)), pair(engine(0, n_ctx=2048))])
    device = result.hardware.device.model_copy(update={"kind": "cpu", "vram_bytes": None})
    result = result.model_copy(update={"hardware": result.hardware.model_copy(update={"device": device})})
    trials = [
        trial.model_copy(update={"buffers": {"chat": {HOST: buffers(at * MIB)}, "code": {HOST: buffers(MIB)}}})
        for trial, at in zip(result.trials, (4, 2, 8), strict=True)
    ]
    told = explain(result.model_copy(update={"trials": trials}), trials[0], {})
    assert not told.on_device
    assert [(each.knob, each.to) for each in told.lines if each.gives == "memory"] == [("n_ctx", 512)]


def buffers(weights_bytes: int) -> BufferInfo:
    return BufferInfo(weights_bytes=weights_bytes, kv_bytes=0, compute_bytes=0, output_bytes=0)
