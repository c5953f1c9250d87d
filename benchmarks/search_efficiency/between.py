"""A recorded table with every number of layers. Those between two recorded ones take the time and memory between them.

Recording every layer of several files would take hours. A search of a few recorded numbers of layers is too easy:
its initial design finds most of their front.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice, pairwise, product

from layertune.memory import ModelPlan
from layertune.memory.plan import PlannedBytes
from layertune.settings import EngineSettings
from layertune.testing import RecordedTable
from layertune.testing.recorded_table import Cell, EnginePlan, ModelCell
from layertune.trial.outcome import ModelSamples


def with_all_layers(table: RecordedTable) -> RecordedTable:
    """Return the table with the layers between the recorded ones, of each model and file."""
    found = {name: [_between(table, name, *each) for each in _neighbors(table, name)] for name in table.models}
    plans = {name: (*table.plans[name], *(plan for plan, _ in found[name])) for name in table.models}
    columns = {name: [cell for _, cells in found[name] for cell in cells] for name in table.models}
    n_cells = max(map(len, columns.values()))
    rows = zip(*(islice(cycle(column), n_cells) for column in columns.values()), strict=True)
    cells = [Cell("factor", dict(zip(columns, row, strict=True)), 0) for row in rows]
    dimensions = tuple(
        replace(each, values=tuple(range(min(each.values), max(each.values) + 1)))
        if each.field == "n_gpu_layers"
        else each
        for each in table.dimensions
    )
    return replace(table, dimensions=dimensions, plans=plans, cells=(*table.cells, *cells))


def _neighbors(table: RecordedTable, name: str) -> list[tuple[EngineSettings, EngineSettings, int]]:
    """Return each engine to add: the recorded ones with fewer and with more layers, and its own layers."""
    recorded = [table.space.canonical_engine(name, each) for each in table.space.engines(name)]
    found = []
    for file in table.space.files(name):
        of_file = sorted((each for each in recorded if each.file == file), key=lambda each: each.n_gpu_layers)
        for fewer, more in pairwise(of_file):
            found += [(fewer, more, layers) for layers in range(fewer.n_gpu_layers + 1, more.n_gpu_layers)]
    return found


def _between(
    table: RecordedTable, name: str, fewer: EngineSettings, more: EngineSettings, layers: int
) -> tuple[EnginePlan, list[ModelCell]]:
    """Return an engine's plan, and a cell for each pair of visits to its neighbors."""
    share = (layers - fewer.n_gpu_layers) / (more.n_gpu_layers - fewer.n_gpu_layers)
    engine = replace(fewer, n_gpu_layers=layers)
    low, high = (table.planner.models[name].plan(each) for each in (fewer, more))
    plan = EnginePlan(engine.memory_key(table.space.n_layer(name, engine)), _plan(low, high, share))
    visits = product(*(table.cells_of(name)[each] for each in (fewer, more)))
    return plan, [_cell(engine, *pair, share) for pair in visits]


def _plan(low: ModelPlan, high: ModelPlan, share: float) -> ModelPlan:
    def middle(less: int | None, greater: int | None) -> int:
        if less is None or greater is None:
            raise ValueError("a recorded plan lacks a size")
        return round((1 - share) * less + share * greater)

    devices = {
        device: PlannedBytes(
            middle(held.weights_bytes, high.devices[device].weights_bytes),
            middle(held.kv_bytes, high.devices[device].kv_bytes),
            middle(held.compute_bytes, high.devices[device].compute_bytes),
            middle(held.output_bytes, high.devices[device].output_bytes),
        )
        for device, held in low.devices.items()
    }
    return replace(low, devices=devices)


def _cell(engine: EngineSettings, fewer: ModelCell, more: ModelCell, share: float) -> ModelCell:
    def rates(low: Sequence[float], high: Sequence[float]) -> tuple[float, ...]:
        return tuple(1 / ((1 - share) / a + share / b) for a, b in zip(low, high, strict=True))

    low, high = fewer.samples, more.samples
    samples = ModelSamples(
        rates(low.pp_tokens_per_s, high.pp_tokens_per_s),
        rates(low.tg_tokens_per_s, high.tg_tokens_per_s),
        rates(low.ttft_s, high.ttft_s),
        rates(low.tokens_per_s, high.tokens_per_s),
    )
    return ModelCell(engine, samples, (1 - share) * fewer.load_s + share * more.load_s)
