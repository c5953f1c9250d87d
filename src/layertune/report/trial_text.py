"""A trial as plain text: the tooltips of points, and the commands that serve it."""

import shlex

from layertune.errors import UsageError
from layertune.export import MODELS_DIR
from layertune.export.llama_server import command
from layertune.report.markup import rate_text
from layertune.report.source import Source, pick_names, shown_settings, speed_unit
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def trial_name(result: Result, source: Source) -> str:
    picks = pick_names(result, source.trial.number)
    return f"trial {source.trial.number}" + (f" ({', '.join(picks)})" if picks else "")


def trial_tip(result: Result, source: Source, *, with_commands: bool) -> str:
    trial, unit = source.trial, speed_unit(result)
    lines = [trial_name(result, source)]
    baselines = [name for name, baseline in result.baselines.items() if baseline.trial == trial.number]
    if baselines:
        lines.append(f"baseline {', '.join(baselines)}")
    for name in trial.settings:
        lines += model_lines(source, name, unit)
    if trial.vram is not None:
        lines.append(f"peak VRAM {format_bytes(trial.vram.peak_bytes)}")
    lines += [f"over its limit: {name} by {format_bytes(round(excess))}" for name, excess in trial.exceeded().items()]
    if with_commands:
        lines += [command_text(result, trial, name) for name in trial.settings]
    return "\n".join(lines)


def model_lines(source: Source, model: str, unit: str) -> list[str]:
    """Return a line with one model's speeds and a line with its settings."""
    lines = []
    alone, together = source.metric(model, "tokens_per_s"), source.metric(model, "tokens_per_s_together")
    if alone is not None:
        shared = f", {_speed_text(together, unit)} together" if together is not None else ""
        lines.append(f"{model}: {_speed_text(alone, unit)} alone{shared}")
    settings = " ".join(f"{short}={value}" for _, short, value in shown_settings(source.trial.settings[model]))
    return [*lines, f"{model}: {settings}"]


def command_text(result: Result, trial: TrialInfo, model: str) -> str:
    """Return the command that serves one model, or why there is none: some file names fit no command line."""
    try:
        return shlex.join(command(result, trial, model, MODELS_DIR))
    except UsageError as error:
        return f"no command: {error}"


def _speed_text(metric: MetricInfo, unit: str) -> str:
    interval = (
        "" if metric.low is None or metric.high is None else f" ({rate_text(metric.low)}–{rate_text(metric.high)})"
    )
    return f"{rate_text(metric.median)}{interval} {unit}"
