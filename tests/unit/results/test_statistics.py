from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.results.statistics import Metric
from layertune.trial.interval import median_interval

speeds = st.lists(st.floats(1, 1000), min_size=1, max_size=6)
rounds = st.lists(speeds, min_size=1, max_size=6)


def test_a_metric_has_its_samples_their_median_and_their_spread() -> None:
    metric = Metric.of([3.0, 1.0, 2.0, 10.0])
    assert (metric.median, metric.mad, metric.n, metric.samples) == (2.5, 1.0, 4, (3.0, 1.0, 2.0, 10.0))


@given(speeds)
def test_a_metric_has_the_interval_of_its_samples(samples: list[float]) -> None:
    interval, metric = median_interval(samples), Metric.of(samples)
    expected = (None, None) if interval is None else (interval.low, interval.high)
    assert (metric.low, metric.high) == expected


@given(speeds)
def test_a_round_of_one_sample_each_is_the_same_as_the_samples(samples: list[float]) -> None:
    assert Metric.of_rounds([[sample] for sample in samples]) == Metric.of(samples)


@given(rounds)
def test_the_median_of_rounds_is_that_of_their_medians(found: list[list[float]]) -> None:
    metric, medians = Metric.of_rounds(found), Metric.of([median(each) for each in found])
    assert (metric.median, metric.low, metric.high) == (medians.median, medians.low, medians.high)


@given(rounds)
def test_every_sample_of_every_round_is_kept_in_its_order(found: list[list[float]]) -> None:
    metric = Metric.of_rounds(found)
    assert metric.samples == tuple(sample for each in found for sample in each)
    assert metric.n == len(metric.samples)


def test_the_interval_is_that_of_the_rounds_and_not_of_samples_within_one() -> None:
    steady_within = Metric.of_rounds([[20.0, 20.0, 20.0], [22.0, 22.0, 22.0], [24.0, 24.0, 24.0]])
    steady_between = Metric.of_rounds([[10.0, 20.0, 30.0]] * 3)
    assert steady_within.low is not None
    assert steady_within.low < 20
    assert (steady_between.low, steady_between.high) == (20.0, 20.0)
    assert steady_between.mad == 10


def test_one_round_has_a_median_and_no_interval() -> None:
    metric = Metric.of_rounds([[20.0, 21.0, 22.0]])
    assert (metric.median, metric.low, metric.high) == (21.0, None, None)


@pytest.mark.parametrize("found", [[], [[]], [[20.0], []]])
def test_there_is_no_metric_without_a_sample(found: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Metric.of_rounds(found)
    with pytest.raises(ValueError, match="at least one sample"):
        Metric.of([])
