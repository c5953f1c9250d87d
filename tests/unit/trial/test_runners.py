"""A worker leaves with the device, since it holds weights in the device's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layertune.devices.lease import DeviceLease
from layertune.devices.target import Target
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.effort import ONCE
from layertune.trial.outcome import Measured
from layertune.trial.runners import LeasingRunner
from small_study import space

CPU = Target("cpu", "CPU")


class Wanted(DeviceLease):
    """A lease that another process wants at the first `n_waiting` looks."""

    def __init__(self, folder: Path, n_waiting: int) -> None:
        super().__init__(CPU, folder, warn=print)
        self.n_waiting = n_waiting

    def is_wanted(self) -> bool:
        self.n_waiting -= 1
        return self.n_waiting >= 0


class Resident(FakeRunner):
    """Counts how often it is closed."""

    n_closed = 0

    def close(self) -> None:
        self.n_closed += 1


def settings() -> SplitSettings:
    return space().canonical(space().smallest())


@contextmanager
def running(folder: Path, n_waiting: int) -> Iterator[tuple[Resident, LeasingRunner]]:
    trials = Resident()
    runner = LeasingRunner(trials, Wanted(folder, n_waiting))
    try:
        yield trials, runner
    finally:
        runner.close()


def test_the_worker_is_kept_until_another_process_waits_for_the_device(tmp_path: Path) -> None:
    with running(tmp_path, 0) as (trials, runner):
        for _ in range(3):
            assert isinstance(runner.run(settings(), ONCE), Measured)
        assert trials.n_closed == 0


def test_the_worker_is_closed_once_for_each_process_that_waits(tmp_path: Path) -> None:
    with running(tmp_path, 2) as (trials, runner):
        for _ in range(4):
            runner.run(settings(), ONCE)
        assert (trials.n_closed, len(trials.ran)) == (2, 4)


def test_closing_the_runner_releases_the_lease(tmp_path: Path) -> None:
    waited: list[str] = []
    with running(tmp_path, 0) as (_, runner):
        runner.prepare(settings())
        runner.close()
        other = DeviceLease(CPU, tmp_path, warn=print)
        other.acquire(waited.append)
        other.release()
    assert waited == []
