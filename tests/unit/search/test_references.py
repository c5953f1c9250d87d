"""One setting measured again and again over a study, to notice a machine that changed."""

from pathlib import Path

import pytest

from layertune.errors import Interrupted, StorageError
from layertune.search.schedule import Schedule
from layertune.search.storage import JOURNAL_NAME
from layertune.search.task import Event, ReferenceMeasured
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort
from layertune.trial.outcome import Failed
from small_study import TRIALS, quiet, search, space

REFERENCE = space().canonical(space().settings({"chat.n_gpu_layers": 3, "code.n_gpu_layers": 3}))


def every(n_between: int, effort: Effort = TRIALS) -> Schedule:
    return Schedule(effort, reference=REFERENCE, n_between=n_between)


def places(runner: FakeRunner) -> list[int]:
    """Return before which runs the reference was measured, itself not counted."""
    at = [n_run for n_run, settings in enumerate(runner.ran) if settings == REFERENCE]
    return [n_run - n_before for n_before, n_run in enumerate(at)]


def n_trials(folder: Path) -> list[int]:
    return [each.n_trials for each in search(folder).references()]


def test_the_reference_is_measured_at_the_start_and_after_every_so_many_trials(tmp_path: Path) -> None:
    runner = FakeRunner()
    search(tmp_path, sampler="random", n_trials=17, schedule=every(8)).run(runner, quiet)
    assert places(runner) == [0, 8, 16]
    assert n_trials(tmp_path) == [0, 8, 16]
    assert len(runner.ran) == 17 + 3


@pytest.mark.parametrize("schedule", [Schedule(), every(0), Schedule(n_between=8)])
def test_without_a_reference_or_an_interval_none_is_measured(schedule: Schedule, tmp_path: Path) -> None:
    runner = FakeRunner()
    search(tmp_path, sampler="random", n_trials=2, schedule=schedule).run(runner, quiet)
    assert len(runner.ran) == 2
    assert n_trials(tmp_path) == []


def interrupted_at(n_run: int) -> FakeRunner:
    runner = FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_run:
            raise KeyboardInterrupt

    runner.before = before
    return runner


@pytest.mark.parametrize(
    ("n_run", "left"),
    [
        (1, [0, 2, 4]),  # in the first reference
        (2, [2, 4]),  # in the first trial, after it
        (4, [2, 4]),  # in the second reference, after two trials
        (5, [4]),
        (6, [4]),
    ],
)
def test_a_reference_that_is_durable_is_not_measured_again_after_a_resume(
    n_run: int, left: list[int], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        search(tmp_path, sampler="random", n_trials=5, schedule=every(2)).run(interrupted_at(n_run), quiet)
    n_before = len(search(tmp_path).finished())
    again = FakeRunner()
    search(tmp_path, sampler="random", n_trials=5, schedule=every(2)).run(again, quiet)
    assert [n_before + place for place in places(again)] == left
    assert n_trials(tmp_path) == [0, 2, 4]


def test_a_reference_that_fails_is_no_reference_and_ends_nothing(tmp_path: Path) -> None:
    runner = FakeRunner(outcomes={0: Failed("crashed", "SIGSEGV", (), 0.1)})
    study = search(tmp_path, sampler="random", n_trials=3, schedule=every(2))
    assert study.run(runner, quiet) == "all 3 trials are done"
    assert [each.n_trials for each in study.references()] == [2]


def test_the_reference_has_the_effort_of_a_trial_and_is_prepared_before_all(tmp_path: Path) -> None:
    effort = Effort(2, 5, 0.1)
    runner = FakeRunner()
    search(tmp_path, sampler="random", n_trials=3, schedule=every(2, effort)).run(runner, quiet)
    assert set(runner.efforts) == {effort}
    assert runner.prepared == [REFERENCE]


def test_without_a_reference_the_first_trial_is_prepared(tmp_path: Path) -> None:
    runner = FakeRunner()
    search(tmp_path, sampler="random", n_trials=2).run(runner, quiet)
    assert runner.prepared == runner.ran[:1]


def drifts(events: list[Event]) -> list[float | None]:
    return [event.drift for event in events if isinstance(event, ReferenceMeasured)]


def test_a_machine_that_becomes_slower_is_told_with_its_speed(tmp_path: Path) -> None:
    events: list[Event] = []
    runner = FakeRunner(machine_speed=lambda n_run: 1.0 if n_run < 4 else 0.8)  # runs 0, 3 and 6 are references
    search(tmp_path, sampler="random", n_trials=5, schedule=every(2)).run(runner, events.append)
    assert drifts(events) == [None, None, pytest.approx(0.8)]


def test_a_steady_machine_is_told_to_be_the_same(tmp_path: Path) -> None:
    events: list[Event] = []
    search(tmp_path, sampler="random", n_trials=3, schedule=every(2)).run(FakeRunner(), events.append)
    assert drifts(events) == [None, None]


def test_what_a_listener_raises_is_its_own_error_and_no_failure_of_the_storage(tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, ReferenceMeasured):
            raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError):
        search(tmp_path, sampler="random", n_trials=1, schedule=every(2)).run(FakeRunner(), listen)


def test_a_storage_that_goes_away_in_a_reference_is_one_sentence(tmp_path: Path) -> None:
    def break_storage(_settings: SplitSettings) -> None:
        (tmp_path / JOURNAL_NAME).unlink()
        (tmp_path / JOURNAL_NAME).mkdir()

    with pytest.raises(StorageError, match="cannot be read or written"):
        search(tmp_path, sampler="random", schedule=every(2)).run(FakeRunner(before=break_storage), quiet)
