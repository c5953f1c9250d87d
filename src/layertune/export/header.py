"""The comment at the top of every export: study, trial, hardware and measured speeds."""

from layertune.results.depth import depth_words, measured_at_depth
from layertune.results.price import price_words
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def comment(result: Result, trial: TrialInfo, mark: str = "#") -> list[str]:
    """Return the header as comment lines."""
    return [f"{mark} {line}" for line in provenance_lines(result, trial)]


def provenance_lines(result: Result, trial: TrialInfo) -> list[str]:
    """Return the lines of the header, as printable text: origin, measured speeds, peak VRAM, and exceeded limits.

    A trial chosen by its number may exceed limits.
    """
    study, device = result.study, result.hardware.device
    lines = [
        f"layertune {study.layertune_version}, llama.cpp {study.llama_cpp.version} ({study.llama_cpp.commit})",
        f"study {study.name} of {study.created}, trial {trial.number}",
        f"measured on: {_device(result)}; {result.hardware.cpu.model}",
    ]
    if device.kind == "emulated":
        lines.append("EMULATED: speeds are of this CPU, not of a GPU; bytes are as llama.cpp allocates them")
    if result.stopped is None and result.clock is not None:
        lines.append(f"the search was not finished when this was written: {len(result.trials)} trials so far")
    if trial.n_confirming > 0:
        lines.append(f"the speeds are those of {trial.n_confirming} validation runs")
    elif trial.n_rounds > 0:
        lines.append(f"the speeds are those of {trial.n_rounds} rounds of the finals")
    for name, metrics in (trial.metrics or {}).items():
        workload = result.workload[name]
        # With a single model both rates measure the same.
        together = metrics.get("tokens_per_s_together") if len(result.models) > 1 else None
        others = "" if together is None else f", {_rate(together)} with the others"
        lines.append(f"{name}: {_rate(metrics['tokens_per_s'])} alone{others} ({workload.words})")
    lines += [f"{model}: {depth_words(each, model)}" for each, model in measured_at_depth(result) if each is trial]
    lines += [
        f"{name}: {engine.n_parallel} requests at once, with {engine.n_ctx_slot} tokens of context {engine.each_words}"
        for name, engine in trial.settings.items()
        if engine.n_parallel > 1
    ]
    lines += price_words(result, trial)
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
    """Return the median and half its 95 % interval, or the number of samples if it has none."""
    if metric.low is None or metric.high is None:
        return f"{metric.median:.1f} tokens/s (n = {metric.n})"
    return f"{metric.median:.1f} ± {(metric.high - metric.low) / 2:.1f} tokens/s"
