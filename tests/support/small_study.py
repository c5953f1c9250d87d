"""A small two-model study that every test of this room starts from."""

from pathlib import Path
from typing import Any

from layertune.config import StudyConfig, parse_config
from layertune.search.constraints import Limits
from layertune.search.space import SearchSpace
from layertune.search.storage import open_journal
from layertune.search.study import Plan, Search
from layertune.units import MIB

N_LAYERS = {"chat": 12, "code": 20}


def config(**chat_space: Any) -> StudyConfig:
    model = {"path": "a.gguf", "workload": {"n_prompt": 64, "n_generate": 16}}
    space = {"n_ctx": 1024, "n_batch": [256, 512]}
    models = {"chat": model | {"space": space | chat_space}, "code": model | {"space": space}}
    return parse_config({"models": models}, source="test", folder=Path())


def space(**chat_space: Any) -> SearchSpace:
    return SearchSpace.of(config(**chat_space), N_LAYERS, n_threads=2)


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "test",
        "space": space(),
        "objectives": config().resolved_objectives(),
        "limits": Limits(200 * MIB, 0, None, n_processes=2, file_bytes={"chat": MIB, "code": MIB}),
        "identity": {"cpu": "one", "model chat": "abc"},
        "sampler": "tpe",
        "seed": 1,
        "n_trials": 12,
        "timeout_s": None,
    }
    return Plan(**values | changes)


def search(folder: Path, **changes: Any) -> Search:
    return Search(plan(**changes), open_journal(folder), folder)
