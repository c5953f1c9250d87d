"""What a result tells of the plan and the baselines."""

from finished_study import result, settings
from layertune.memory import GPU
from layertune.memory.correction import Correction
from layertune.results.result import HostLimitsInfo, Result
from layertune.results.summary import Baseline, Planned
from small_shapes import planner, shape

PLANNER = planner(chat=shape(n_layer=36), code=shape(n_layer=36))


def planned(correction: Correction | None = None) -> Planned:
    return Planned(PLANNER, n_settings=100, n_feasible=40, correction=correction)


def test_without_a_plan_nothing_is_planned() -> None:
    trial = result().trial(1)
    assert result().plan is None
    assert trial.planned is None
    assert trial.vram is not None
    assert trial.vram.planned_bytes is None


def test_every_trial_has_its_planned_and_its_measured_bytes() -> None:
    found = result(planned=planned())
    for trial, split in ((0, settings(0, 0)), (1, settings(37, 20)), (2, settings(37, 29))):
        plan = PLANNER.plan(split)
        parts = found.trial(trial).planned
        assert parts is not None
        assert parts["chat"][GPU].weights_bytes == plan.models["chat"].devices[GPU].weights_bytes
    measured = found.trial(1).vram
    assert measured is not None
    assert measured.planned_bytes == PLANNER.plan(settings(37, 20)).device_bytes


def test_bytes_outside_all_buffers_are_unaccounted() -> None:
    trial = result().trial(1)
    assert trial.buffers is not None
    assert trial.vram is not None
    held_bytes = sum(
        part.weights_bytes + part.kv_bytes + part.compute_bytes + part.output_bytes
        for model in trial.buffers.values()
        for device, part in model.items()
        if device == GPU
    )
    assert trial.vram.unaccounted_bytes == trial.vram.peak_bytes - held_bytes


def test_a_result_has_the_correction_of_the_plan() -> None:
    learned = result(planned=planned(Correction(10, 20, 3))).plan
    assert learned is not None
    assert (learned.n_settings, learned.n_feasible) == (100, 40)
    assert (learned.overhead_bytes, learned.headroom_bytes, learned.n_trials) == (10, 20, 3)
    unchecked = result(planned=planned()).plan
    assert unchecked is not None
    assert unchecked.n_trials == 0


def test_a_baseline_names_the_trial_that_measured_it() -> None:
    rules = [
        Baseline("measured", settings(99, 20), "a rule"),
        Baseline("too large", settings(99, 99), "another"),
        Baseline("evicts", None, "a third"),
    ]
    found = result(planned=planned(), baselines=rules).baselines
    assert found["measured"].trial == 1
    assert found["measured"].planned_bytes == PLANNER.plan(settings(37, 20)).device_bytes
    assert found["too large"].trial is None
    assert found["too large"].planned_bytes == PLANNER.plan(settings(37, 37)).device_bytes
    assert (found["evicts"].settings, found["evicts"].trial, found["evicts"].planned_bytes) == (None, None, None)


def test_a_result_has_what_an_export_needs_besides_the_settings() -> None:
    limits = HostLimitsInfo(n_cpus=4, ram_per_model_bytes=6_000_000_000)
    found = result(host_limits=limits)
    assert found.host_limits == limits
    assert found.trial(1).flash_attn == {"chat": True, "code": True}
    assert found.trial(2).flash_attn == {}


def test_an_older_result_without_host_limits_is_read() -> None:
    data = result().model_dump()
    del data["host_limits"]
    for trial in data["trials"]:
        del trial["flash_attn"]
    found = Result.model_validate(data)
    assert (found.host_limits, found.trial(1).flash_attn) == (None, {})
