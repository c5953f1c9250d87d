"""The coverage of intervals is counted so that a wrong model fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from layertune.prediction import Calibration
from layertune.prediction.interval_checks import CheckedSplit, check_larger, check_splits
from layertune.settings import EngineSettings, Placement
from linear_machine import Machine, on_device, study

SPLITS = [(0, 0), (1, 1), (3, 6), (5, 8), (8, 13), (10, 17), (12, 19), (13, 21)]


@dataclass(frozen=True)
class Bent(Machine):
    """A device that is ten times as slow from the moment when it has half of a model: no line says so before."""

    def token_s(self, name: str, engine: EngineSettings) -> float:
        return super().token_s(name, engine) * (1.0 if on_device(name, engine) < 0.5 else 10.0)


def calibrated(machine: Machine, noise: dict[int, float] | None = None) -> Calibration:
    return Calibration(study(machine, SPLITS, share=1.1, noise=noise))


def splits(calibration: Calibration) -> list[CheckedSplit]:
    return check_splits(calibration.study.models, calibration.measured)


def larger(calibration: Calibration) -> list[CheckedSplit]:
    return check_larger(calibration.study.models, calibration.measured)


def inside(checked: Sequence[CheckedSplit]) -> float:
    return sum(each.is_inside for each in checked) / len(checked)


def test_a_model_that_is_right_covers_what_it_did_not_see() -> None:
    calibration = calibrated(Machine())
    assert inside(splits(calibration)) >= 0.9
    assert inside(larger(calibration)) >= 0.9


def test_a_model_that_is_wrong_does_not() -> None:
    checked = larger(calibrated(Bent()))
    assert len(checked) == len(SPLITS)  # half of both models' splits
    assert inside(checked) < 0.5


def test_what_is_counted_does_not_follow_from_the_number_of_splits() -> None:
    quiet, slow_once = (inside(splits(calibrated(Machine(), noise))) for noise in ({}, {len(SPLITS) - 1: 2.0}))
    assert quiet > slow_once


@pytest.mark.parametrize("check", [splits, larger])
def test_nothing_of_a_split_s_interval_knows_how_the_split_came_out(
    check: Callable[[Calibration], list[CheckedSplit]],
) -> None:
    """The last trial is both models' last split: measured twice as slow, it has the same prediction and interval."""
    last = len(SPLITS) - 1
    usual, slow = (check(calibrated(Machine(), noise)) for noise in ({}, {last: 2.0}))
    one, other = (
        [each for each in checked if (each.split.model, each.split.split) == ("chat", Placement(13))]
        for checked in (usual, slow)
    )
    (before,), (after,) = one, other
    assert after.split.of("tokens_per_s")[0].expected == before.split.of("tokens_per_s")[0].expected
    assert (before.is_inside, after.is_inside) == (True, False)
