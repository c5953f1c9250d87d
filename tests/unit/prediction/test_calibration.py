from dataclasses import replace
from math import hypot, log

import numpy as np
import pytest

from layertune.config import Floor
from layertune.errors import NothingFits
from layertune.prediction import Calibration, DeviceChange
from layertune.prediction.device_change import Factor
from layertune.prediction.held_back import NORMAL
from layertune.results.pareto import pareto_front
from layertune.settings import SplitSettings
from linear_machine import Machine, feasible, split, study

SPLITS = [(0, 0), (1, 1), (4, 7), (9, 14), (13, 3), (2, 21), (13, 21)]


def capacity_bytes(share: float) -> int:
    return feasible(share).capacity_bytes


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration(study(Machine(), SPLITS, share=0.6))


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_the_front_fits_the_card_and_nothing_on_it_beats_another(calibration: Calibration, share: float) -> None:
    expected = calibration.expect(capacity_bytes(share), {})
    assert all(each.planned_bytes <= capacity_bytes(share) for each in expected.front)
    points = [
        (*(-engine.tokens_per_s.expected for engine in each.models.values()), each.planned_bytes)
        for each in expected.front
    ]
    assert pareto_front(np.array(points), ["minimize"] * 3).all()


def test_a_larger_card_s_picks_are_no_slower(calibration: Calibration) -> None:
    small, large = (calibration.expect(capacity_bytes(share), {}) for share in (0.3, 1.0))
    for name in ("chat", "code"):
        speeds = [each.front[each.picks[name]].models[name].tokens_per_s.expected for each in (small, large)]
        assert speeds[0] < speeds[1]


def test_a_card_of_everything_has_everything_on_the_device(calibration: Calibration) -> None:
    expected = calibration.expect(capacity_bytes(1.1), {})
    models = expected.front[expected.picks["balanced"]].models
    assert {name: each.settings.n_gpu_layers for name, each in models.items()} == {"chat": 13, "code": 21}


def test_intervals_hold_what_the_machine_really_does(calibration: Calibration) -> None:
    machine = Machine()
    found = calibration.engines({})
    inside = [
        each.tokens_per_s.low <= machine.samples(name, engine).tokens_per_s[0] <= each.tokens_per_s.high
        for name, engines in found.items()
        for engine, each in engines.items()
    ]
    assert sum(inside) / len(inside) > 0.9


def test_what_is_not_known_of_the_device_widens_the_interval(calibration: Calibration) -> None:
    change = DeviceChange(Factor(1.0, 2.0), Factor(1.5, 2.0))
    engine = split(13, 21)["chat"]
    before = calibration.engines({})["chat"][engine].tokens_per_s
    after = calibration.engines({"chat": change})["chat"][engine].tokens_per_s
    assert after.expected < before.expected
    assert after.high / after.low > 1.2 * before.high / before.low


def test_more_layers_than_were_measured_are_marked() -> None:
    calibration = Calibration(study(Machine(), [(0, 0), (1, 1), (4, 7), (9, 14)], share=0.6))
    engines = calibration.engines({})["chat"]
    assert {each.settings.n_gpu_layers for each in engines.values() if each.beyond} == {10, 11, 12, 13}


def test_far_from_what_was_measured_the_interval_is_wider() -> None:
    calibration = Calibration(study(Machine(), [(0, 0), (1, 1), (2, 3), (4, 7)], share=1.1))
    engines = calibration.engines({})["chat"].values()
    width = {each.settings.n_gpu_layers: each.tokens_per_s.high / each.tokens_per_s.low for each in engines}
    widths = [width[layers] for layers in range(4, 14)]
    assert widths == sorted(widths)
    assert widths[-1] > 1.5 * widths[0]


def test_another_session_widens_every_interval() -> None:
    now, later = (Calibration(study(Machine(), SPLITS, session=session)) for session in (0.0, 0.05))
    there = later.engines({})["chat"]
    for engine, each in now.engines({})["chat"].items():
        half, wider = (log(one.tokens_per_s.high / one.tokens_per_s.low) / 2 for one in (each, there[engine]))
        assert wider == pytest.approx(hypot(half, NORMAL * 0.05))


def test_a_pick_s_layers_are_whole_numbers_that_the_models_have(calibration: Calibration) -> None:
    layers = calibration.error(capacity_bytes(0.6), {}).layers
    assert layers.keys() == {"balanced", "even", "chat", "code", "lean"}
    picks = calibration.expect(capacity_bytes(0.6), {})
    for pick, each in layers.items():
        chosen = picks.front[picks.picks[pick]].models
        for name, (least, most) in each.items():
            assert 0 <= least <= chosen[name].settings.n_gpu_layers <= most <= {"chat": 13, "code": 21}[name]


def test_a_floor_that_no_setting_is_predicted_to_reach_is_an_error() -> None:
    floors = [Floor.parse("chat.tokens_per_s >= 1000", ["chat", "code"])]
    calibration = Calibration(replace(study(Machine(), SPLITS), floors=floors))
    with pytest.raises(NothingFits, match=r"no setting that fits is predicted to reach chat\.tokens_per_s >= 1000"):
        calibration.expect(capacity_bytes(0.5), {})


def test_where_one_split_alone_reaches_a_floor_the_pick_has_no_range() -> None:
    fast = {number: 0.5 for number, (chat, _) in enumerate(SPLITS) if chat == 13}
    whole = study(Machine(), SPLITS, share=1.1, noise=fast)
    floors = [Floor.parse("chat.tokens_per_s >= 38", ["chat", "code"])]
    calibration = Calibration(replace(whole, floors=floors))
    assert calibration.expect(capacity_bytes(1.1), {}).picks.keys() == {"balanced", "even", "chat", "code", "lean"}
    assert calibration.error(capacity_bytes(1.1), {}).layers == {}


def test_a_floor_keeps_what_is_below_it_off_the_front() -> None:
    floors = [Floor.parse("chat.tokens_per_s >= 10", ["chat", "code"])]
    calibration = Calibration(replace(study(Machine(), SPLITS), floors=floors))
    front = calibration.expect(capacity_bytes(0.6), {}).front
    assert front
    assert min(each.models["chat"].tokens_per_s.expected for each in front) >= 10


def test_front_and_engines_tell_the_same(calibration: Calibration) -> None:
    told = calibration.engines({})
    for each in calibration.expect(capacity_bytes(0.6), {}).front:
        settings = SplitSettings.of({name: engine.settings for name, engine in each.models.items()})
        assert each.models == {name: told[name][engine] for name, engine in settings.items()}
