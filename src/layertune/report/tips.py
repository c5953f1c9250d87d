"""What a point says of its trial when it is pointed at."""

from layertune.report.commands import command_text
from layertune.report.source import Source, pick_names, settings_text, speed_text, speed_unit
from layertune.results.result import Result
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
    """Return one model's speeds and settings, a line each."""
    lines = []
    alone, together = source.metric(model, "tokens_per_s"), source.metric(model, "tokens_per_s_together")
    if alone is not None:
        beside = f", {speed_text(together, unit)} together" if together is not None else ""
        lines.append(f"{model}: {speed_text(alone, unit)} alone{beside}")
    return [*lines, f"{model}: {settings_text(source.trial.settings[model])}"]
