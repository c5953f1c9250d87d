"""layertune estimate --scenario: someone's own estimates beside the plan."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from layertune.cli.planning import plan_models
from layertune.config.scenario import ScenarioConfig, ScenarioFile, load_scenarios
from layertune.errors import UsageError
from layertune.memory import GPU, ModelMemory, PlannedBytes
from layertune.models import ModelShape, remembered_shape
from layertune.models.known import find_known
from layertune.models.standin import hollow_standin
from layertune.settings import EngineSettings

_GB = 10**9  # what people mean when they write GB beside a file's size


@dataclass(frozen=True, slots=True)
class Held:
    """One model of one scenario: what its author expected, and what it takes of the device by plan."""

    name: str
    n_gpu_layers: int
    n_all_layers: int
    expected_bytes: int | None
    planned: PlannedBytes


@dataclass(frozen=True, slots=True)
class Judged:
    """One scenario. `planned_bytes` is what llama.cpp's buffers take; the author's overhead comes on top."""

    name: str
    models: tuple[Held, ...]
    expected_bytes: int | None
    verdict: str | None
    planned_bytes: int
    overhead_bytes: int
    budget_bytes: int

    @property
    def spare_bytes(self) -> int:
        return self.budget_bytes - self.planned_bytes

    @property
    def spare_with_overhead_bytes(self) -> int:
        return self.spare_bytes - self.overhead_bytes


@dataclass(frozen=True, slots=True)
class Sized:
    """One model file: its size and its VRAM with all layers, as guessed and as they are."""

    name: str
    expected_file_bytes: int | None
    file_bytes: int
    expected_vram_bytes: int | None
    planned_bytes: int


def run(path: Path, *, as_json: bool) -> None:
    config = load_scenarios(path)
    scenarios, sizes = judge(config, path.parent)
    if as_json:
        report = {
            "device": config.device,
            "scenarios": [
                {
                    **asdict(each),
                    "spare_bytes": each.spare_bytes,
                    "spare_with_overhead_bytes": each.spare_with_overhead_bytes,
                }
                for each in scenarios
            ],
            "files": [asdict(each) for each in sizes],
        }
        typer.echo(json.dumps(report, indent=1))
        return
    console = Console(highlight=False)
    console.print(_scenario_table(config, scenarios))
    console.print(_model_table(scenarios))
    console.print(_size_table(sizes))


def judge(config: ScenarioConfig, folder: Path) -> tuple[list[Judged], list[Sized]]:
    """Plan every scenario and every file whole.

    Raises:
        ModelFileError: a model cannot be read.
        UsageError: a file is missing and its model is not known, or the device is none.
    """
    shapes = {name: _shape(file, folder) for name, file in config.files.items()}
    planning = plan_models(shapes, config.resolved_device(), 1, 1)
    if planning.target.vram_bytes is None:
        raise UsageError(
            f"{config.device} has no memory of its own to fit into", remedy="choose emulated:6GiB or gpu:0"
        )
    layers = {name: {shape.n_layer + 1} for name, shape in shapes.items()}
    for scenario in config.scenarios:
        for model in scenario.models.values():
            layers[model.file].add(min(model.n_gpu_layers, shapes[model.file].n_layer + 1))
    planning.projections.learn({name: [_engine(config, each) for each in wanted] for name, wanted in layers.items()})
    memories = planning.planner().models
    scenarios = [
        _judged(config, number, shapes, memories, planning.target.vram_bytes) for number in range(len(config.scenarios))
    ]
    sizes = [
        Sized(
            name,
            file.file,
            shapes[name].file_bytes,
            file.vram,
            _on_device(memories[name], _engine(config, shapes[name].n_layer + 1)).total_bytes or 0,
        )
        for name, file in config.files.items()
    ]
    return scenarios, sizes


def _judged(
    config: ScenarioConfig,
    number: int,
    shapes: dict[str, ModelShape],
    memories: Mapping[str, ModelMemory],
    budget_bytes: int,
) -> Judged:
    scenario = config.scenarios[number]
    held = tuple(
        Held(
            name,
            min(model.n_gpu_layers, shapes[model.file].n_layer + 1),
            shapes[model.file].n_layer + 1,
            model.expected,
            _on_device(memories[model.file], _engine(config, model.n_gpu_layers)),
        )
        for name, model in scenario.models.items()
    )
    return Judged(
        scenario.name,
        held,
        scenario.expected,
        scenario.verdict,
        sum(each.planned.total_bytes or 0 for each in held),
        config.overhead,
        budget_bytes,
    )


def _shape(file: ScenarioFile, folder: Path) -> ModelShape:
    path = folder / file.path if file.path is not None else None
    if path is not None and path.exists():
        return remembered_shape(path)
    return remembered_shape(hollow_standin(find_known(file.model)))


def _engine(config: ScenarioConfig, n_gpu_layers: int) -> EngineSettings:
    settings = config.settings
    return EngineSettings(
        n_gpu_layers=n_gpu_layers, n_ctx=settings.n_ctx, n_batch=settings.n_batch, n_ubatch=512, n_threads=1
    )


def _on_device(memory: ModelMemory, engine: EngineSettings) -> PlannedBytes:
    return memory.plan(engine).devices[GPU]


def _scenario_table(config: ScenarioConfig, scenarios: list[Judged]) -> Table:
    table = _table(f"{config.name}: its scenarios by plan, {config.device}; GB = 10^9 bytes")
    for heading in (
        "scenario",
        "expected",
        "by plan",
        f"+ {config.overhead / _GB:.1f}",
        "off by",
        "to spare",
        "verdict",
    ):
        table.add_column(heading, justify="left" if heading in ("scenario", "verdict") else "right")
    for each in scenarios:
        whole_bytes = each.planned_bytes + each.overhead_bytes
        fits = (
            "fits" if each.spare_with_overhead_bytes >= 0 else "fits without" if each.spare_bytes >= 0 else "too much"
        )
        table.add_row(
            each.name,
            _gb(each.expected_bytes),
            _gb(each.planned_bytes),
            _gb(whole_bytes),
            _off(whole_bytes, each.expected_bytes),
            f"{each.spare_with_overhead_bytes / _GB:+.2f}",
            f"{fits} (was: {each.verdict})" if each.verdict else fits,
        )
    return table


def _model_table(scenarios: list[Judged]) -> Table:
    table = _table("\nEach model on the card, GB")
    for heading in ("scenario", "model", "layers", "expected", "by plan", "off by", "weights", "KV", "compute"):
        table.add_column(heading, justify="left" if heading in ("scenario", "model") else "right")
    for scenario in scenarios:
        for held in scenario.models:
            planned = held.planned
            table.add_row(
                scenario.name,
                held.name,
                f"{held.n_gpu_layers}/{held.n_all_layers}",
                _gb(held.expected_bytes),
                _gb(planned.total_bytes),
                _off(planned.total_bytes, held.expected_bytes),
                *(_gb(part, 3) for part in (planned.weights_bytes, planned.kv_bytes, planned.compute_bytes)),
            )
    return table


def _size_table(sizes: list[Sized]) -> Table:
    table = _table("\nModel files, and all their layers on the card, GB")
    for heading in ("file", "guessed size", "size", "off by", "guessed VRAM", "by plan", "off by"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for each in sizes:
        table.add_row(
            each.name,
            _gb(each.expected_file_bytes),
            _gb(each.file_bytes),
            _off(each.file_bytes, each.expected_file_bytes),
            _gb(each.expected_vram_bytes),
            _gb(each.planned_bytes),
            _off(each.planned_bytes, each.expected_vram_bytes),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


def _gb(n_bytes: int | None, digits: int = 2) -> str:
    return "–" if n_bytes is None else f"{n_bytes / _GB:.{digits}f}"


def _off(real_bytes: int | None, expected_bytes: int | None) -> str:
    """By how much the real figure is above the expected one."""
    if real_bytes is None or not expected_bytes:
        return "–"
    return f"{100 * (real_bytes / expected_bytes - 1):+.1f} %"
