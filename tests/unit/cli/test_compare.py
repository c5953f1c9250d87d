"""`layertune compare` on the recorded study and on a smaller card made of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compared import Row, study
from layertune.cli.compare import labels, markdown, print_comparison
from layertune.compare import StudyComparison, compare_studies
from layertune.results.result import read_result
from layertune.search.search import Search
from layertune.search.storage import open_url
from layertune.units import GIB
from small_study import task

RECORDED = Path(__file__).parents[3] / "studies" / "rtx4050-3b-7b-emulated"

BIG = Row((37, 29), (10, 5), 900)
SMALL = Row((37, 20), (9, 4), 600)


def layertune(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from layertune.cli.main import run; run()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write the recorded study with a change of its result.json."""
    data = json.loads((RECORDED / "result.json").read_text(encoding="utf-8"))
    change(data)
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def four_gib(data: dict[str, Any]) -> None:
    """Leave what keeps a budget of 4 GiB; the pick is the trial that is left with most layers."""
    data["budget"]["vram_bytes"] = data["hardware"]["device"]["vram_bytes"] = 4 * GIB
    kept = [
        trial["number"] for trial in data["trials"] if (trial["vram"] or {"peak_bytes": 0})["peak_bytes"] <= 4 * GIB
    ]
    data["trials"] = [trial for trial in data["trials"] if trial["number"] in kept]
    data["baselines"] = {name: each for name, each in data["baselines"].items() if each["trial"] in [None, *kept]}
    data["pareto"] = kept
    data["picks"] = dict.fromkeys(data["picks"], kept[-1])


def other_workload(data: dict[str, Any]) -> None:
    data["workload"]["code"]["n_prompt"] = 512


def other_model(data: dict[str, Any]) -> None:
    data["models"]["code"]["sha256"] = "0" * 64


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    return changed(tmp_path / "emulated-4gib", four_gib)


def test_a_smaller_card_s_study_is_held_against_the_recorded_one(smaller: Path) -> None:
    answer = layertune("compare", RECORDED, smaller)
    assert (answer.returncode, answer.stderr) == (0, "")
    text = " ".join(answer.stdout.split())
    assert "rtx4050-3b-7b-emulated → emulated-4gib" in text
    assert "Hardware differs: device memory 6141.0 MiB → 4096.0 MiB." in text
    assert "the other budget is 4096.0 MiB" in text
    assert (
        "emulated-4gib compared with rtx4050-3b-7b-emulated, under the smaller budget, by the search's speeds: chat"
        in text
    )
    assert "EMULATED: bytes are exact" in text


def test_the_json_has_what_the_tables_have(smaller: Path) -> None:
    answer = layertune("compare", RECORDED / "result.json", smaller / "result.json", "--json")
    assert answer.returncode == 0
    told = json.loads(answer.stdout)
    assert [each["label"] for each in told["studies"]] == ["rtx4050-3b-7b-emulated", "emulated-4gib"]
    (pair,) = told["pairs"]
    assert pair["flips"]["why"] == "memory"
    assert {"model", "knob", "first", "other"} == pair["flips"]["knobs"][0].keys()
    assert pair["cost"]["models"]["code"].keys() == {"percent", "low", "high", "clear"}
    assert told["hypervolumes"].keys() == {"rtx4050-3b-7b-emulated", "emulated-4gib"}


def test_markdown_is_tables_and_sentences(smaller: Path) -> None:
    answer = layertune("compare", RECORDED, smaller, "--markdown")
    assert answer.returncode == 0
    assert answer.stdout.startswith("### Studies\n\n| study | device |")
    assert "### rtx4050-3b-7b-emulated → emulated-4gib\n" in answer.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [(other_workload, "code's workload is 64 prompt"), (other_model, "code is another file")],
    ids=["workload", "model"],
)
def test_unlike_studies_are_refused_in_one_sentence(
    change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    answer = layertune("compare", RECORDED, changed(tmp_path / "other", change))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("layertune: rtx4050-3b-7b-emulated and other cannot be compared: ")
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", RECORDED], "one study has nothing to be compared with"),
        (["compare", RECORDED, RECORDED, "--json", "--markdown"], "choose one"),
        (["compare", RECORDED, "nowhere"], "cannot read nowhere"),
    ],
    ids=["one", "two outputs", "missing"],
)
def test_what_cannot_be_compared_is_one_sentence_and_status_2(arguments: list[str | Path], words: str) -> None:
    answer = layertune(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert words in answer.stderr


def test_studies_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "demo", tmp_path / "b" / "demo" / "result.json", tmp_path / "mine.json"]
    paths[0].mkdir(parents=True)
    assert labels(paths) == ["demo (1)", "demo (2)", "mine"]


def compared() -> StudyComparison:
    return compare_studies(
        [
            ("6 GiB", study([BIG])),
            ("4 [old] | GiB", study([SMALL], budget_mib=700, n_rounds=0)),
            ("nothing", study([SMALL], None)),
        ]
    )


def test_names_from_elsewhere_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(compared())
    assert "4 [old] | GiB" in capsys.readouterr().out
    assert "| 4 [old] \\| GiB | emulated card (EMULATED) |" in markdown(compared())


def test_a_study_without_finals_is_marked_in_its_row_and_below_the_tables() -> None:
    lines = markdown(compared()).splitlines()
    (row,) = [line for line in lines if line.startswith("| 4 [old]") and "emulated card" in line]
    assert "SCREENING ONLY" in row
    assert any(line.startswith("SCREENING ONLY: without finals") for line in lines)


def test_a_cost_is_in_percent_with_its_interval() -> None:
    text = markdown(compared())
    whose = "4 [old] \\| GiB compared with 6 GiB, under the smaller budget, by the search's speeds"
    assert f"{whose}: chat -10.0 % (-11.3 to -8.7 %), code -20.0 %" in text


def test_a_study_of_a_shared_storage_is_compared_by_its_name(tmp_path: Path, smaller: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    search = Search(task(name="mine"), open_url(url), tmp_path)
    early = layertune("compare", RECORDED, "mine", "--storage", url)
    assert (early.returncode, early.stdout) == (2, "")
    assert early.stderr == "layertune: no search of mine in the storage has written its result; let one end first\n"
    search.publish(read_result(smaller))
    stored = layertune("compare", RECORDED, "mine", "--storage", url, "--json")
    here = layertune("compare", RECORDED, smaller, "--json")
    assert (stored.returncode, stored.stderr) == (0, here.stderr)
    assert stored.stdout == here.stdout.replace('"emulated-4gib"', '"mine"')
    unknown = layertune("compare", RECORDED, "theirs", "--storage", url)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "layertune: theirs is neither a file here nor a study of the storage; it has mine\n"
