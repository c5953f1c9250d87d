"""layertune pareto: the front as a table on standard output, or as JSON."""

import json
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from layertune.cli.console import open_console
from layertune.cli.scatter import front_plot
from layertune.results.remarks import baseline_words, gain_words, study_remarks
from layertune.results.result import Result, TrialInfo, load_result
from layertune.results.trial_info import MetricInfo
from layertune.units import format_bytes


def run(study: Path, *, plot: bool, as_json: bool) -> None:
    result = load_result(study)
    if as_json:
        typer.echo(front_json(result))
        return
    print_front(result)
    console = open_console()
    if plot or console.is_terminal:
        console.print(Text("\n" + front_plot(result, console.width)), soft_wrap=True)


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
    for name, baseline in result.baselines.items():
        layers = ", ".join(f"{model} {engine.n_gpu_layers}" for model, engine in (baseline.settings or {}).items())
        planned = "–" if baseline.planned_bytes is None else format_bytes(baseline.planned_bytes)
        gains = [gain_words(baseline.balanced.get(model)) for model in result.models]
        table.add_row(name, layers or "–", planned, baseline_words(result, baseline), *gains)
    return table


def _row(result: Result, trial: TrialInfo) -> list[str]:
    cells = [str(trial.number)]
    for name, engine in trial.settings.items():
        metrics = (trial.metrics or {})[name]
        split = f"{engine.written('tensor_split')}: " if engine.tensor_split else ""
        layers = f"{split}{engine.n_gpu_layers}/{result.models[name].n_layer + 1}"
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
    device, capacity_bytes = result.hardware.device, result.budget.capacity_bytes()
    on = device.name if device.vram_bytes is None else f"{device.name}, {format_bytes(device.vram_bytes)}"
    limit = f", budget {format_bytes(capacity_bytes)}" if capacity_bytes is not None else ""
    return f"Pareto front of {result.study.name}: {len(result.pareto)} of {len(result.trials)} trials ({on}{limit})"
