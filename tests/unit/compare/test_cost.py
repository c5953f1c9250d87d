import pytest
from hypothesis import given
from hypothesis import strategies as st

from compared import Row, study
from layertune.compare.cost import cost, model_cost
from layertune.compare.front_comparison import hypervolumes
from layertune.compare.study_summary import Speed
from layertune.results.result import Result

LARGE = study([Row((37, 29), (10, 5), 900)])
SMALL = study([Row((37, 20), (9, 4), 600)], budget_mib=700)

speeds = st.builds(
    lambda middle, below, above: Speed(middle, middle * (1 - below), middle * (1 + above)),
    st.floats(0.1, 1000),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
)


@pytest.mark.parametrize("order", [("large", "small"), ("small", "large")], ids=" first".join)
def test_the_smaller_budget_s_cost_is_the_same_in_either_order(order: tuple[str, str]) -> None:
    named = {"large": LARGE, "small": SMALL}
    found = cost(order[0], named[order[0]], order[1], named[order[1]])
    assert found is not None
    assert (found.smaller, found.larger, found.equal_budgets) == ("small", "large", False)
    assert found.models["chat"].percent == pytest.approx(-10)
    assert found.models["code"].percent == pytest.approx(-20)
    assert found.models["code"].clear


def confirmed(study: Result, machine_speed: float) -> Result:
    """Return the study with rounds after its finals, on a machine that is faster or slower by then."""
    trials = []
    for trial in study.trials:
        later = {
            name: {
                key: metric.model_copy(
                    update={end: machine_speed * getattr(metric, end) for end in ("median", "low", "high")}
                )
                for key, metric in metrics.items()
            }
            for name, metrics in (trial.metrics or {}).items()
        }
        trials.append(trial.model_copy(update={"n_confirming": 3, "finals": trial.metrics, "metrics": later}))
    return study.model_copy(update={"trials": trials})


def test_speeds_are_of_the_last_stage_that_measured_both() -> None:
    """The larger card's machine is 10 % slower after its finals, and the other study has no rounds after them."""
    found = cost("large", confirmed(LARGE, 0.9), "small", SMALL)
    assert found is not None
    assert found.measured_in == "finals"
    assert found.models["chat"].percent == pytest.approx(-10)
    both = cost("large", confirmed(LARGE, 0.9), "small", confirmed(SMALL, 1.0))
    assert both is not None
    assert (both.measured_in, both.models["chat"].percent) == ("confirming", pytest.approx(0, abs=1e-9))


def test_without_a_stage_in_common_there_is_no_cost() -> None:
    once, older = study([Row((37, 20), (9, 4), 600)], n_rounds=0), LARGE.trial(0).model_copy(update={"screening": None})
    assert cost("a", LARGE.model_copy(update={"trials": [older]}), "b", once) is None


def test_hypervolumes_are_of_the_last_stage_that_measured_all_fronts() -> None:
    _, (large, small) = hypervolumes([LARGE, SMALL])
    assert hypervolumes([confirmed(LARGE, 0.9), SMALL])[1] == [large, small]
    assert hypervolumes([confirmed(LARGE, 0.9), confirmed(SMALL, 1.0)])[1] != [large, small]


def test_equal_budgets_are_marked() -> None:
    found = cost("a", LARGE, "b", LARGE)
    assert found is not None
    assert (found.equal_budgets, found.models["chat"].percent, found.models["chat"].clear) == (True, 0, False)


def test_without_a_pick_there_is_no_cost() -> None:
    assert cost("a", LARGE, "b", study([Row((1, 1), (1, 1), 1)], None)) is None


@pytest.mark.parametrize("over", [Speed(10, None, None), Speed(10, -5, 25)], ids=["one sample", "reaches 0"])
def test_a_speed_without_a_usable_interval_gives_a_cost_without_one(over: Speed) -> None:
    found = model_cost(Speed(9, 8.9, 9.1), over)
    assert (found.low, found.high, found.clear) == (None, None, False)
    assert found.percent == pytest.approx(-10)


def test_a_speed_known_exactly_leaves_the_other_s_interval() -> None:
    found = model_cost(Speed(9, 8.1, 9.9), Speed(10, 10, 10))
    assert (found.low, found.high) == (pytest.approx(-19), pytest.approx(-1))


@given(speeds, speeds)
def test_the_interval_contains_the_ratio_and_lies_within_the_worst_case(under: Speed, over: Speed) -> None:
    found = model_cost(under, over)
    assert found.low is not None
    assert found.high is not None
    low, middle, high = (1 + each / 100 for each in (found.low, found.percent, found.high))
    nearly = 1 + 1e-9
    assert (under.low or 0) / (over.high or 1) <= low * nearly + 1e-12
    assert low <= middle * nearly + 1e-12
    assert middle <= high * nearly + 1e-12
    assert high <= (under.high or 0) / (over.low or 1) * nearly + 1e-12


@given(speeds, speeds)
def test_a_difference_is_clear_in_both_directions_or_in_none(under: Speed, over: Speed) -> None:
    forth, back = model_cost(under, over), model_cost(over, under)
    if min(abs(end) for end in (forth.low, forth.high, back.low, back.high) if end is not None) > 1e-6:
        assert forth.clear == back.clear
