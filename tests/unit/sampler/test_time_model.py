import numpy as np
import pytest

from layertune.sampler.time_model import Features, Floats, TimeModel

N_LAYERS = np.tile(np.arange(31.0), 2)
FEATURES = Features(N_LAYERS, 1 - N_LAYERS / 30, np.repeat([[5.0], [7.0]], 31, axis=0))
EQUAL = np.ones(62)
GENERATOR = np.random.default_rng(0)


def seconds(features: Features) -> Floats:
    """A token's time: 20 ms on the host, 5 on the device, 1 for the way between; a larger batch saves a tenth."""
    line = 0.020 * features.on_host + 0.005 * (1 - features.on_host) + 0.001 * (features.n_layers > 0)
    return np.asarray(line * np.where(features.others[:, 0] > 6, 0.9, 1.0))


def measured(rows: list[int], noise: float) -> Floats:
    return np.asarray(seconds(FEATURES)[rows] * np.exp(GENERATOR.normal(0, noise, len(rows))))


def test_a_line_is_known_from_its_ends_and_its_step() -> None:
    rows = [0, 3, 30, 31, 61]
    times, _noise = TimeModel(FEATURES, EQUAL).learn(np.array(rows), measured(rows, 0.01))
    assert times.mean_s == pytest.approx(seconds(FEATURES), rel=0.06)


def test_a_kink_is_learned_where_it_was_measured() -> None:
    rows = [0, 8, 9, 10, 11, 12, 20, 30]
    kinked = measured(rows, 0.0)
    kinked[2:5] *= 1.5
    times, _noise = TimeModel(FEATURES, EQUAL).learn(np.array(rows), kinked)
    assert times.mean_s[10] == pytest.approx(kinked[3], rel=0.1)
    assert times.mean_s[25] == pytest.approx(seconds(FEATURES)[25], rel=0.15)


def test_the_time_with_only_the_output_matrix_on_the_device_is_learned_separately() -> None:
    rows = [0, 2, 4, 8, 16, 30]
    model = TimeModel(FEATURES, EQUAL)
    times, _noise = model.learn(np.array(rows), measured(rows, 0.005))
    assert times.std_s[1] > 2 * times.std_s[3]
    alone = np.append(measured(rows, 0.005), 0.7 * seconds(FEATURES)[1])
    times, _noise = model.learn(np.array([*rows, 1]), alone)
    assert times.mean_s[1] == pytest.approx(alone[-1], rel=0.05)
    assert times.mean_s[3] == pytest.approx(seconds(FEATURES)[3], rel=0.05)


def test_engines_far_from_all_measurements_are_less_certain() -> None:
    rows = [0, 1, 2]
    times, _noise = TimeModel(FEATURES, EQUAL).learn(np.array(rows), measured(rows, 0.01))
    assert times.std_s[1] < times.std_s[5] < times.std_s[30]


def test_noisy_measurements_are_averaged() -> None:
    rows = [0, 0, 10, 10, 20, 20, 30, 30]
    noisy = seconds(FEATURES)[rows] * np.exp(np.array([1, -1] * 4) * 0.08)
    times, noise = TimeModel(FEATURES, EQUAL).learn(np.array(rows), noisy)
    assert noise >= 0.04
    assert times.mean_s[:31] == pytest.approx(seconds(FEATURES)[:31], rel=0.06)


def test_a_single_measurement_gives_finite_times() -> None:
    times, _noise = TimeModel(FEATURES, EQUAL).learn(np.array([5]), np.array([0.01]))
    assert np.isfinite(times.mean_s).all()
    assert (times.mean_s > 0).all()
    assert np.isfinite(times.std_s).all()


def test_prior_times_give_the_shape_and_not_the_scale() -> None:
    prior_s = seconds(FEATURES) * 7 * (1 + 0.5 * np.sin(N_LAYERS))
    here = prior_s / 20
    rows = [0, 15, 30]
    times, _noise = TimeModel(FEATURES, prior_s, measured=True).learn(np.array(rows), here[rows])
    assert times.mean_s == pytest.approx(here, rel=0.05)


def test_the_joint_posterior_agrees_with_that_of_each_engine() -> None:
    rows, wanted = np.array([0, 3, 30, 31, 61]), np.array([5, 6, 29])
    times, _noise = TimeModel(FEATURES, EQUAL).learn(rows, measured(list(rows), 0.0))
    mean_s, covariance = TimeModel(FEATURES, EQUAL).joint(rows, measured(list(rows), 0.0), wanted)
    assert mean_s == pytest.approx(times.mean_s[wanted])
    assert np.sqrt(np.diag(covariance)) == pytest.approx(times.std_s[wanted], rel=1e-6)


def test_the_difference_of_neighbours_is_more_certain_than_each_time() -> None:
    rows = np.array([0, 30])
    _mean_s, covariance = TimeModel(FEATURES, EQUAL).joint(rows, measured(list(rows), 0.0), np.array([14, 15]))
    difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert difference < covariance[0, 0] / 4
