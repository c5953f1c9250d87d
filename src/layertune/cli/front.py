"""layertune pareto: the front as a table on standard output, or as JSON."""

from pathlib import Path
from typing import Any

from layertune.cli.console import Table, show, show_json, show_table, show_width, shows_on_terminal
from layertune.report.scatter import front_plot
from layertune.results.price import pick_price_words
from layertune.results.qualities import shown_quality
from layertune.results.remarks import baseline_words, gain_words, study_remarks
from layertune.results.result import Result, TrialInfo, read_result
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def run(study: Path, *, plot: bool, as_json: bool) -> None:
    result = read_result(study)
    if as_json:
        show_json(front_json(result))
        return
    print_front(result)
    if plot or shows_on_terminal():
        show("", *front_plot(result, show_width()).split("\n"), wrap=False)


def front_json(result: Result) -> dict[str, Any]:
    front = [result.trial(number).model_dump(mode="json") for number in result.pareto]
    quality = {name: [each.model_dump(mode="json") for each in found] for name, found in result.quality.items()}
    return {"pareto": front, "picks": result.picks} | ({"quality": quality} if quality else {})


def print_front(result: Result) -> None:
    """Print the front on standard output."""
    if result.pareto:
        show_table(front_table(result))
    else:
        floors = " and ".join(["keeps the budget", *(f"reaches {floor}" for floor in result.floors)])
        show(f"No measured trial {floors}.")
    if result.baselines:
        show("")
        show_table(baseline_table(result))
    if remarks := [*pick_price_words(result), *study_remarks(result)]:
        show("", *remarks)


def front_table(result: Result) -> Table:
    """Return the front as a table: one row per trial in the order of their numbers, with its picks."""
    table = Table(_title(result))
    table.column("", "trial", right=True)
    for name in result.models:
        if name in result.files:
            table.column("", "file")
        if shown := shown_quality(result, name):
            table.column("", shown.heading, right=True)
        table.column(name, "layers", right=True)
        table.column("", "-c -b", right=True)
        table.column("tokens/s", "alone", right=True)
        table.column("", "together", right=True)
    table.column("peak", "VRAM", right=True)
    table.column("", "loads", right=True)
    table.column("", "pick", wraps=True)
    for number in result.pareto:
        table.row(*_row(result, result.trial(number)))
    return table


def baseline_table(result: Result) -> Table:
    """Return a table of the baselines: their settings, their trials, and how the balanced pick compares."""
    table = Table("Baselines")
    for heading in ("name", "layers", "planned", "measured as"):
        table.column(heading)
    for name in result.models:
        table.column(f"balanced pick, {name}")
    for name, baseline in result.baselines.items():
        layers = ", ".join(f"{model} {engine.n_gpu_layers}" for model, engine in (baseline.settings or {}).items())
        planned = "–" if baseline.planned_bytes is None else format_bytes(baseline.planned_bytes)
        gains = [gain_words(baseline.balanced.get(model)) for model in result.models]
        table.row(name, layers or "–", planned, baseline_words(result, baseline), *gains)
    return table


def _row(result: Result, trial: TrialInfo) -> list[str]:
    cells = [str(trial.number)]
    for name, engine in trial.settings.items():
        metrics = (trial.metrics or {})[name]
        layers = engine.layers(result.model_of(name, engine).n_layer)
        alone, together = metrics["tokens_per_s"], metrics.get("tokens_per_s_together")
        cells += [engine.file] if name in result.files else []
        shown = shown_quality(result, name)
        cells += [] if shown is None else [shown.text(result.quality_of(name, engine))]
        cells += [
            layers,
            f"{engine.slots_words} {engine.n_batch}",
            _speed(alone),
            "–" if together is None else f"{together.median:.1f}",
        ]
    cells.append(format_bytes(trial.vram.peak_bytes) if trial.vram else "–")
    cells.append(str(1 + trial.n_all_rounds()))
    cells.append(", ".join(pick for pick, number in result.picks.items() if number == trial.number))
    return cells


def _speed(metric: MetricInfo) -> str:
    """Return a median, with half its 95 % interval where there is one."""
    if metric.low is None or metric.high is None:
        return f"{metric.median:.1f}"
    return f"{metric.median:.1f} ±{(metric.high - metric.low) / 2:.1f}"


def _title(result: Result) -> str:
    device, capacity_bytes = result.hardware.device, result.budget.capacity_bytes()
    on = device.name if device.vram_bytes is None else f"{device.name}, {format_bytes(device.vram_bytes)}"
    limit = f", budget {format_bytes(capacity_bytes)}" if capacity_bytes is not None else ""
    return f"Pareto front of {result.study.name}: {len(result.pareto)} of {len(result.trials)} trials ({on}{limit})"
