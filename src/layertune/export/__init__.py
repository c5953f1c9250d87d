"""What a pick becomes in other programs' files. Every exporter renders text from a `Result` and touches no file."""

from collections.abc import Callable

from layertune.export.env import quote, render_env
from layertune.export.record import render_json
from layertune.results.result import Result, TrialInfo

EXPORTERS: dict[str, Callable[[Result, TrialInfo], str]] = {"env": render_env, "json": render_json}

__all__ = ["EXPORTERS", "quote", "render_env", "render_json"]
