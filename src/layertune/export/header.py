"""Where a pick comes from, as the comment that every export begins with."""

from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def comment(result: Result, trial: TrialInfo, mark: str = "#") -> list[str]:
    """Return the provenance as comment lines."""
    return [f"{mark} {line}" for line in provenance_lines(result, trial)]


def provenance_lines(result: Result, trial: TrialInfo) -> list[str]:
    """Return lines of printable text: study, trial, hardware, measured speeds, peak VRAM of the budget, limits
    that the trial does not keep (one that is named by its number may exceed some)."""
    study, device = result.study, result.hardware.device
    lines = [
        f"layertune {study.layertune_version}, llama.cpp {study.llama_cpp.version} ({study.llama_cpp.commit})",
        f"study {study.name} of {study.created}, trial {trial.number}",
        f"measured on: {_device(result)}; {result.hardware.cpu.model}",
    ]
    if device.kind == "emulated":
        lines.append("EMULATED: the speeds below are this CPU's, not a GPU's; the bytes are llama.cpp's own")
    if trial.n_confirming > 0:
        lines.append(f"the figures are those of {trial.n_confirming} rounds after the finals, which chose nothing")
    elif trial.n_rounds > 0:
        lines.append(f"the figures are those of {trial.n_rounds} rounds of the finals")
    for name, metrics in (trial.metrics or {}).items():
        workload = result.workload[name]
        # A single model has no others: its two rates are the same measurement made twice.
        others = f", {_rate(metrics['tokens_per_s_together'])} beside the others" if len(result.models) > 1 else ""
        lines.append(
            f"{name}: {_rate(metrics['tokens_per_s'])} alone{others} "
            f"({workload.n_prompt} prompt + {workload.n_generate} generated tokens)"
        )
    if trial.vram is not None:
        limit_bytes = result.budget.vram_bytes
        budget = f" of a budget of {format_bytes(limit_bytes)}" if limit_bytes is not None else ""
        lines.append(
            f"peak VRAM {format_bytes(trial.vram.peak_bytes)}{budget} (by {trial.vram.source}, {trial.vram.scope})"
        )
    lines += [f"OVER ITS LIMIT: {name} by {format_bytes(round(excess))}" for name, excess in trial.exceeded().items()]
    return ["".join(char if char.isprintable() else "?" for char in line) for line in lines]


def _device(result: Result) -> str:
    device = result.hardware.device
    return device.name if device.vram_bytes is None else f"{device.name}, {format_bytes(device.vram_bytes)}"


def _rate(metric: MetricInfo) -> str:
    """Return the median and half its 95 % interval, where it has one."""
    if metric.low is None or metric.high is None:
        return f"{metric.median:.1f} tokens/s (n = {metric.n})"
    return f"{metric.median:.1f} ± {(metric.high - metric.low) / 2:.1f} tokens/s"
