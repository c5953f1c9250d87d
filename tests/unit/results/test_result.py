import json
from pathlib import Path

import pytest

from finished_study import result
from layertune.errors import ResultFileError, UsageError
from layertune.results.result import load_result, write_result


def test_a_result_survives_being_written_and_read(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "result.json")
    assert load_result(tmp_path / "result.json") == load_result(tmp_path) == result()
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_result_has_the_fields_of_the_design(tmp_path: Path) -> None:
    data = json.loads(result().model_dump_json())
    assert data["schema_version"] == 1
    assert data["study"].keys() == {"name", "created", "sampler", "seed", "layertune_version", "llama_cpp"}
    assert data["hardware"].keys() == {"fingerprint", "device", "cpu", "ram_bytes"}
    assert data["trials"][1]["metrics"]["chat"]["tokens_per_s"].keys() == {"median", "mad", "n", "samples"}
    assert data["trials"][1]["vram"].keys() >= {"peak_bytes", "baseline_bytes", "planned_bytes", "scope", "source"}
    assert data["trials"][2]["state"] == "infeasible"
    assert data["trials"][2]["reason"] == "load code: no room"
    assert data["trials"][3]["reason"] == "crashed: signal SIGSEGV"
    assert data["pareto"] == [0, 1]
    assert data["picks"].keys() == {"balanced", "chat", "code", "lean"}


def test_fields_that_a_later_version_added_do_not_hinder(tmp_path: Path) -> None:
    data = json.loads(result().model_dump_json()) | {"added_later": 1}
    (tmp_path / "result.json").write_text(json.dumps(data))
    assert load_result(tmp_path) == result()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[]", "is not a layertune result"),
        ('{"schema_version": 2}', "made by a newer layertune"),
        ('{"schema_version": 1}', "is not a layertune result: study"),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(ResultFileError, match=words) as caught:
        load_result(tmp_path)
    assert "\n" not in str(caught.value)


def test_picks_are_found_by_name_and_by_number() -> None:
    study = result()
    assert study.picked("chat").number == study.picks["chat"]
    assert study.picked("0").number == 0


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ("best", "'best' is not a pick of this study; choose a trial's number or one of balanced"),
        ("99", "no trial 99"),
        ("2", "trial 2 was not measured: load code: no room"),
    ],
)
def test_a_pick_that_is_not_there_names_those_that_are(pick: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        result().picked(pick)
