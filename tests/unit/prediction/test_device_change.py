"""A machine whose times are exactly the model's is predicted exactly, whatever its device becomes."""

import numpy as np
import pytest

from layertune.prediction import Calibration, DeviceChange, MeasuredStudy, between_cards, between_threads
from layertune.prediction.device_change import Factor, offload_of, scaled
from linear_machine import Machine, study

SPLITS = [(0, 0), (1, 1), (4, 7), (9, 14), (13, 21)]
MACHINE = Machine(host_s=0.10, device_s=0.02, fixed_s=0.0)


def change(prompt: float, token: float) -> DeviceChange:
    return DeviceChange(Factor(prompt, prompt), Factor(token, token))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration(study(MACHINE, SPLITS, share=1.0))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_only_the_device_s_part_takes_another_time(calibration: Calibration, factor: float) -> None:
    other = Machine(host_s=MACHINE.host_s, device_s=MACHINE.device_s * factor, fixed_s=0.0)
    for name, model in calibration.study.models.items():
        curve = scaled(calibration.speeds[name], calibration.offload(name), change(factor, factor))
        for engine, row in model.rows.items():
            assert curve.expected.token.mean_s[row] == pytest.approx(other.token_s(name, engine), rel=0.06)
            assert curve.expected.prompt.mean_s[row] == pytest.approx(10 * other.token_s(name, engine), rel=0.06)


def test_prompt_and_token_change_apart(calibration: Calibration) -> None:
    speeds, offload = calibration.speeds["chat"], calibration.offload("chat")
    curve = scaled(speeds, offload, change(1.0, 2.0))
    assert np.array_equal(curve.expected.prompt.mean_s, speeds.prompt.mean_s)
    assert (curve.expected.token.mean_s[offload.share > 0] > speeds.token.mean_s[offload.share > 0]).all()


def test_a_model_without_layers_on_the_device_stays_as_fast(calibration: Calibration) -> None:
    speeds, offload = calibration.speeds["code"], calibration.offload("code")
    curve = scaled(speeds, offload, change(3.0, 3.0))
    on_host = offload.share == 0
    assert on_host.any()
    assert np.array_equal(curve.slowest.token.mean_s[on_host], speeds.token.mean_s[on_host])


def test_a_range_of_factors_has_its_ends_on_either_side(calibration: Calibration) -> None:
    wide = DeviceChange(Factor(0.5, 1.0), Factor(0.5, 0.8))
    curve = scaled(calibration.speeds["chat"], calibration.offload("chat"), wide)
    assert (curve.fastest.token.mean_s <= curve.expected.token.mean_s).all()
    assert (curve.expected.token.mean_s <= curve.slowest.token.mean_s).all()


def test_a_space_without_the_whole_model_has_no_offload() -> None:
    whole = study(MACHINE, SPLITS, share=1.0)
    longer = MeasuredStudy(
        models=whole.models,
        n_layers={name: n_layer + 1 for name, n_layer in whole.n_layers.items()},
        planner=whole.planner,
        objectives=whole.objectives,
        trials=whole.trials,
        session=0.0,
    )
    assert offload_of(longer.models["chat"], longer.planner.models["chat"], longer.n_layers["chat"]) is None


def test_a_token_changes_at_least_by_the_share_that_reads_weights() -> None:
    change = between_cards(ratio=0.5, token_share=0.6)
    assert change.token == Factor(0.5, 0.7)
    assert change.token.expected == pytest.approx(0.6)


def test_a_bandwidth_gives_only_two_bounds_of_a_prompt_s_time() -> None:
    assert between_cards(ratio=0.5, token_share=0.6).prompt == Factor(0.5, 1.0)
    assert between_cards(ratio=2.0, token_share=0.6).prompt == Factor(1.0, 2.0)


def test_a_share_above_one_counts_as_one() -> None:
    assert between_cards(ratio=2.0, token_share=1.3).token == Factor(2.0, 2.0)


@pytest.mark.parametrize(("thread_ratio", "factor"), [(2.0, Factor(1.0, 2.0)), (0.25, Factor(0.25, 1.0))])
def test_threads_share_all_of_the_work_or_none(thread_ratio: float, factor: Factor) -> None:
    change = between_threads(thread_ratio)
    assert (change.token, change.prompt) == (factor, factor)
