"""A hand-made recorded table of two models with three engines each: 10 MiB a layer, and faster with each."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from layertune.config import parse_config
from layertune.memory import GPU, HOST, ModelPlan, PlannedBytes
from layertune.settings import EngineSettings
from layertune.space.search_space import SearchSpace
from layertune.testing.recorded_table import Cell, CellKind, EnginePlan, ModelCell, RecordedTable
from layertune.trial.outcome import ModelSamples
from layertune.units import MIB

N_LAYERS = {"chat": 30, "code": 18}
LAYERS = {"chat": [0, 5, 31], "code": [0, 2, 19]}
N_PROMPT, N_GENERATE = 8, 2


def space() -> SearchSpace:
    fixed = {"n_ctx": 256, "n_batch": 32, "n_ubatch": 32, "n_threads": 1}
    models = {
        name: {
            "path": f"{name}.gguf",
            "workload": {"n_prompt": N_PROMPT, "n_generate": N_GENERATE},
            "space": {"n_gpu_layers": layers} | fixed,
        }
        for name, layers in LAYERS.items()
    }
    return SearchSpace.of(parse_config({"models": models}, source="test", folder=Path()), N_LAYERS, n_threads=1)


def tg_tokens_per_s(engine: EngineSettings) -> float:
    return 10.0 + engine.n_gpu_layers


def table(loads: Sequence[float] = (1.0,), repeats: Sequence[float] = (1.0, 1.0), joint: float = 1.0) -> RecordedTable:
    """Measure every engine once for each of `loads`, each time with these `repeats`; all are factors of its speed.
    Joint cells are all other pairs, with a factor of their own."""
    all_of_it = space()
    engines = {name: list(all_of_it.engines(name)) for name in LAYERS}
    pairs = list(product(range(3), range(3)))

    def cell(kind: CellKind, pair: tuple[int, int], factor: float) -> Cell:
        chosen = {name: engines[name][place] for name, place in zip(LAYERS, pair, strict=True)}
        models = {name: _measured(engine, [factor * each for each in repeats]) for name, engine in chosen.items()}
        return Cell(kind, models, sum(each.n_gpu_layers for each in chosen.values()) * 10 * MIB)

    factor_cells = [cell("factor", pair, load) for load in loads for pair in pairs if pair[0] == pair[1]]
    joint_cells = [cell("joint", pair, joint) for pair in pairs if pair[0] != pair[1]]
    return RecordedTable(
        name="small",
        device="emulated card, made by hand",
        workloads=dict.fromkeys(LAYERS, (N_PROMPT, N_GENERATE)),
        n_layers=N_LAYERS,
        n_parallel=dict(all_of_it.n_parallel),
        dimensions=all_of_it.dimensions,
        plans={name: tuple(map(_planned, of_model)) for name, of_model in engines.items()},
        cells=(*factor_cells, *joint_cells),
    )


def _measured(engine: EngineSettings, factors: Sequence[float]) -> ModelCell:
    tg = [tg_tokens_per_s(engine) * each for each in factors]
    samples = ModelSamples(
        pp_tokens_per_s=tuple(10 * each for each in tg),
        tg_tokens_per_s=tuple(tg),
        ttft_s=tuple(N_PROMPT / 10 / each for each in tg),
        tokens_per_s=tuple(N_GENERATE / (N_PROMPT / 10 / each + N_GENERATE / each) for each in tg),
        tokens_per_s_together=(tg[0] * N_GENERATE / (N_PROMPT / 10 + N_GENERATE) / 2,),
    )
    return ModelCell(engine, samples, load_s=1.0 + engine.n_gpu_layers)


def _planned(engine: EngineSettings) -> EnginePlan:
    devices = {
        GPU: PlannedBytes(engine.n_gpu_layers * 10 * MIB, 0, 0),
        HOST: PlannedBytes(MIB, 0, 0, output_bytes=1024),
    }
    return EnginePlan(engine, ModelPlan(devices, "computed", flash_attn=True))
