"""A trial's worker and the servers that its export starts make the same contexts and buffers, by llama.cpp's log."""

import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tools import card_server

import finished_study
from deployments import DEMO_FILES
from layertune.devices.target import Target
from layertune.export.llama_server import command
from layertune.results.result import HostLimitsInfo, Result
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import ONCE
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB
from log_fields import buffer_sizes, by_model, context_fields, threads
from served import TOOLS, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("needs_rpc"),
    pytest.mark.skipif(not (TOOLS / "llama-server").exists(), reason="no llama-server here; make tools builds it"),
]

CARD = Target("emulated", "emulated card", vram_bytes=480 * MIB, n_threads=1)
SETTINGS = SplitSettings.of(
    {
        "chat": EngineSettings(
            n_gpu_layers=20,
            n_ctx=1024,
            n_batch=256,
            n_ubatch=128,
            n_threads=1,
            n_cpu_ffn=15,
            tensor_overrides=("attn_q=CPU", "token_embd=CPU"),
            kv_offload="off",
            op_offload="off",
        ),
        "code": EngineSettings(
            n_gpu_layers=8,
            n_ctx=2048,
            n_batch=512,
            n_ubatch=256,
            n_threads=1,
            n_parallel=2,
            kv_unified="on",
            n_threads_batch=2,
        ),
    }
)
FIELDS = {
    "n_seq_max", "n_ctx", "n_ctx_seq", "n_batch", "n_ubatch", "flash_attn", "kv_unified", "n_outputs_max",
    "n_outputs_max_per_seq"
}  # fmt: skip
BUFFERS = {("model", "RPC"), ("compute", "RPC"), ("KV", "CPU"), ("compute", "CPU"), ("output", "CPU")}


@dataclass(frozen=True)
class Logs:
    """The log of each model, in the trial's worker and in its server."""

    worker: dict[str, list[str]]
    servers: dict[str, list[str]]


@pytest.fixture(scope="module")
def logs(demo_pair: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Logs:
    folder = tmp_path_factory.mktemp("logs")
    measured, told = run_trial(demo_pair, folder / "worker.log")
    study = exported(measured)
    servers = {}
    with ExitStack() as cards:
        for name in SETTINGS:
            endpoint = cards.enter_context(card_server(CARD.vram_bytes or 0))
            words = command(study, study.trial(0), name, str(demo_pair[name].parent))
            with served([str(TOOLS / words[0]), *words[1:], "--rpc", endpoint], folder) as server:
                servers[name] = server.logged().splitlines()
    return Logs(dict(zip(SETTINGS, by_model(told), strict=True)), servers)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_field_of_the_context_is_the_worker_s(logs: Logs, name: str) -> None:
    worker = context_fields(logs.worker[name], SETTINGS[name].flash_attn)
    server = context_fields(logs.servers[name], "on")  # as exported: what "auto" became
    assert worker.keys() >= FIELDS
    assert server == worker


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_buffer_is_as_large_as_the_worker_s(logs: Logs, name: str) -> None:
    worker = buffer_sizes(logs.worker[name])
    assert worker.keys() >= BUFFERS
    assert (("KV", "RPC") in worker) == (SETTINGS[name].kv_offload == "on")
    assert buffer_sizes(logs.servers[name]) == worker


@pytest.mark.parametrize("name", list(SETTINGS))
def test_the_server_has_the_worker_s_threads(logs: Logs, name: str) -> None:
    engine = SETTINGS[name]
    assert threads(logs.servers[name]) == (engine.n_threads, engine.prompt_threads)


def run_trial(files: dict[str, Path], log: Path) -> tuple[Measured, list[str]]:
    """Run a trial in a worker whose standard error, where llama.cpp's log goes, is kept."""
    context = TrialContext(
        CARD, {name: str(path) for name, path in files.items()}, dict.fromkeys(files, (32, 4)), 1, 240.0
    )
    keeping = ("sh", "-c", f'exec "$0" -m layertune.trial.worker "$@" 2>"{log}"', sys.executable)
    with closing(ProcessTrialRunner(context, command=keeping)) as runner:
        outcome = runner.run(SETTINGS, ONCE)
    assert isinstance(outcome, Measured), outcome
    return outcome, log.read_text(encoding="utf-8", errors="replace").splitlines()


def exported(measured: Measured) -> Result:
    """Return a study of the one trial."""
    model = finished_study.result().models["chat"]
    return finished_study.result(
        trials=[FinishedTrial.of(0, SETTINGS, measured, {"vram": -1.0})],
        models={name: model.model_copy(update={"file": DEMO_FILES[name]}) for name in SETTINGS},
        host_limits=HostLimitsInfo(n_cpus=1, ram_per_model_bytes=None),
    )
