import json
from contextlib import suppress
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from compared import Row, study
from layertune.cli.compare import markdown
from layertune.compare import compare_studies
from layertune.errors import UnlikeStudies
from layertune.results.result import Result

BIG = Row((37, 29), (10, 5), 900)
SMALL = Row((37, 20), (9, 4), 600)


def test_every_study_is_compared_with_the_first() -> None:
    compared = compare_studies([("a", study([BIG])), ("b", study([SMALL])), ("c", study([BIG]))])
    assert [(pair.first, pair.other) for pair in compared.pairs] == [("a", "b"), ("a", "c")]
    assert compared.hypervolumes.keys() == {"a", "b", "c"}


def test_a_summary_has_the_device_the_budget_and_the_picks() -> None:
    one, _ = compare_studies([("a", study([BIG, SMALL], 1, budget_mib=950)), ("b", study([BIG]))]).studies
    assert (one.label, one.device, one.emulated, one.capacity_bytes) == ("a", "emulated card", True, 950 * 2**20)
    assert (one.n_measured, one.n_front) == (2, 2)
    pick = one.picks["balanced"]
    assert (pick.trial, pick.models["code"].settings.n_gpu_layers) == (1, 20)
    assert pick.models["chat"].alone.low is not None
    assert pick.peak_bytes == pick.planned_bytes == 600 * 2**20


def test_a_real_card_is_not_marked_as_emulated() -> None:
    card = study([BIG], device="NVIDIA GeForce RTX 4050 Laptop GPU")
    assert not compare_studies([("a", card), ("b", card)]).studies[0].emulated


def test_a_study_without_finals_is_marked() -> None:
    screened = study([BIG], n_rounds=0)
    compared = compare_studies([("a", study([BIG])), ("b", screened)])
    assert [each.screening_only for each in compared.studies] == [False, True]


def test_a_study_with_validation_runs_is_marked() -> None:
    finals = study([BIG])
    confirmed = finals.model_copy(update={"trials": [finals.trial(0).model_copy(update={"n_confirming": 3})]})
    compared = compare_studies([("a", finals), ("b", confirmed)])
    assert [each.confirmed for each in compared.studies] == [False, True]
    (row,) = [line for line in markdown(compared).splitlines() if "validation runs" in line]
    assert row.startswith("| b |")


def test_a_study_without_a_pick_is_compared() -> None:
    compared = compare_studies([("a", study([BIG])), ("b", study([SMALL], None))])
    (pair,) = compared.pairs
    assert (pair.flips.why, pair.cost) == ("unknown", None)
    assert compared.studies[1].picks == {}


@given(st.data())
def test_any_study_that_loads_is_compared_or_refused(data: st.DataObject) -> None:
    original = study([BIG, SMALL])
    table = json.loads(original.model_dump_json())
    at = table
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3))
    try:
        other = Result.model_validate(table)
    except ValidationError:
        return
    with suppress(UnlikeStudies):
        compared = compare_studies([("a", original), ("b", other)])
        assert json.loads(json.dumps(asdict(compared)))
        assert markdown(compared)
