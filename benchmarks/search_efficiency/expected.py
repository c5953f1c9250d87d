"""What is expected of a recorded table's settings before anything is measured, by bandwidth."""

from pathlib import Path

from layertune.config import Workload
from layertune.devices.host_rates import HostRates
from layertune.memory import EngineMemory, ModelMemory, ModelPlan
from layertune.memory.placement import TensorInventory
from layertune.memory.weight_bytes import WeightsUsed
from layertune.models import ModelShape, cached_shape
from layertune.models.known_models import find_known
from layertune.models.standin import standin_skeleton
from layertune.settings import EngineSettings
from layertune.space.feasible import FeasibleSpace
from layertune.study.bandwidth_model import DeviceRate, MachineRates
from layertune.study.expected_speeds import EnginesByModel
from layertune.testing import RecordedTable

N_CARD_THREADS = 2
_MODELS = Path(__file__).resolve().parents[2] / "models"
_SMOLLM2 = _MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf"
_GEMMA3 = _MODELS / "gemma-3-270m-q4_k_m.gguf"

# One thread's and two threads' bytes and operations per second; those of the machine of the tables are not known.
ASSUMED = {
    "two threads twice as fast, slow memory": HostRates((1, 2), (8e9, 16e9), (70e9, 140e9)),
    "two threads twice as fast, fast memory": HostRates((1, 2), (20e9, 40e9), (70e9, 140e9)),
    "two threads hardly faster than one": HostRates((1, 2), (17e9, 18e9), (70e9, 85e9)),
}


class TableWork:
    """A model of a table: its recorded plans, and the weights that a token uses by the model's header."""

    def __init__(self, recorded: EngineMemory, shape: ModelShape) -> None:
        self._recorded = recorded
        self._model = ModelMemory(shape, TensorInventory.plain(shape), lambda _key: None)

    def plan(self, settings: EngineSettings) -> ModelPlan:
        return self._recorded.plan(settings)

    def weights_used(self, settings: EngineSettings) -> dict[str, WeightsUsed]:
        return self._model.weights_used(settings)


def expected_engines(table: RecordedTable, feasible: FeasibleSpace, host: HostRates) -> EnginesByModel:
    """Return the engines of a table whose models have one file each; needs the models of `make models`."""
    card = DeviceRate(host.reads(N_CARD_THREADS), host.computes(N_CARD_THREADS))
    works = {
        model: TableWork(table.planner.models[model], shape)
        for model, shape in zip(table.models, shapes(table.name), strict=True)
    }
    workloads = {model: Workload(n_prompt=n[0], n_generate=n[1]) for model, n in table.workloads.items()}
    return EnginesByModel(table.space, feasible, works, workloads, MachineRates(host, (card,)))


def shapes(table: str) -> list[ModelShape]:
    if table == "smollm2-gemma3":
        return [cached_shape(_SMOLLM2), cached_shape(_GEMMA3)]
    return [cached_shape(_GEMMA3), cached_shape(standin_skeleton(find_known("Qwen2.5-0.5B-Instruct")))]
