"""What a worker may carry over from one trial to the next; on a real ledger, without a model."""

import sys
from collections.abc import Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("the emulated card needs POSIX record locks", allow_module_level=True)

from layertune.devices.emulated.ledger import Ledger
from layertune.devices.target import Target
from layertune.memory.buffers import HOST, BufferBytes
from layertune.settings import EngineSettings
from layertune.trial.messages import ModelTask, TrialRequest
from layertune.trial.worker_state import WorkerState, foreign_memory
from layertune.units import MIB
from layertune.vram.vram_report import VramReport


class NoDevice:
    """A device without memory."""

    def devices(self, model: str) -> list[int]:
        return []

    def settle(self) -> None:
        return

    def close(self) -> None:
        return


@pytest.fixture
def state() -> Iterator[WorkerState]:
    ledger = Ledger.create(1000 * MIB)
    engine = EngineSettings(n_gpu_layers=1, n_ctx=256, n_batch=8, n_ubatch=8, n_threads=1)
    target = Target("emulated", "emulated card", vram_bytes=1000 * MIB, n_threads=1)
    request = TrialRequest((ModelTask("chat", "a.gguf", engine, 8, 2),), target, (ledger.descriptor,), 0, None)
    yield WorkerState(request, NoDevice(), [None])
    ledger.close()


def report(scope: str = "process", **phases: int) -> VramReport:
    return VramReport(500 * MIB, 0, scope, "nvml", phases)


BUFFERS = {"chat": {"gpu0": BufferBytes(weights_bytes=100 * MIB), HOST: BufferBytes(weights_bytes=7 * MIB)}}


def test_memory_in_use_before_the_first_load_is_not_missing(state: WorkerState) -> None:
    assert state.not_returned(300 * MIB) is None
    assert state.not_returned(300 * MIB) is None
    assert state.not_returned(310 * MIB) == "10.0 MiB were not returned to the device"


def test_a_worker_stays_if_its_memory_is_returned(state: WorkerState) -> None:
    loaded = 400 * MIB  # 100 of buffers, 300 of the driver's
    assert state.can_stay(report(load=loaded, unload=300 * MIB), BUFFERS)
    assert not state.can_stay(report(load=loaded, unload=303 * MIB), BUFFERS)


def test_a_worker_stays_without_a_device(state: WorkerState) -> None:
    assert state.can_stay(None, BUFFERS)


def test_a_worker_does_not_stay_if_only_the_whole_device_is_reported(state: WorkerState) -> None:
    assert not state.can_stay(report("device", load=100 * MIB, unload=0), BUFFERS)


def test_a_worker_does_not_stay_if_a_reading_is_missing(state: WorkerState) -> None:
    assert not state.can_stay(report(load=100 * MIB), BUFFERS)


@pytest.mark.parametrize(("foreign_bytes", "n_found"), [(None, 0), (0, 0), (15 * MIB, 0), (16 * MIB, 1)])
def test_another_programs_memory_disturbs_from_16_mib_on(foreign_bytes: int | None, n_found: int) -> None:
    found = foreign_memory(VramReport(0, 0, "process", "nvml", foreign_bytes=foreign_bytes))
    assert [each.disturbs for each in found] == [True] * n_found
    assert foreign_memory(None) == []
