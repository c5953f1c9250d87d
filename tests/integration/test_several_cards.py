"""Two emulated cards: what llama.cpp puts where, beside the plan, and a whole search over both."""

import json
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from layertune.devices.projection_cache import Projections
from layertune.devices.target import Target
from layertune.memory import ModelMemory, Planner
from layertune.memory.plan import Overhead
from layertune.models import read_shape
from layertune.models.known_models import KnownModel
from layertune.models.standin import known_standin
from layertune.results.result import read_result
from layertune.settings import EngineSettings, SplitSettings
from layertune.tensor_split import split_layers
from layertune.trial.effort import Effort
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB

CARD = Path(__file__).parents[2] / "configs" / "hardware" / "emulated-8gib.toml"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

EFFORT = Effort(2, 2, 0.5, together=False)
CHAT = KnownModel("chat", 4, 256, 512, 4, 2, n_vocab=2000, tied=True)
CODE = KnownModel("code", 6, 512, 1024, 8, 2, n_vocab=2000, tied=False)
CONFIG = """
name = "tiny"
seed = 1
device = "emulated:8MiB+6MiB"
emulated = { n_threads = 1 }
host = { n_cpus = 1 }
search = { n_trials = 9, trial_timeout = "60s" }
measurement = { min_repeats = 2, max_repeats = 2, warm_up = "0.01s", max_attempts = 1, reference_every = 0 }
finals = { max_rounds = 2, max_finalists = 2, n_repeats = 1 }
[models.chat]
path = "chat.gguf"
workload = { n_prompt = 8, n_generate = 4 }
space = { n_ctx = 256, n_batch = 16 }
[models.code]
path = "code.gguf"
workload = { n_prompt = 8, n_generate = 4 }
space = { n_ctx = 256, n_batch = 16 }
"""


def cards(*sizes_mib: float) -> Target:
    return Target.composite(
        [Target("emulated", "emulated card", vram_bytes=round(size * MIB), n_threads=1) for size in sizes_mib]
    )


def engine(n_gpu_layers: int, *tensor_split: float) -> EngineSettings:
    return EngineSettings(
        n_gpu_layers=n_gpu_layers, n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1, tensor_split=tensor_split
    )


def planner(pair: dict[str, Path], target: Target, *every: SplitSettings) -> Planner:
    shapes = {name: read_shape(path) for name, path in pair.items()}
    asked = Projections(target, shapes)
    asked.learn({name: [each[name] for each in every] for name in pair})
    models = {
        name: ModelMemory(shape, asked.inventory(name), partial(asked.project, name), len(target.devices))
        for name, shape in shapes.items()
    }
    return Planner(models, Overhead(0, "an emulated card has none"), len(models))


def run(demo_pair: dict[str, Path], target: Target, *every: SplitSettings) -> list[TrialOutcome]:
    paths = {name: str(path) for name, path in demo_pair.items()}
    with closing(ProcessTrialRunner(TrialContext(target, paths, dict.fromkeys(paths, (16, 4)), 0, 60))) as runner:
        return [runner.run(settings, EFFORT) for settings in every]


def peaks(outcome: TrialOutcome) -> list[int]:
    assert isinstance(outcome, Measured), outcome
    assert outcome.vram is not None
    assert outcome.vram.phases["unload"] < outcome.vram.phases["load"]
    return [report.peak_bytes for report in outcome.vram.each]


def test_each_card_holds_what_was_planned_for_it(demo_pair: dict[str, Path]) -> None:
    every = [
        SplitSettings.of({"chat": engine(20, 3, 1), "code": engine(12, 1, 2)}),
        SplitSettings.of({"chat": engine(31, 1, 0), "code": engine(10, 0, 1)}),
        SplitSettings.of({"chat": engine(1, 1, 1), "code": engine(0, 1, 1)}),
    ]
    planned = planner(demo_pair, cards(400, 400), *every)
    for settings, outcome in zip(every, run(demo_pair, cards(400, 400), *every), strict=True):
        plan = planned.plan(settings)
        for device, peak_bytes in zip(plan.devices, peaks(outcome), strict=True):
            # llama.cpp logs compute buffers to 0.01 MiB; weights and caches are exact.
            assert peak_bytes == pytest.approx(plan.bytes_on(device), abs=plan.log_error_bytes), device


def test_a_whole_model_over_both_cards_takes_at_most_what_was_planned(demo_pair: dict[str, Path]) -> None:
    """llama.cpp runs it as a pipeline with four copies of what passes from card to card, and says twice as many."""
    whole = SplitSettings.of({"chat": engine(31, 3, 1), "code": engine(19, 1, 2)})
    plan = planner(demo_pair, cards(400, 400), whole).plan(whole)
    first, second = peaks(*run(demo_pair, cards(400, 400), whole))
    n_embd = sum(read_shape(path).n_embd for path in demo_pair.values())
    assert first == pytest.approx(plan.bytes_on("gpu0"), abs=plan.log_error_bytes)
    assert (plan.bytes_on("gpu1") or 0) - second == pytest.approx(4 * 64 * n_embd * 4, abs=plan.log_error_bytes)


def test_one_card_that_is_too_small_refuses_although_the_other_has_room(demo_pair: dict[str, Path]) -> None:
    (outcome,) = run(demo_pair, cards(400, 32), SplitSettings.of({"chat": engine(31, 3, 1), "code": engine(19, 1, 2)}))
    assert isinstance(outcome, Infeasible)
    assert (outcome.excess_bytes or 0) > 0


def layertune(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "from layertune.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder, check=False
    )


def test_a_search_over_two_cards_keeps_both_budgets_and_exports_the_split(tmp_path: Path) -> None:
    known_standin(CHAT).write(tmp_path / "chat.gguf")
    known_standin(CODE).write(tmp_path / "code.gguf")
    (tmp_path / "tiny.toml").write_text(CONFIG)
    answer = layertune(tmp_path, "search", "tiny.toml", "--study", "study")
    assert answer.returncode == 0, answer.stderr
    assert "device: emulated cards of 8.0 MiB + 6.0 MiB (14.0 MiB), budget 8.0 MiB + 6.0 MiB; EMULATED" in answer.stderr
    result = read_result(tmp_path / "study")
    assert result.budget.devices == [8 * MIB, 6 * MIB]
    assert {trial.state for trial in result.trials} == {"measured"}
    split = set()
    for trial in result.trials:
        assert trial.vram is not None
        assert trial.vram.devices is not None
        for device, budget_bytes in zip(trial.vram.devices, result.budget.devices, strict=True):
            assert device.peak_bytes <= budget_bytes
            assert device.planned_bytes is not None
            assert device.peak_bytes <= device.planned_bytes + 0.05 * MIB
        for settings in trial.settings.values():
            assert split_layers(settings.tensor_split, settings.n_gpu_layers) == settings.tensor_split
            split.add(settings.tensor_split)
    assert len(split) > 2
    answer = layertune(tmp_path, "export", "study", "--format", "llama-server")
    assert answer.returncode == 0, answer.stderr
    pinned = [settings for settings in result.picked("balanced").settings.values() if settings.tensor_split]
    assert answer.stdout.count("--tensor-split") == len(pinned)
    for command in (["verify", "study"], ["predict", "study", "--hardware", str(CARD)]):
        refused = layertune(tmp_path, *command)
        assert refused.returncode == 2, refused.stderr
        assert "several devices" in refused.stderr
    told = layertune(tmp_path, "estimate", "tiny.toml", "--set", "chat.tensor_split=1,1", "--json")
    assert told.returncode == 0, told.stderr
    estimate = json.loads(told.stdout)
    assert estimate["budgets_bytes"] == [8 * MIB, 6 * MIB]
    assert estimate["total"].keys() == {"gpu0", "gpu1", "host"}
