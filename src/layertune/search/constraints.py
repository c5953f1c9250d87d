"""The limits of a study, as Optuna constraints: bytes over each limit, kept where at most 0."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.errors import NothingFits
from layertune.memory.buffers import HOST, BufferBytes, resident_bytes
from layertune.results.trial_summary import reason
from layertune.results.trials import FinishedTrial
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.units import format_bytes

VRAM = "vram"

# A refused trial violates the budget by an amount nobody measured; one byte says that it does.
_UNKNOWN_EXCESS_BYTES = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the deployed models may take, in bytes.

    `n_processes` is how many server processes will hold them, `file_bytes` the size of each model's file.
    """

    vram_bytes: int | None
    margin_bytes: int
    ram_per_model_bytes: int | None
    n_processes: int
    file_bytes: Mapping[str, int]

    @property
    def capacity_bytes(self) -> int | None:
        """What may be taken of the device, None where there is none."""
        return None if self.vram_bytes is None else self.vram_bytes - self.margin_bytes

    def ram_excess_bytes(self, name: str, on_host: BufferBytes) -> int:
        """Return by how much a model's host buffers exceed its RAM limit; negative where they keep it."""
        if self.ram_per_model_bytes is None:
            return -1
        return resident_bytes(on_host, self.file_bytes[name]) - self.ram_per_model_bytes

    def violations(self, outcome: TrialOutcome) -> dict[str, float]:
        """Return every limit's excess in bytes; a trial without figures has those that are known."""
        if isinstance(outcome, Measured):
            return self._measured(outcome)
        if isinstance(outcome, Infeasible):
            return {VRAM: float(outcome.excess_bytes or _UNKNOWN_EXCESS_BYTES)}
        return {}

    def _measured(self, outcome: Measured) -> dict[str, float]:
        excess: dict[str, float] = {}
        if self.capacity_bytes is not None and outcome.vram is not None:
            taken_bytes = outcome.vram.peak_bytes + (self.n_processes - 1) * process_overhead_bytes(outcome)
            excess[VRAM] = float(taken_bytes - self.capacity_bytes)
        if self.ram_per_model_bytes is not None:
            for name, report in outcome.models.items():
                on_host = report.buffers.get(HOST, BufferBytes())
                excess[f"ram.{name}"] = float(self.ram_excess_bytes(name, on_host))
        return excess


def process_overhead_bytes(outcome: Measured) -> int:
    """Return what a process takes of the device beside its buffers: a CUDA context, kernels, pools.

    Deployed in n processes, the models take it n times where one worker shows it once (DESIGN, decision 9). It is the
    same trial's peak minus llama.cpp's own buffers; the emulated card has none.
    """
    if outcome.vram is None or outcome.vram.scope == "card":
        return 0
    buffers = sum(
        held.total_bytes
        for report in outcome.models.values()
        for device, held in report.buffers.items()
        if device != HOST
    )
    return max(0, outcome.vram.peak_bytes - buffers)


def check_smallest(trial: FinishedTrial, limits: Limits) -> None:
    """Judge the trial of the space's smallest setting.

    Raises:
        NothingFits: it is over the device memory, and so is every other setting, which needs at least as much.
    """
    if trial.violations.get(VRAM, 0) <= 0:
        return
    budget_bytes = (limits.vram_bytes or 0) - limits.margin_bytes
    if isinstance(trial.outcome, Measured) and trial.outcome.vram is not None:
        need = f"needs {format_bytes(trial.outcome.vram.peak_bytes)}"
    else:
        need = f"was refused: {reason(trial.outcome)}"
    raise NothingFits(
        f"nothing fits the budget of {format_bytes(budget_bytes)}: the smallest setting {need}",
        remedy="raise the budget, or let n_gpu_layers begin lower and n_ctx be smaller",
    )
