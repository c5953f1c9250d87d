"""layertune pareto: the front as a table on standard output, or as JSON."""

import json
from pathlib import Path

import typer
from rich.table import Table

from layertune.cli.console import open_console
from layertune.cli.remarks import study_remarks
from layertune.results.result import BaselineInfo, ComparisonInfo, Result, TrialInfo, load_result
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def run(study: Path, *, as_json: bool) -> None:
    result = load_result(study)
    typer.echo(front_json(result)) if as_json else print_front(result)


def front_json(result: Result) -> str:
    front = [result.trial(number).model_dump(mode="json") for number in result.pareto]
    return json.dumps({"pareto": front, "picks": result.picks}, indent=1)


def print_front(result: Result) -> None:
    """Print the front on standard output."""
    console = open_console()
    floors = " and ".join(["keeps the budget", *(f"reaches {floor}" for floor in result.floors)])
    console.print(front_table(result) if result.pareto else f"No measured trial {floors}.")
    if result.baselines:
        console.print(baseline_table(result))
    remarks = study_remarks(result)
    if remarks:
        console.print("\n" + "\n".join(remarks))


def front_table(result: Result) -> Table:
    """Return the front as a table: a row a trial, in the order of their numbers, with the picks it is."""
    table = Table(title=_title(result), title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("\ntrial", justify="right", no_wrap=True)
    for name in result.models:
        table.add_column(f"{name}\nlayers", justify="right", no_wrap=True)
        table.add_column("\n-c -b", justify="right", no_wrap=True)
        table.add_column("tokens/s\nalone", justify="right", no_wrap=True)
        table.add_column("\ntogether", justify="right", no_wrap=True)
    table.add_column("peak\nVRAM", justify="right", no_wrap=True)
    table.add_column("\npick")
    for number in result.pareto:
        table.add_row(*_row(result, result.trial(number)))
    return table


def baseline_table(result: Result) -> Table:
    """Return what others would choose, what became of it, and how the balanced pick compares."""
    table = Table(title="\nBaselines", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "layers", "planned", "measured as"):
        table.add_column(heading, no_wrap=True)
    for name in result.models:
        table.add_column(f"balanced pick, {name}", no_wrap=True)
    budget = result.budget
    capacity_bytes = None if budget.vram_bytes is None else budget.vram_bytes - budget.margin_bytes
    for name, baseline in result.baselines.items():
        layers = ", ".join(f"{model} {engine.n_gpu_layers}" for model, engine in (baseline.settings or {}).items())
        planned = "–" if baseline.planned_bytes is None else format_bytes(baseline.planned_bytes)
        gains = [_gain(baseline.balanced.get(model)) for model in result.models]
        table.add_row(name, layers or "–", planned, _became(baseline, capacity_bytes), *gains)
    return table


def _gain(compared: ComparisonInfo | None) -> str:
    """Say how much faster the balanced pick is, where the rounds of the finals show it to differ at all."""
    if compared is None:
        return ""
    if not compared.clear:
        return "no clear difference"
    return f"{compared.ratio - 1:+.0%}"


def _became(baseline: BaselineInfo, capacity_bytes: int | None) -> str:
    if baseline.trial is not None:
        return f"trial {baseline.trial}"
    if baseline.settings is None:
        return "would evict a model"
    if baseline.planned_bytes is None or capacity_bytes is None or baseline.planned_bytes <= capacity_bytes:
        return "not measured"
    return f"not run: {format_bytes(baseline.planned_bytes - capacity_bytes)} over the budget"


def _row(result: Result, trial: TrialInfo) -> list[str]:
    cells = [str(trial.number)]
    for name, engine in trial.settings.items():
        metrics = (trial.metrics or {})[name]
        layers = f"{engine.n_gpu_layers}/{result.models[name].n_layer + 1}"
        alone, together = metrics["tokens_per_s"], metrics["tokens_per_s_together"]
        cells += [layers, f"{engine.n_ctx} {engine.n_batch}", _speed(alone), f"{together.median:.1f}"]
    cells.append(format_bytes(trial.vram.peak_bytes) if trial.vram else "–")
    cells.append(", ".join(pick for pick, number in result.picks.items() if number == trial.number))
    return cells


def _speed(metric: MetricInfo) -> str:
    """Return a median, with half its 95 % interval where there is one."""
    if metric.low is None or metric.high is None:
        return f"{metric.median:.1f}"
    return f"{metric.median:.1f} ±{(metric.high - metric.low) / 2:.1f}"


def _title(result: Result) -> str:
    device, budget = result.hardware.device, result.budget.vram_bytes
    on = device.name if device.vram_bytes is None else f"{device.name}, {format_bytes(device.vram_bytes)}"
    limit = f", budget {format_bytes(budget - result.budget.margin_bytes)}" if budget is not None else ""
    return f"Pareto front of {result.study.name}: {len(result.pareto)} of {len(result.trials)} trials ({on}{limit})"
