"""What disturbs a trial is noticed, and the trial is measured again: real hogs of the processor and of the card."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from layertune.devices.emulated.ledger import SIZE_BYTES
from layertune.devices.host import n_usable_cores
from layertune.devices.target import Target
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress, Stage
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.trial.runners import measure_undisturbed
from layertune.units import MIB

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_rpc")]

ENGINE = EngineSettings(n_gpu_layers=5, n_ctx=256, n_batch=16, n_ubatch=16, n_threads=1)
SETTINGS = SplitSettings.of({"chat": ENGINE})
EFFORT = Effort(2, 1_000_000, 1e-9)  # never enough: it goes on until it is given up
DISTURBED_S = 1.0  # twice the least window that the processor's account is believed for (devices/host_conditions.py)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def measure_with(path: Path, disturb: Callable[[], None], calm: Callable[[], None]) -> tuple[Measured, list[Measured]]:
    """Measure in at most two attempts; `disturb` comes as soon as the first is being clocked, `calm` when it is over.
    The first is measured for DISTURBED_S, however fast this machine is, the second for two repetitions.
    Return the outcome and what was measured again."""
    disturbed_at_s: list[float] = []

    def on_stage(stage: Stage) -> None:
        if stage.name == "solo" and not disturbed_at_s:
            disturb()
            disturbed_at_s.append(time.monotonic())

    def give_up(_progress: Progress) -> str | None:
        long_enough = bool(repeated) or time.monotonic() - disturbed_at_s[0] >= DISTURBED_S
        return "it was long enough" if long_enough else None

    repeated: list[Measured] = []

    def keep(outcome: Measured) -> None:
        repeated.append(outcome)
        calm()

    target = Target("emulated", "emulated card", vram_bytes=400 * MIB, n_threads=1)
    place = TrialContext(target, {"chat": str(path)}, {"chat": (8, 4)}, 0, 300.0)
    with closing(ProcessTrialRunner(place, on_stage=on_stage)) as runner:
        outcome = measure_undisturbed(runner, SETTINGS, EFFORT, 2, keep, give_up)
    assert isinstance(outcome, Measured), outcome
    return outcome, repeated


def test_a_program_that_takes_the_processor_is_noticed_and_the_trial_repeated(
    demo_pair: dict[str, Path], stack: ExitStack
) -> None:
    hogs: list[subprocess.Popen[bytes]] = []

    def hog() -> None:
        code = "import time\nend = time.monotonic() + 120\nwhile time.monotonic() < end: pass"
        for _ in range(n_usable_cores()):
            hogs.append(stack.enter_context(subprocess.Popen([sys.executable, "-c", code])))
            stack.callback(hogs[-1].kill)

    def calm() -> None:
        for process in hogs:
            process.kill()

    outcome, (disturbed,) = measure_with(demo_pair["chat"], hog, calm)
    assert any(" took " in why and "cores" in why for why in disturbed.disturbances)
    assert any(warning.startswith("measured again, since ") for warning in outcome.warnings)
    assert disturbed.models["chat"].samples != outcome.models["chat"].samples


def test_a_program_that_takes_memory_of_the_card_is_noticed_and_the_trial_repeated(demo_pair: dict[str, Path]) -> None:
    def take() -> None:
        code = f"from layertune.devices.emulated.ledger import Ledger; Ledger({ledger()}).take(9, {64 * MIB})"
        subprocess.run([sys.executable, "-c", code], pass_fds=(ledger(),), check=True)

    outcome, (disturbed,) = measure_with(demo_pair["chat"], take, calm=lambda: None)
    assert "another program took 64.0 MiB of the device" in disturbed.disturbances
    assert not any("another program took" in why for why in outcome.disturbances)
    assert any("another program took 64.0 MiB of the device" in warning for warning in outcome.warnings)


def ledger() -> int:
    """Return a descriptor of the one card that this process holds: a deleted file of one page of counters."""
    found = [int(link.name) for link in Path("/proc/self/fd").iterdir() if _is_ledger(link)]
    assert found
    return min(found)


def _is_ledger(link: Path) -> bool:
    try:
        return "(deleted)" in str(link.readlink()) and link.stat().st_size == SIZE_BYTES
    except OSError:
        return False
