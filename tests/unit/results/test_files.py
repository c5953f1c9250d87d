"""A study that searched several files of a model: its result, its front, its exports and its explanation."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from finalists import trial
from finished_study import result, screened, settings
from layertune.cli.front import print_front
from layertune.compare import compare_studies
from layertune.compare.text_tables import text_tables
from layertune.errors import ResultFileError
from layertune.explain import explain
from layertune.explain.words import file_words
from layertune.export import EXPORTERS, export_files
from layertune.report import render_report
from layertune.report.front_table import front_json
from layertune.results.price import pick_price_words
from layertune.results.qualities import shown_quality
from layertune.results.remarks import study_remarks
from layertune.results.result import ObjectiveInfo, Result, read_result, write_result
from two_files import LARGE, SMALL, priced, two_files, with_file


def searched() -> Result:
    """Trial 0 with the small file, trial 1 with the large one; the large one is the first of the config."""
    first, second = screened()[:2]
    return two_files([with_file(first, "small.gguf"), with_file(second, "large.gguf")])


def test_it_survives_being_written_and_read_with_the_digest_of_every_file(tmp_path: Path) -> None:
    write_result(searched(), tmp_path / "result.json")
    again = read_result(tmp_path)
    assert again == searched()
    assert {key: model.sha256 for key, model in again.variants().items() if key != "code"} == {
        "chat/large.gguf": "large.gguf",
        "chat/small.gguf": "small.gguf",
    }


def test_a_study_of_one_file_for_each_model_is_written_as_before(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "result.json")
    assert "files" not in json.loads((tmp_path / "result.json").read_text())


def test_a_trial_of_a_file_that_the_study_does_not_have_is_refused(tmp_path: Path) -> None:
    data = json.loads(searched().model_dump_json())
    data["trials"][0]["settings"]["chat"]["file"] = "../other.gguf"
    (tmp_path / "result.json").write_text(json.dumps(data))
    with pytest.raises(ResultFileError, match="chat has no file"):
        read_result(tmp_path)


@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_names_the_file_that_the_trial_loads(format: str) -> None:
    for number, file, other in ((0, "small.gguf", "large.gguf"), (1, "large.gguf", "small.gguf")):
        text = "".join(export_files(searched(), format, str(number)).values())
        assert file in text
        assert other not in text


def test_the_front_shows_the_file_and_counts_its_layers(capsys: pytest.CaptureFixture[str]) -> None:
    print_front(searched())
    shown = capsys.readouterr().out
    assert "small" in shown
    assert "0/25" in shown


def test_an_explanation_is_within_the_file_of_the_pick() -> None:
    study = searched()
    explained = explain(study, study.trial(0), {})
    assert explained.lines
    assert study.with_files_of(study.trial(0)).models["chat"] == SMALL
    assert [trial.number for trial in study.with_files_of(study.trial(0)).trials] == [0]
    assert settings(0, 0)["chat"].file == ""


def test_a_pick_says_what_its_file_gives_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    study = priced()
    words = (
        "chat: 1.40 times (1.39 to 1.41) as fast as with large.gguf (trial 0), for a KL divergence of 0.05 "
        "(top-1 agreement 93.0%)"
    )
    (sentence,) = pick_price_words(study)
    assert sentence.startswith(f"Pick balanced, chat (trial 1): {words}; code: not clearly faster or slower (")
    assert f"# {words}\n" in export_files(study, "env", "1")[".env"]
    assert "large.gguf (trial 0)" not in export_files(study, "env", "0")[".env"]
    assert words in render_report(study)
    print_front(study)
    shown = capsys.readouterr().out
    assert "KL div." in shown
    assert sentence in " ".join(shown.split())


def test_a_pick_whose_quality_is_unknown_says_so() -> None:
    once = {"kl_divergence": None, "top1_agreement": None, "unknown": "random weights"}
    (sentence,) = pick_price_words(priced(trial(1, {"chat": [60.0], "code": [27.0]}), **once))
    assert "chat: 1.00 times as fast (measured once) as with large.gguf (trial 0), quality unknown" in sentence


def study_of(large: dict[str, object], small: dict[str, object]) -> Result:
    """A study in which the quality of the two files is what these say."""
    found = priced(**small)
    first, second = found.quality["chat"]
    first = first.model_copy(update={"kl_divergence": None, "top1_agreement": None} | large)
    return found.model_copy(update={"quality": {"chat": [first, second]}})


@pytest.mark.parametrize(
    ("large", "small", "heading", "value"),
    [
        ({"kl_divergence": 0.0}, {}, "KL div.", "0.05"),
        ({"kl_divergence": 0.0, "score": 0.7}, {"score": 0.64}, "KL div.", "0.05"),
        (
            {"kl_divergence": 0.0, "bits_per_byte": 0.9},
            {"kl_divergence": None, "bits_per_byte": 1.0234, "not_comparable": "its n_layer differs"},
            "bits/byte",
            "1.023",
        ),
        ({"score": 0.7}, {"kl_divergence": None, "score": 0.6432}, "score", "0.6432"),
    ],
)
def test_the_front_the_report_and_the_json_show_the_quality_that_is_known(
    large: dict[str, object], small: dict[str, object], heading: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(large, small)
    print_front(study)
    table = capsys.readouterr().out.partition("\nPick ")[0]
    assert [each for each in ("KL div.", "bits/byte", "score") if each in table] == [heading]
    assert f" {value} " in table
    shown = shown_quality(study, "chat")
    assert shown is not None
    page = render_report(study)
    assert f">chat {shown.name}<" in page
    assert f"{value}<" in page
    assert front_json(study)["quality"]["chat"][1] == study.quality["chat"][1].model_dump(mode="json")


def test_no_column_shows_a_quality_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of({"unknown": "random weights"}, {"kl_divergence": None, "unknown": "random weights"})
    print_front(study)
    assert "KL div." not in capsys.readouterr().out
    assert "Quality of chat is unknown: random weights." in study_remarks(study)
    assert "no picture" in render_report(study)


def test_the_quality_that_is_an_objective_is_shown() -> None:
    study = priced(bits_per_byte=1.1, score=0.7)
    for quantity in ("bits_per_byte", "quality", "kl_divergence"):
        objectives = [ObjectiveInfo(name=f"chat.{quantity}", direction="minimize")]
        shown = shown_quality(study.model_copy(update={"objectives": objectives}), "chat")
        assert shown is not None
        assert shown.quantity == quantity


def test_a_comparison_shows_the_file_of_each_pick_and_its_quality() -> None:
    two, one = priced(), result(trials=screened()[:1])
    one = one.model_copy(update={"models": {**one.models, "chat": LARGE}})
    compared = compare_studies([("two", two), ("one", one)])
    (_, balanced, *_) = text_tables(compared)
    of_two, of_one = (row[2] for row in balanced.rows)
    assert of_two.endswith("file small.gguf KL divergence 0.05")
    assert of_one.endswith("file large.gguf")
    (pair,) = compared.pairs
    assert [(flip.knob, flip.first, flip.other) for flip in pair.flips.knobs if flip.knob == "file"] == [
        ("file", "small.gguf", "large.gguf")
    ]
    pick = asdict(compared)["studies"][0]["picks"]["balanced"]["models"]["chat"]
    assert pick["quality"] == {"quantity": "kl_divergence", "value": 0.05}
    assert pick["file"] == "small.gguf"


def test_an_explanation_says_what_a_file_smaller_or_larger_gives_and_costs() -> None:
    study = priced()
    (larger,) = explain(study, study.trial(1), {}).files
    (smaller,) = explain(study, study.trial(0), {}).files
    assert (larger.trial, larger.to.name, smaller.trial, smaller.to.name) == (0, "large.gguf", 1, "small.gguf")
    assert file_words(smaller).startswith(
        "A file smaller: chat with small.gguf (1 B; quality: 0.05 (top-1 agreement 93.0%)) instead of large.gguf (2 B; "
        "quality: the reference). The best trial with it is 1: chat +40.2% tokens/s (+"
    )
    assert ", no clear difference)" in file_words(smaller)
    assert file_words(larger).startswith("A file larger: chat with large.gguf")
    alone = study.model_copy(update={"trials": [study.trial(1)], "picks": {}, "pareto": [], "prices": []})
    (unmeasured,) = explain(alone, study.trial(1), {}).files
    assert file_words(unmeasured).endswith("No trial within the limits has it.")
    assert "A file larger: chat with large.gguf" in render_report(study)
    json.dumps(asdict(explain(study, study.trial(0), {})))
