"""The limits of a study, as Optuna constraints: the bytes over each limit, at most 0 if it is kept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layertune.errors import NothingFits
from layertune.memory.buffers import HOST, BufferBytes, device_name, resident_bytes
from layertune.results.trial_summary import reason
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings, model_and_file, variant
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.units import join_bytes

VRAM = "vram"

# Names of host memory in llama.cpp's log and the C++ runtime (ggml-cpu.c, ggml-backend.cpp).
_OF_HOST = re.compile(r"\bCPU(_\w+)?\b|_Host\b|bad_alloc|ggml_aligned_malloc")

# A refused trial exceeds the budget by an unknown amount; one byte marks it as over.
_UNKNOWN_EXCESS_BYTES = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The memory that the deployed models may use, in bytes.

    Attributes:
        vram: the budget of each device; empty without a device.
        margin_bytes: kept free on each device.
        ram_per_model_bytes: each model's limit on the host; None if there is none.
        n_processes: how many server processes will hold the models.
        file_bytes: the size of each model's file, by `variant`.
        shares_ram: whether the device's memory is the machine's RAM, so that what is on the host counts as well.
    """

    vram: tuple[int, ...]
    margin_bytes: int
    ram_per_model_bytes: int | None
    n_processes: int
    file_bytes: Mapping[str, int]
    shares_ram: bool = False

    @property
    def vram_bytes(self) -> int | None:
        """The budget of all devices together; None without a device."""
        return sum(self.vram) if self.vram else None

    @property
    def capacities(self) -> tuple[int, ...]:
        """The usable bytes of each device."""
        return tuple(vram_bytes - self.margin_bytes for vram_bytes in self.vram)

    @property
    def capacity_bytes(self) -> int | None:
        """The usable bytes of all devices together; None without a device."""
        return sum(self.capacities) if self.vram else None

    def has_model(self, name: str, engine: EngineSettings) -> bool:
        """Return whether the study has this model, with this engine's file."""
        return variant(name, engine.file) in self.file_bytes

    @property
    def n_models(self) -> int:
        """How many models the study has."""
        return len({model_and_file(key)[0] for key in self.file_bytes})

    def shared_bytes(self, name: str, engine: EngineSettings, on_host: BufferBytes) -> int:
        """Return what a model's host buffers take of the device's own memory: all of them if it is the RAM."""
        return resident_bytes(on_host, self.file_bytes[variant(name, engine.file)]) if self.shares_ram else 0

    def ram_excess_bytes(self, name: str, engine: EngineSettings, on_host: BufferBytes) -> int:
        """Return by how much a model's host buffers exceed its RAM limit; negative if they keep it."""
        if self.ram_per_model_bytes is None:
            return -1
        return resident_bytes(on_host, self.file_bytes[variant(name, engine.file)]) - self.ram_per_model_bytes

    def violations(self, settings: SplitSettings, outcome: TrialOutcome) -> dict[str, float]:
        """Return the bytes over each limit. A trial that was not measured has only those that are known."""
        if isinstance(outcome, Measured):
            return self._measured(settings, outcome)
        if isinstance(outcome, Infeasible):
            return {VRAM: max(float(outcome.excess_bytes or 0), _UNKNOWN_EXCESS_BYTES)}
        return {}

    def deployed(self, outcome: Measured) -> list[int]:
        """Return the bytes of each device that the trial's models take when `n_processes` serve them."""
        reports = () if outcome.vram is None else outcome.vram.each
        return [
            report.peak_bytes + (self.n_processes - 1) * overhead_bytes
            for report, overhead_bytes in zip(reports, process_overheads(outcome), strict=True)
        ]

    def _measured(self, settings: SplitSettings, outcome: Measured) -> dict[str, float]:
        excess: dict[str, float] = {}
        if self.capacities and outcome.vram is not None:
            shared_bytes = sum(
                self.shared_bytes(name, settings[name], report.buffers.get(HOST, BufferBytes()))
                for name, report in outcome.models.items()
            )
            taken = [n_bytes + shared_bytes for n_bytes in self.deployed(outcome)]
            excess[VRAM] = float(worst_excess(taken, self.capacities))
        if self.ram_per_model_bytes is not None:
            for name, report in outcome.models.items():
                on_host = report.buffers.get(HOST, BufferBytes())
                excess[f"ram.{name}"] = float(self.ram_excess_bytes(name, settings[name], on_host))
        return excess


def worst_excess(taken: Sequence[int], capacities: Sequence[int]) -> int:
    """Return the excess of the device that exceeds its capacity most; negative if none does."""
    return max(n_bytes - capacity for n_bytes, capacity in zip(taken, capacities, strict=True))


def process_overheads(outcome: Measured) -> list[int]:
    """Return the bytes that a process takes of each device in addition to its buffers: a CUDA context, kernels, pools.

    It is the trial's peak minus llama.cpp's own buffers. A worker process shows it once; n server processes take it n
    times. The emulated card has none.
    """
    reports = () if outcome.vram is None else outcome.vram.each
    return [
        0 if each.scope == "card" else max(0, each.peak_bytes - _buffers_on(device_name(index), outcome))
        for index, each in enumerate(reports)
    ]


def _buffers_on(device: str, outcome: Measured) -> int:
    return sum(report.buffers[device].total_bytes for report in outcome.models.values() if device in report.buffers)


def has_fitted(trial: FinishedTrial) -> bool:
    """Return whether a trial was measured within the device memory."""
    return isinstance(trial.outcome, Measured) and trial.violations.get(VRAM, 0) <= 0


def is_too_large(trial: FinishedTrial, limits: Limits) -> bool:
    """Return whether a trial exceeded the device memory.

    If there is a device, a refusal by the host does not count: more layers on the device may need less of the host.
    """
    outcome = trial.outcome
    if isinstance(outcome, Infeasible) and limits.vram and outcome.excess_bytes is None:
        return _OF_HOST.search(outcome.evidence) is None
    return trial.violations.get(VRAM, 0) > 0


def nothing_fits(trial: FinishedTrial, limits: Limits) -> NothingFits:
    """Return the error for a study in which no setting fits; `trial` had the smallest setting that was tried."""
    if isinstance(trial.outcome, Measured) and trial.outcome.vram is not None:
        need = f"needs {join_bytes([each.peak_bytes for each in trial.outcome.vram.each])}"
    else:
        need = f"was refused: {reason(trial.outcome)}"
    return NothingFits(
        f"no setting fits the budget of {join_bytes(limits.capacities or (0,))}: the smallest {need}",
        remedy="raise the budget, or allow fewer n_gpu_layers or a smaller n_ctx",
    )
