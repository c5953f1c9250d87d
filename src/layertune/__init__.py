"""Measured auto-tuning of llama.cpp GPU layer splits for several models on one small GPU.

The names in `__all__` are the library's promise; docs/python.md shows how they are used. Each is imported at its first
use, so that `import layertune` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layertune.config import StudyConfig, load_config, parse_config
    from layertune.errors import LayertuneError
    from layertune.export import export_files
    from layertune.results.result import Result, read_result
    from layertune.settings import EngineSettings, SplitSettings
    from layertune.study.estimate import Estimate
    from layertune.study.recommendation import Recommendation
    from layertune.study.study import Study, open_study

__version__ = "0.1.0"

__all__ = [
    "EngineSettings",
    "Estimate",
    "LayertuneError",
    "Recommendation",
    "Result",
    "SplitSettings",
    "Study",
    "StudyConfig",
    "export_files",
    "load_config",
    "open_study",
    "parse_config",
    "read_result",
]

_MODULES = {
    "EngineSettings": "layertune.settings",
    "Estimate": "layertune.study.estimate",
    "LayertuneError": "layertune.errors",
    "Recommendation": "layertune.study.recommendation",
    "Result": "layertune.results.result",
    "SplitSettings": "layertune.settings",
    "Study": "layertune.study.study",
    "StudyConfig": "layertune.config",
    "export_files": "layertune.export",
    "load_config": "layertune.config",
    "open_study": "layertune.study.study",
    "parse_config": "layertune.config",
    "read_result": "layertune.results.result",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
