"""Small results to compare: one split a trial, with speeds, an interval of ± a share of them, and memory in MiB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finished_study import result
from layertune.config import Objective
from layertune.results.result import BudgetInfo, CpuInfo, DeviceInfo, HardwareInfo, Result
from layertune.results.trial_info import METRICS, HostInfo, MetricInfo, TrialInfo, VramInfo
from layertune.settings import EngineSettings
from layertune.units import GIB, MIB

OBJECTIVES = [
    Objective("chat.tokens_per_s", "maximize"),
    Objective("code.tokens_per_s", "maximize"),
    Objective("vram.peak_bytes", "minimize"),
]


@dataclass(frozen=True)
class Row:
    """One trial. `spread` is the interval's half width as a share of the speed, None for a figure without one."""

    layers: tuple[int, int]
    speeds: tuple[float, float]
    mib: float
    spread: float | None = 0.01
    state: str = "measured"
    over_mib: float = 0.0
    changes: Mapping[str, Any] = field(default_factory=dict)


def study(
    rows: Sequence[Row],
    pick: int | None = 0,
    *,
    budget_mib: float = 1000,
    name: str = "study",
    n_cores: int = 4,
    device: str = "emulated card",
    n_rounds: int = 3,
    n_threads: int = 2,
    objectives: Sequence[Objective] = OBJECTIVES,
) -> Result:
    """Return a study of these trials, all measured ones on its front, whose every pick is trial number `pick`."""
    trials = [_trial(number, row, n_rounds) for number, row in enumerate(rows)]
    empty = result(trials=[], name=name, objectives=list(objectives))
    picks = {} if pick is None else dict.fromkeys(("balanced", "chat", "code", "lean"), pick)
    front = [] if pick is None else [trial.number for trial in trials if trial.state == "measured"]
    kind = "emulated" if device == "emulated card" else "gpu"
    hardware = HardwareInfo(
        fingerprint=f"{device} {n_cores}",
        device=DeviceInfo.model_validate(
            {
                "kind": kind,
                "name": device,
                "vram_bytes": round(budget_mib * MIB),
                "driver": None,
                "n_threads": n_threads if kind == "emulated" else None,
            }
        ),
        cpu=CpuInfo(model="Test CPU", n_cores=n_cores),
        ram_bytes=16 * GIB,
    )
    budget = BudgetInfo(vram_bytes=round(budget_mib * MIB), margin_bytes=0)
    changes = {"trials": trials, "pareto": front, "picks": picks, "hardware": hardware, "budget": budget}
    return empty.model_copy(update=changes)


def engine(n_gpu_layers: int, **changes: Any) -> EngineSettings:
    values: dict[str, Any] = {"n_ctx": 1024, "n_batch": 256, "n_ubatch": 256, "n_threads": 4}
    return EngineSettings(n_gpu_layers=n_gpu_layers, **values | changes)


def _trial(number: int, row: Row, n_rounds: int) -> TrialInfo:
    chat, code = (engine(layers, **row.changes) for layers in row.layers)
    measured = row.state == "measured"
    n_bytes = round(row.mib * MIB)
    metrics = {
        name: {metric: _metric(speed, row.spread) for metric in METRICS}
        for name, speed in zip(("chat", "code"), row.speeds, strict=True)
    }
    return TrialInfo.model_validate(
        {
            "number": number,
            "state": row.state,
            "reason": None if measured else "load code: no room",
            "settings": {"chat": chat, "code": code},
            "metrics": metrics if measured else None,
            "screening": metrics if measured and n_rounds else None,
            "vram": VramInfo(peak_bytes=n_bytes, baseline_bytes=0, planned_bytes=n_bytes, scope="card", source="ledger")
            if measured
            else None,
            "host": HostInfo(peak_rss_bytes=1) if measured else None,
            "duration_s": 1.0,
            "violations": {"vram": row.over_mib * MIB or -1.0},
            "n_rounds": n_rounds if measured else 0,
        }
    )


def _metric(speed: float, spread: float | None) -> MetricInfo:
    low, high = (None, None) if spread is None else (speed * (1 - spread), speed * (1 + spread))
    return MetricInfo(median=speed, mad=0.0, n=3, samples=[speed] * 3, low=low, high=high)
