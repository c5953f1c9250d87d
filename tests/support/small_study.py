"""A small two-model study that every test of this room starts from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from layertune.config import StudyConfig, parse_config
from layertune.search.schedule import Schedule
from layertune.search.search import Search
from layertune.search.storage import open_journal
from layertune.search.task import Event, SearchTask
from layertune.settings import SplitSettings
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.testing import measured
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.units import MIB
from layertune.vram.vram_report import VramReport

N_LAYERS = {"chat": 12, "code": 20}

SAMPLERS = ["tpe", "random", "optuna.samplers.QMCSampler"]

TRIALS = Effort(3, 3, 0.02)
ROUNDS = Effort(2, 2, 0.01, n_beside_prefill=1)


def quiet(_event: Event) -> None:
    """No one watches."""


def with_finals(
    n_rounds: int, n_finalists: int = 4, *, effort: Effort = ROUNDS, n_confirming: int = 0, **changes: Any
) -> Schedule:
    values = {
        "effort": TRIALS,
        "n_rounds": n_rounds,
        "n_finalists": n_finalists,
        "n_confirming": n_confirming,
        "finals_effort": effort,
    }
    return Schedule(**values | changes)


def config(**chat_space: Any) -> StudyConfig:
    model = {"path": "a.gguf", "workload": {"n_prompt": 64, "n_generate": 16}}
    space = {"n_ctx": 1024, "n_batch": [256, 512]}
    models = {"chat": model | {"space": space | chat_space}, "code": model | {"space": space}}
    return parse_config({"models": models}, source="test", folder=Path())


def space(**chat_space: Any) -> SearchSpace:
    return SearchSpace.of(config(**chat_space), N_LAYERS, n_threads=2)


def task(**changes: Any) -> SearchTask:
    values: dict[str, Any] = {
        "name": "test",
        "space": space(),
        "objectives": config().resolved_objectives(),
        "limits": Limits((200 * MIB,), 0, None, n_processes=2, file_bytes={"chat": MIB, "code": MIB}),
        "identity": {"cpu": "one", "model chat": "abc"},
        "sampler": "tpe",
        "seed": 1,
        "n_trials": 12,
        "early_stop": True,
        "timeout_s": None,
    }
    return SearchTask(**values | changes)


def on_a_gpu(settings: SplitSettings, overhead_bytes: int) -> Measured:
    """A real GPU shows more in use than the buffers: its context."""
    outcome = measured(settings)
    assert outcome.vram is not None
    return replace(outcome, vram=VramReport(outcome.vram.peak_bytes + overhead_bytes, 0, "process", "nvml"))


def search(folder: Path, **changes: Any) -> Search:
    return Search(task(**changes), open_journal(folder), folder)


def stored(folder: Path) -> optuna.Study:
    """Return the study as it is on the disk."""
    return optuna.load_study(study_name="test", storage=open_journal(folder))
