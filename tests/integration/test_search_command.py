"""The whole program on the emulated card: searched, killed, resumed, refused. Two tiny stand-ins keep it short."""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from dotenv import dotenv_values
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import parse_result, read_result
from layertune.search.storage import open_url, stored_result
from postgresql import new_database

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

N_KILLS = 4

CHAT = KnownModel("chat", 4, 256, 512, 4, 2, n_vocab=2000, tied=True)
DEEPER = KnownModel("deeper", 6, 256, 512, 4, 2, n_vocab=2000, tied=True)
CODE = KnownModel("code", 6, 512, 1024, 8, 2, n_vocab=2000, tied=False)
CONFIG = """
name = "tiny"
seed = 1
device = "emulated:{size}"
emulated = {{ n_threads = 1 }}
host = {{ n_cpus = 1 }}
search = {{ n_trials = {n_trials}, trial_timeout = "60s", sampler = "random" }}
measurement = {{ min_repeats = 2, max_repeats = 2, warm_up = "0.01s", max_attempts = 1 }}
finals = {{ max_rounds = {n_rounds}, max_finalists = 2, n_repeats = 1, confirming_rounds = 3 }}
[models.chat]
path = "chat.gguf"
workload = {{ n_prompt = 8, n_generate = 4 }}
space = {{ n_ctx = 256, n_batch = [16, 32], n_gpu_layers = {{ min = {least} }} }}
[models.code]
path = "code.gguf"
workload = {{ n_prompt = 8, n_generate = 4 }}
space = {{ n_ctx = 256, n_batch = 16, n_gpu_layers = {{ min = {least} }} }}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    known_standin(CHAT).write(folder / "chat.gguf")
    known_standin(CODE).write(folder / "code.gguf")
    return folder


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    return linked(models, tmp_path)


def linked(models: Path, folder: Path) -> Path:
    for model in models.iterdir():
        (folder / model.name).symlink_to(model)
    return folder


@pytest.fixture(scope="module")
def finished_once(needs_rpc: None, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = linked(models, tmp_path_factory.mktemp("finished"))
    answer = run(folder, n_trials=1)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture
def finished(finished_once: Path, folder: Path) -> Path:
    """A folder with a finished study of one trial, a copy of its own."""
    shutil.copytree(finished_once / "study", folder / "study")
    return folder


def config(*, size: str = "14MiB", n_trials: int = 6, least: int = 0, n_rounds: int = 0) -> str:
    """Return a study's config: finals are held only where a test is about them."""
    return CONFIG.format(size=size, n_trials=n_trials, least=least, n_rounds=n_rounds)


def command(folder: Path, *arguments: str, **changes: Any) -> list[str]:
    (folder / "tiny.toml").write_text(config(**changes))
    code = "from layertune.cli.main import run; run()"
    return [sys.executable, "-c", code, "search", "tiny.toml", "--study", "study", *arguments]


def run(folder: Path, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    full = command(folder, *arguments, **changes)
    return subprocess.run(full, capture_output=True, text=True, cwd=folder, check=False)


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study" / "journal.log")))
    return optuna.load_study(study_name="tiny", storage=storage).trials


def test_a_search_ends_with_a_front_under_the_budget_an_env_and_a_result(folder: Path) -> None:
    answer = run(folder, n_trials=8, n_rounds=3)
    assert answer.returncode == 0, answer.stderr
    assert "EMULATED" in answer.stderr
    assert "Pareto front of tiny" in answer.stdout
    result = read_result(folder / "study")
    assert len(result.trials) == 8
    for number in result.pareto:
        vram = result.trial(number).vram
        assert vram is not None
        assert vram.peak_bytes <= 14 * 2**20
    picked = result.picked("balanced")
    assert picked.n_confirming == 3
    for metrics in (picked.metrics or {}).values():  # 256 tokens of context hold more than four workloads of 12
        assert metrics["tg_tokens_per_s_full"].n == metrics["turn_s"].n == 1
    assert "at full context (256 tokens)" in answer.stdout + answer.stderr
    assert sum(trial.n_confirming > 0 for trial in result.trials) <= 2
    env = (folder / "study" / ".env").read_text()
    assert f"CHAT_N_GPU_LAYERS={result.picked('balanced').settings['chat'].n_gpu_layers}\n" in env
    assert {trial.state for trial in result.trials} <= {"measured", "infeasible"}


def test_a_search_can_begin_with_what_another_study_measured(folder: Path) -> None:
    assert run(folder, "--sampler", "layer-split", n_trials=4).returncode == 0
    (folder / "study").rename(folder / "elsewhere")
    answer = run(folder, "--sampler", "layer-split", "--warm-start", "elsewhere", n_trials=7)
    assert answer.returncode == 0, answer.stderr
    result = read_result(folder / "study")
    assert result.study.sampler == "layer-split"
    assert result.stopped is not None
    assert "more trials might still improve the front's hypervolume" in result.stopped
    assert (folder / "study" / "report.html").exists()
    shutil.rmtree(folder / "elsewhere")
    again = [
        sys.executable,
        "-c",
        "from layertune.cli.main import run; run()",
        "search",
        "--study",
        "study",
        "--resume",
    ]
    assert subprocess.run([*again, "--trials", "8"], cwd=folder, check=False).returncode == 0
    assert len(read_result(folder / "study").trials) == 8


def test_a_floor_that_nothing_reaches_is_exit_status_3_with_the_floor(folder: Path) -> None:
    words = command(folder)
    (folder / "tiny.toml").write_text('floors = ["chat.tokens_per_s >= 1000000"]\n' + config(n_trials=2))
    answer = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 3
    assert "keeps the limits and reaches chat.tokens_per_s >= 1000000; lower the floor" in answer.stderr


def test_results_go_to_standard_output_as_json_and_progress_does_not(folder: Path) -> None:
    answer = run(folder, "--json", n_trials=2)
    assert json.loads(answer.stdout)["schema_version"] == 1
    assert "[2/2] trial" in answer.stderr


def test_a_finished_study_is_not_started_over_unasked(finished: Path) -> None:
    created = read_result(finished / "study").study.created
    again = run(finished, n_trials=1)
    assert (again.returncode, again.stdout) == (2, "")
    assert "holds a study already; go on with --resume" in again.stderr
    more = run(finished, "--resume", n_trials=3)
    assert more.returncode == 0
    result = read_result(finished / "study")
    assert (len(result.trials), result.study.created) == (3, created)


def test_nothing_that_fits_is_exit_status_3_with_the_smallest_need(folder: Path) -> None:
    answer = run(folder, size="1MiB", least=3)
    assert answer.returncode == 3
    assert "no setting fits the budget of 1.0 MiB: the smallest is planned to need 5.4 MiB" in answer.stderr


def test_a_study_of_another_device_is_refused_with_what_differs(finished: Path) -> None:
    answer = run(finished, "--resume", size="15MiB", n_trials=2)
    assert answer.returncode == 2
    assert "device was emulated emulated card, 14680064 bytes" in answer.stderr


def running(folder: Path, n_finished: int) -> subprocess.Popen[str]:
    """Start a search and wait until it is in the middle of a trial after `n_finished` finished ones."""
    process = subprocess.Popen(command(folder), cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"[{n_finished}/"):
            break
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(trial.state == TrialState.RUNNING and "settings" in trial.user_attrs for trial in stored(folder)):
            return process
        time.sleep(0.01)
    raise AssertionError("no trial is running")


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()]
    except psutil.NoSuchProcess:
        return []


def check_resumed(folder: Path, family: list[psutil.Process], finished: list[int]) -> None:
    """No orphan 5 s later; the interrupted trial has failed and is run again; nothing is lost or repeated."""
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
    outcomes = {number: stored(folder)[number].user_attrs["outcome"] for number in finished}
    resumed = run(folder, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    trials = stored(folder)
    assert {number: trials[number].user_attrs["outcome"] for number in finished} == outcomes
    interrupted = [trial for trial in trials if trial.user_attrs.get("interrupted")]
    assert [trial.state for trial in interrupted] == [TrialState.FAIL]
    (again,) = [trial for trial in trials if trial.user_attrs.get("resumes") == interrupted[0].number]
    assert again.params == interrupted[0].params
    assert "outcome" in again.user_attrs
    engines = [json.dumps(trial.settings["chat"].as_dict() | {"code": trial.settings["code"].as_dict()})
               for trial in read_result(folder / "study").trials]  # fmt: skip
    assert len(set(engines)) == len(engines) == 6


def test_kill_9_leaves_no_orphan_and_resume_loses_and_repeats_nothing(folder: Path) -> None:
    process = running(folder, n_finished=2)
    family = children(process)
    assert len(family) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (folder / "study" / "journal.log.lock").symlink_to("journal.log")  # as Optuna leaves it, killed while writing
    check_resumed(folder, family, finished=[0, 1])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_exit_status_130_with_the_same_promise(folder: Path, how: signal.Signals) -> None:
    process = running(folder, n_finished=2)
    family = children(process)
    os.kill(process.pid, how)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted after 2 trials; all of them are kept; go on with --resume" in errors
    assert "Traceback" not in errors
    assert len(read_result(folder / "study").trials) == 2
    check_resumed(folder, family, finished=[0, 1])


@pytest.mark.parametrize("rounds", ["finals", "validation"])
def test_finals_cut_off_go_on_where_they_were(rounds: str, folder: Path) -> None:
    process = subprocess.Popen(command(folder, n_trials=3, n_rounds=3), cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"[{rounds}, round 1"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = final_rounds(folder)
    assert before
    assert run(folder, "--resume", n_trials=3, n_rounds=3).returncode == 0
    after = final_rounds(folder)
    assert {key: after[key] for key in before} == before
    result = read_result(folder / "study")
    validated = [trial for trial in result.trials if trial.n_confirming]
    assert {trial.n_confirming for trial in validated} == {3}
    assert len(after) == sum(trial.n_rounds for trial in result.trials) + 3 * len(validated)
    assert result.picks["balanced"] in [trial.number for trial in validated]


def test_kill_9_at_any_moment_leaves_the_best_setting_so_far_and_resume_goes_on(folder: Path, tmp_path: Path) -> None:
    """The `.env` is the recommendation until a trial is measured, then the balanced pick of result.json, which lacks at
    most the trial that was stored last. Each file is written at once, `.env` just after result.json."""
    moments, env, study = random.Random(N_KILLS), folder / "study" / ".env", folder / "study"
    for n_kills in range(N_KILLS):
        resume = ["--resume"] if (study / "study.toml").exists() else []
        process = subprocess.Popen(command(folder, *resume, n_rounds=2), cwd=folder, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(1.0, 8.0))
        family = children(process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        psutil.wait_procs(family, timeout=5)
        if not env.exists():
            assert not (study / "result.json").exists(), f"kill {n_kills}"
            continue
        values = dotenv_values(env)
        finished = [trial for trial in whole_lines(folder, tmp_path / "read") if "outcome" in trial.user_attrs]
        if "NOT MEASURED YET" in env.read_text():
            assert len(finished) <= 1
        else:
            result = read_result(study)
            assert len(result.trials) >= len(finished) - 1
            picked = result.picked("balanced").settings["chat"].n_gpu_layers
            written_between = (study / "result.json").stat().st_mtime_ns > env.stat().st_mtime_ns
            assert written_between or values["CHAT_N_GPU_LAYERS"] == str(picked)
    assert run(folder, "--resume", n_rounds=2).returncode == 0
    result = read_result(study)
    assert len(result.trials) == 6
    assert dotenv_values(env)["CHAT_N_GPU_LAYERS"] == str(result.picked("balanced").settings["chat"].n_gpu_layers)


def test_files_of_one_model_are_searched_stopped_resumed_and_the_picked_one_is_exported(folder: Path) -> None:
    known_standin(DEEPER).write(folder / "deeper.gguf")
    files = ["--model", "chat=chat.gguf,deeper.gguf", "--sampler", "layer-split"]
    process = subprocess.Popen(
        command(folder, *files, n_trials=8, n_rounds=1), cwd=folder, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[3/8]"):
            break
    os.kill(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    answer = run(folder, *files, "--resume", "--no-quality", n_trials=8, n_rounds=1)
    assert answer.returncode == 0, answer.stderr
    assert "Quality of chat is unknown: it was not measured" in " ".join(answer.stdout.split())
    result = read_result(folder / "study")
    assert {trial.settings["chat"].file for trial in result.trials} == {"chat.gguf", "deeper.gguf"}
    assert {file: model.n_layer for file, model in result.files["chat"].items()} == {"chat.gguf": 4, "deeper.gguf": 6}
    assert all(trial.vram is None or trial.vram.peak_bytes <= 14 * 2**20 for trial in result.trials)
    for trial in result.trials:
        assert trial.vram is not None
        assert trial.vram.planned_bytes == pytest.approx(trial.vram.peak_bytes, abs=2**16)  # llama.cpp's log is rounded
    picked = result.picked("balanced").settings["chat"].file
    assert dotenv_values(folder / "study" / ".env")["CHAT_MODEL"] == picked
    explained = subprocess.run(
        [sys.executable, "-c", "from layertune.cli.main import run; run()", "export", "study", "--explain"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    ).stdout
    assert f"A file {'larger' if picked == 'chat.gguf' else 'smaller'}: chat with" in explained
    (folder / "deeper.gguf").unlink()
    known_standin(replace(DEEPER, n_layer=5)).write(folder / "deeper.gguf")
    other = run(folder, *files, "--resume", n_trials=9, n_rounds=1)
    assert other.returncode == 2
    assert "model chat/deeper.gguf" in other.stderr


def whole_lines(folder: Path, copy: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a journal whose last line may be torn."""
    journal = (folder / "study" / "journal.log").read_bytes()
    (copy / "study").mkdir(parents=True, exist_ok=True)
    (copy / "study" / "journal.log").write_bytes(journal[: journal.rfind(b"\n") + 1])
    return stored(copy)


def final_rounds(folder: Path) -> dict[str, object]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study" / "journal.log")))
    attributes = optuna.load_study(study_name="tiny", storage=storage).user_attrs
    return {key: value for key, value in attributes.items() if key.startswith(("final ", "confirming "))}


def test_resume_needs_no_config_beside_the_folder(finished: Path) -> None:
    code = "from layertune.cli.main import run; run()"
    answer = subprocess.run(
        [sys.executable, "-c", code, "search", "--study", "study", "--resume", "--trials", "2"],
        capture_output=True,
        text=True,
        cwd=finished,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert len(read_result(finished / "study").trials) == 2


def test_the_cpu_alone_needs_no_card(folder: Path) -> None:
    answer = run(folder, "--device", "cpu", n_trials=2)
    assert answer.returncode == 0, answer.stderr
    result = read_result(folder / "study")
    assert (result.hardware.device.kind, result.trials[0].vram) == ("cpu", None)


def test_an_orphan_of_an_earlier_run_cannot_answer_for_a_new_one(folder: Path) -> None:
    process = running(folder, n_finished=1)
    try:
        other = folder / "other"
        other.mkdir()
        for name in ("chat.gguf", "code.gguf"):
            (other / name).symlink_to((folder / name).resolve())
        answer = run(other, n_trials=1)
        assert answer.returncode == 0
        assert all(
            (trial.vram is None or trial.vram.baseline_bytes == 0) for trial in read_result(other / "study").trials
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def test_what_llama_cpp_cannot_plan_is_tried_all_the_same_and_said_so(folder: Path) -> None:
    data = (folder / "chat.gguf").read_bytes().replace(b"qwen2", b"qwon2")
    (folder / "chat.gguf").unlink()
    (folder / "chat.gguf").write_bytes(data)
    answer = run(folder, n_trials=1)
    assert "no plan: llama.cpp cannot project the memory" in answer.stderr
    assert "unknown model architecture: 'qwon2'" in answer.stderr
    assert "no trial was measured" in answer.stderr
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr


def test_a_baseline_may_not_take_a_computed_one_s_name(folder: Path) -> None:
    full = command(folder, n_trials=1)
    with (folder / "tiny.toml").open("a") as config:
        config.write("[baselines]\nollama = { chat = { n_gpu_layers = 1 } }\n")
    answer = subprocess.run(full, capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 2
    assert "baselines.ollama: layertune computes one of that name; rename yours" in answer.stderr


def test_a_study_in_a_database_goes_on_with_its_url_only(folder: Path, postgresql_server: Path) -> None:
    url = new_database(postgresql_server, "search")
    answer = run(folder, "--storage", url, n_trials=3)
    assert answer.returncode == 0, answer.stderr
    assert not (folder / "study" / "journal.log").exists()
    assert [each.study_name for each in optuna.get_all_study_summaries(open_url(url))] == ["study"]
    before = read_result(folder / "study")
    forgotten = run(folder, "--resume", n_trials=4)
    assert (forgotten.returncode, forgotten.stdout) == (2, "")
    assert (
        "study has no journal.log: its trials are in another storage, or lost; give its --storage URL"
        in forgotten.stderr
    )
    assert run(folder, "--resume", "--storage", url, n_trials=4).returncode == 0
    after = read_result(folder / "study")
    assert [each.settings for each in after.trials[:3]] == [each.settings for each in before.trials]
    assert len(after.trials) == 4
    assert parse_result(stored_result(url, "study"), "the storage") == after
    nobody = url.replace(str(postgresql_server), str(folder))  # as of a server that has ended: its socket is not there
    gone = run(folder, "--resume", "--storage", nobody, n_trials=5)
    assert (gone.returncode, gone.stderr.count("layertune: the storage postgresql://")) == (2, 1)
    assert "Traceback" not in gone.stderr


def test_a_study_in_a_journal_does_not_go_on_in_a_database(finished: Path) -> None:
    answer = run(finished, "--resume", "--storage", "sqlite:///fleet.db", n_trials=2)
    assert answer.returncode == 2
    assert "study keeps its trials in journal.log; leave out --storage" in answer.stderr
    assert not (finished / "fleet.db").exists()


def test_a_search_goes_on_when_nobody_reads_it_any_more(folder: Path) -> None:
    line = f"set -o pipefail; {shlex.join(command(folder, n_trials=3))} 2>&1 | head -1"
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=folder, check=False)
    assert (answer.returncode, answer.stderr, len(answer.stdout.splitlines())) == (0, "", 1)
    assert len(read_result(folder / "study").trials) == 3
    assert (folder / "study" / ".env").exists()


@pytest.mark.parametrize(("floors", "status"), [("", 0), ('floors = ["chat.tokens_per_s >= 1000000"]\n', 3)])
def test_a_full_disk_for_all_that_is_printed_leaves_the_exit_status_to_the_study(
    folder: Path, floors: str, status: int
) -> None:
    line = shlex.join(command(folder, "--json", n_trials=2))
    (folder / "tiny.toml").write_text(floors + config(n_trials=2))
    answer = subprocess.run(["bash", "-c", f"{line} > /dev/full 2> log"], cwd=folder, check=False)
    said = (folder / "log").read_text()
    assert answer.returncode == status, said
    assert "warning: standard output cannot be written: No space left on device" in said
    assert len(read_result(folder / "study").trials) == 2


def test_a_study_whose_journal_a_power_cut_emptied_keeps_its_result(finished: Path) -> None:
    before = (finished / "study" / "result.json").read_bytes()
    journal = finished / "study" / "journal.log"
    journal.write_bytes(bytes(journal.stat().st_size))
    answer = run(finished, "--resume", n_trials=1)
    assert answer.returncode == 0, answer.stderr
    assert "the study has lost 1 of the 1 finished trials in result.json" in answer.stderr
    assert (finished / "study" / "result.json.old").read_bytes() == before
    assert len(read_result(finished / "study").trials) == 1


@pytest.mark.parametrize("most_kib", [1, 5])
def test_after_a_full_disk_the_remedy_that_is_printed_works(folder: Path, most_kib: int) -> None:
    """The journal cannot be written, or the study's config; both before anything is measured."""
    line = f"ulimit -f {most_kib}; {shlex.join(command(folder, n_trials=1))}"
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=folder, check=False)
    assert answer.returncode == 1
    remedy = "run the same command again" if most_kib == 1 else "run the same command with --resume"
    assert remedy in answer.stderr
    assert not [each.name for each in (folder / "study").iterdir() if each.name.endswith("part")]
    again = run(folder, *(["--resume"] if "--resume" in answer.stderr else []), n_trials=1)
    assert again.returncode == 0, again.stderr
