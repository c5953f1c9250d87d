import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from finished_study import result
from layertune.errors import ResultFileError, StorageError, UsageError
from layertune.export import EXPORTERS, MODELS_DIR
from layertune.results.result import BudgetInfo, Result, read_result, write_result
from layertune.results.statistics import Metric
from layertune.results.trial_info import DeviceVramInfo

SPEED = ("trials", 1, "metrics", "chat", "tokens_per_s")


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The small study's JSON with another value at one place."""
    data: dict[str, Any] = json.loads(result().model_dump_json())
    at: Any = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return data


def test_a_result_survives_being_written_and_read(tmp_path: Path) -> None:
    write_result(result(), tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == read_result(tmp_path) == result()
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_result_has_the_fields_of_the_design(tmp_path: Path) -> None:
    data = json.loads(result().model_dump_json())
    assert data["schema_version"] == 1
    assert data["study"].keys() == {
        "name",
        "created",
        "sampler",
        "seed",
        "layertune_version",
        "llama_cpp",
        "generation",
    }
    assert data["hardware"].keys() == {"fingerprint", "device", "cpu", "ram_bytes"}
    metric = data["trials"][1]["metrics"]["chat"]["tokens_per_s"]
    assert metric.keys() == {"median", "mad", "n", "samples", "low", "high"}
    assert data["trials"][1]["vram"].keys() >= {"peak_bytes", "baseline_bytes", "planned_bytes", "scope", "source"}
    assert data["trials"][2]["state"] == "infeasible"
    assert data["trials"][2]["reason"] == "load code: no room"
    assert data["trials"][3]["reason"] == "crashed: signal SIGSEGV"
    assert data["pareto"] == [0, 1]
    assert data["picks"].keys() == {"balanced", "even", "chat", "code", "lean"}


def test_fields_that_a_later_version_added_do_not_hinder(tmp_path: Path) -> None:
    data = json.loads(result().model_dump_json()) | {"added_later": 1}
    (tmp_path / "result.json").write_text(json.dumps(data))
    assert read_result(tmp_path) == result()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ("{}", "schema_version is no number or missing"),
        ('{"schema_version": 0}', "schema_version: Input should be 1"),
        ('{"schema_version": 2}', r"made by a newer layertune \(schema version 2\); update layertune"),
        ('{"schema_version": 1}', "is not a layertune result: study: Field required; give a study folder"),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(ResultFileError, match=words) as caught:
        read_result(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("trials", 1, "settings", "chat", "n_gpu_layers"), -1, "trials.1.settings.chat: n_gpu_layers is -1, not a"),
        (("trials", 1, "settings", "chat", "n_ctx"), "much", "trials.1.settings.chat.n_ctx: Input should be"),
        (("trials", 1, "duration_s"), float("nan"), "trials.1.duration_s: Input should be a finite number"),
        (("trials", 1, "metrics"), None, "trials.1: the trial was measured and has no metrics"),
        (("trials", 1, "metrics", "chat"), {}, "trials.1: metrics.chat lacks pp_tokens_per_s, tg_tokens_per_s"),
        (("trials", 1, "finals"), {}, "trials.1: finals and settings do not name the same models"),
        (("models",), {}, "models: Dictionary should have at least 1 item"),
        (("workload",), {}, "workload and models do not name the same models"),
        (("models", "$(id)\nEVIL"), {}, r"models.\$\(id\)\?EVIL.*should match pattern"),
        (("trials", 1, "settings"), {}, "trials.1: metrics and settings do not name the same models"),
        (("trials", 2, "settings"), {}, "trial 2 and models do not name the same models"),
        (("picks", "lean"), 3, "trial 3, which is no measured trial"),
        (("pareto",), [77], "trial 77, which is no measured trial"),
        (("pareto",), [1, 1], "pareto has a trial's number twice"),
        (("trials", 2, "number"), 1, "trials has a trial's number twice"),
        (("trials", 1, "tied_with"), 77, "trial 1 is tied with trial 77, which is not there"),
        (("objectives",), [], "objectives: List should have at least 1 item"),
        (("models", "chat", "file"), "../../etc/passwd", "models.chat.file: '../../etc/passwd' is no file's name"),
        (("models", "chat", "file"), "..", "models.chat.file: '..' is no file's name"),
        (("models", "chat", "n_layer"), 10**9, "models.chat.n_layer: Input should be less than or equal to 512"),
        (("workload", "chat", "n_prompt"), 0, "workload.chat.n_prompt: Input should be greater than or equal to 1"),
        (("budget", "devices"), [1], "budget.devices: List should have at least 2 items"),
        (("hardware", "ram_bytes"), 10**4000, "hardware.ram_bytes: Input should be less than or equal to"),
        (("hardware", "cpu", "n_cores"), 0, "hardware.cpu.n_cores: Input should be greater than or equal to 1"),
        (("trials", 1, "settings", "chat", "n_parallel"), 0, "n_parallel is 0, not a whole number"),
        (("trials", 1, "settings", "chat", "n_ctx"), 2**32 + 256, "n_ctx is 4294967552, not a whole number from 1 to"),
        (("trials", 1, "settings", "chat", "tensor_split"), [3, 1], "chat is split over 2 devices, which the study"),
        (("trials", 1, "settings", "chat", "tensor_split"), [0, -1], "is not a split of layers"),
        (("trials", 1, "violations", "vram"), 1e300, "trials.1.violations.vram: Input should be less than"),
        (("trials", 1, "vram", "peak_bytes"), 10**4000, "trials.1.vram.peak_bytes: Input should be less than"),
        (("trials", 1, "buffers", "embed"), {}, "trial 1: buffers names embed, which is no model of the study"),
        (("trials", 1, "screening"), {}, "trials.1: screening and settings do not name the same models"),
        ((*SPEED, "samples"), [], "samples: List should have at least 1 item"),
        ((*SPEED, "samples", 0), 0.0, "trials.1: metrics.chat.tokens_per_s has a sample 0.0, which is no rate"),
        ((*SPEED, "samples", 0), 1e-320, "metrics.chat.tokens_per_s has a sample 1e-320, which is no rate"),
        ((*SPEED, "median"), 1e12, "the median 1000000000000.0 is beyond the samples"),
        ((*SPEED, "n"), 7, "n is 7, and there are 3 samples"),
        ((*SPEED, "high"), None, "an interval has two ends"),
        ((*SPEED, "low"), 1e12, "is beyond its interval"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused_with_the_key(
    path: tuple[str | int, ...], value: Any, words: str, tmp_path: Path
) -> None:
    (tmp_path / "result.json").write_text(json.dumps(changed(path, value)))
    with pytest.raises(ResultFileError, match=words) as caught:
        read_result(tmp_path)
    assert "\n" not in str(caught.value)


a_time = st.floats(1e-9, 1e12)
excess = st.floats(-(2.0**53), 2.0**53)


@given(st.lists(a_time, min_size=1), a_time, st.text(), st.dictionaries(st.text(), excess))
def test_every_figure_and_word_survives_being_written_and_read(
    samples: list[float], duration_s: float, words: str, violations: dict[str, float]
) -> None:
    data = changed(("trials", 1, "metrics", "chat", "ttft_s"), asdict(Metric.of(samples)))
    data["trials"][1] |= {"duration_s": duration_s, "violations": violations, "warnings": [words]}
    data["models"]["chat"]["file"] = words.replace("/", "") + ".gguf"
    study = Result.model_validate(data)
    with TemporaryDirectory() as folder:
        write_result(study, Path(folder) / "result.json")
        assert read_result(Path(folder)) == study


def test_a_file_name_that_is_no_utf8_does_not_lose_the_study(tmp_path: Path) -> None:
    study = result(file="\udcff.gguf")
    write_result(study, tmp_path / "result.json")
    assert read_result(tmp_path) == study


def test_a_result_that_cannot_be_written_leaves_what_was_there_and_no_part(tmp_path: Path) -> None:
    taken = tmp_path / "result.json" / "kept"
    taken.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*result\.json: .*; make room there"):
        write_result(result(), taken.parent)
    assert taken.exists()
    assert list(tmp_path.iterdir()) == [taken.parent]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_whatever_stands_in_a_result_it_is_exported_or_refused(data: st.DataObject) -> None:
    study = json.loads(result().model_dump_json())
    at = study
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(json_values)
    with TemporaryDirectory() as folder:
        (Path(folder) / "result.json").write_text(json.dumps(study))
        with suppress(ResultFileError, UsageError):
            read = read_result(Path(folder))
            for pick in read.picks:
                for render in EXPORTERS.values():
                    render(read, read.picked(pick), MODELS_DIR)


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


def test_a_single_device_has_no_key_devices(tmp_path: Path) -> None:
    data = json.loads(result().model_dump_json())
    assert "devices" not in data["budget"]
    assert "devices" not in data["trials"][1]["vram"]
    assert "tensor_split" not in data["trials"][1]["settings"]["chat"]


def test_of_several_devices_each_has_its_budget_its_peak_and_its_layers(tmp_path: Path) -> None:
    study = result()
    trial = study.trial(1)
    assert trial.vram is not None
    held = DeviceVramInfo(peak_bytes=3, baseline_bytes=0, planned_bytes=3)
    settings = trial.settings | {"chat": replace(trial.settings["chat"], tensor_split=(25.0, 12.0))}
    vram = trial.vram.model_copy(update={"devices": [held, held]})
    trials = [
        trial.model_copy(update={"settings": settings, "vram": vram}) if each is trial else each
        for each in study.trials
    ]
    budget = BudgetInfo(vram_bytes=100, margin_bytes=10, devices=[60, 40])
    several = study.model_copy(update={"budget": budget, "trials": trials})
    write_result(several, tmp_path / "result.json")
    read = read_result(tmp_path / "result.json")
    assert read == several
    assert read.budget.capacity_bytes() == 80
    data = json.loads((tmp_path / "result.json").read_text())
    assert data["trials"][1]["settings"]["chat"]["tensor_split"] == [25.0, 12.0]


@pytest.mark.parametrize("proportions", [[0, 0], [-1, 2], ["x"]])
def test_a_result_with_impossible_proportions_is_refused(proportions: list[Any]) -> None:
    path = ("trials", 1, "settings", "chat", "tensor_split")
    with pytest.raises(ValidationError):
        Result.model_validate(changed(path, proportions))
