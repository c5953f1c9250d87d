"""A user's own estimates next to the plan, as tables."""

from layertune.config.scenario_file import ScenarioConfig
from layertune.study.scenarios import Judged, Sized
from layertune.tables import Table

_GB = 10**9  # GB in a file's size is usually decimal


def scenario_tables(config: ScenarioConfig, scenarios: list[Judged], sizes: list[Sized]) -> list[Table]:
    """Return the scenarios, each of their models, and the files, as three tables."""
    return [_scenario_table(config, scenarios), _model_table(scenarios), _size_table(sizes)]


def _scenario_table(config: ScenarioConfig, scenarios: list[Judged]) -> Table:
    table = Table(f"{config.name}: scenarios as planned, {config.device}; GB = 10^9 bytes")
    overhead = f"+ {config.overhead / _GB:.1f}"
    for heading in ("scenario", "expected", "planned", overhead, "off by", "to spare", "verdict"):
        table.column(heading, right=heading not in ("scenario", "verdict"), wraps=True)
    for each in scenarios:
        whole_bytes = each.planned_bytes + each.overhead_bytes
        table.row(
            each.name,
            _gb(each.expected_bytes),
            _gb(each.planned_bytes),
            _gb(whole_bytes),
            _off(whole_bytes, each.expected_bytes),
            f"{each.spare_with_overhead_bytes / _GB:+.2f}",
            f"{each.fits} (was: {each.verdict})" if each.verdict else each.fits,
        )
    return table


def _model_table(scenarios: list[Judged]) -> Table:
    table = Table("Each model on the card, GB")
    for heading in ("scenario", "model", "layers", "expected", "planned", "off by", "weights", "KV", "compute"):
        table.column(heading, right=heading not in ("scenario", "model"), wraps=True)
    for scenario in scenarios:
        for held in scenario.models:
            planned = held.planned
            table.row(
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
    table = Table("Model files, and all their layers on the card, GB")
    for heading in ("file", "guessed size", "size", "off by", "guessed VRAM", "planned", "off by"):
        table.column(heading, right=heading != "file", wraps=True)
    for each in sizes:
        table.row(
            each.name,
            _gb(each.expected_file_bytes),
            _gb(each.file_bytes),
            _off(each.file_bytes, each.expected_file_bytes),
            _gb(each.expected_vram_bytes),
            _gb(each.planned_bytes),
            _off(each.planned_bytes, each.expected_vram_bytes),
        )
    return table


def _gb(n_bytes: int | None, digits: int = 2) -> str:
    return "–" if n_bytes is None else f"{n_bytes / _GB:.{digits}f}"


def _off(real_bytes: int | None, expected_bytes: int | None) -> str:
    """Return by how much the real value is above the expected one."""
    if real_bytes is None or not expected_bytes:
        return "–"
    return f"{100 * (real_bytes / expected_bytes - 1):+.1f} %"
