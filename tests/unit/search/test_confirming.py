"""The rounds after the finals: of what was chosen, told in the place of those that chose, all of it or nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.errors import Interrupted
from layertune.results.trials import FinishedTrial
from layertune.search.finals import MIN_ROUNDS, RoundMeasured, to_confirm
from layertune.search.plan import Event
from layertune.search.study import Search
from layertune.search.study_record import StudyRecord
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.testing.fakes import Noise
from small_study import ROUNDS, plan, quiet, search, space, stored, with_finals

N_TRIALS, N_FINALS, N_CONFIRMING = 5, 3, 4
FIRST = [
    space().settings({"chat.n_gpu_layers": chat, "code.n_gpu_layers": code}) for chat, code in ((0, 0), (7, 3), (2, 5))
]
BASELINES = [space().canonical(FIRST[2])]
WILD = Noise(load=0.3)


def study(folder: Path, n_confirming: int = N_CONFIRMING, **changes: object) -> Search:
    values = {"sampler": "random", "n_trials": N_TRIALS, "first": FIRST, "baselines": BASELINES}
    measuring = with_finals(N_FINALS, n_confirming=n_confirming)
    return search(folder, **values | {"measuring": measuring} | changes)


def chosen(trials: Sequence[FinishedTrial]) -> list[int]:
    return [trial.number for trial in to_confirm(trials, plan().objectives, BASELINES)]


def confirmed(trials: Sequence[FinishedTrial]) -> list[int]:
    return [trial.number for trial in trials if trial.confirming]


def test_what_the_finals_chose_and_the_baselines_are_measured_once_more(tmp_path: Path) -> None:
    events: list[Event] = []
    held, runner = study(tmp_path), FakeRunner(noise=WILD)
    held.run(runner, events.append)
    finished = held.finished()
    assert confirmed(finished) == chosen(finished)
    assert any(trial.settings in BASELINES and trial.confirming for trial in finished)
    n_finalists = sum(bool(trial.rounds) for trial in finished)
    assert len(runner.ran) == N_TRIALS + N_FINALS * n_finalists + N_CONFIRMING * len(chosen(finished))
    kinds = [event.kind for event in events if isinstance(event, RoundMeasured)]
    assert kinds == ["final"] * N_FINALS * n_finalists + ["confirming"] * N_CONFIRMING * len(chosen(finished))


def test_their_figures_are_told_and_choose_nothing(tmp_path: Path) -> None:
    runner = FakeRunner()
    study(tmp_path, n_confirming=0).run(runner, quiet)
    before = study(tmp_path).finished()
    half = FakeRunner(machine_speed=lambda _: 0.5)  # all that is measured from now on is half as fast
    held = study(tmp_path)
    held.run(half, quiet)
    finished = held.finished()
    assert chosen(finished) == chosen(before)
    for trial in (finished[number] for number in chosen(finished)):
        chose, told = trial.metric("chat", "tokens_per_s"), trial.told().metric("chat", "tokens_per_s")
        assert chose is not None
        assert told is not None
        assert told.median == pytest.approx(chose.median / 2)


def test_without_them_those_of_the_finals_are_told(tmp_path: Path) -> None:
    held = study(tmp_path, n_confirming=0)
    held.run(FakeRunner(), quiet)
    assert confirmed(held.finished()) == []
    assert all(trial.told() == trial for trial in held.finished())


def test_without_finals_there_is_nothing_to_confirm(tmp_path: Path) -> None:
    runner = FakeRunner()
    study(tmp_path, measuring=with_finals(0, n_confirming=N_CONFIRMING)).run(runner, quiet)
    assert len(runner.ran) == N_TRIALS


def test_they_end_early_when_all_speeds_are_known(tmp_path: Path) -> None:
    held = study(tmp_path, n_confirming=9)
    held.run(FakeRunner(), quiet)
    assert {len(trial.confirming) for trial in held.finished() if trial.confirming} == {MIN_ROUNDS}


def test_latencies_beside_a_prefill_are_measured_in_the_rounds_that_are_told(tmp_path: Path) -> None:
    held, runner = study(tmp_path), FakeRunner(noise=WILD)
    held.run(runner, quiet)
    n_confirmed = len(confirmed(held.finished()))
    without = replace(ROUNDS, n_beside_prefill=0)
    last = runner.efforts[-N_CONFIRMING * n_confirmed :]
    assert set(runner.efforts[N_TRIALS : -N_CONFIRMING * n_confirmed]) == {without}
    assert last == [ROUNDS] * 3 * n_confirmed + [without] * (N_CONFIRMING - 3) * n_confirmed


def test_where_the_time_is_up_after_the_finals_their_figures_are_told(tmp_path: Path) -> None:
    study(tmp_path, measuring=with_finals(0)).run(FakeRunner(), quiet)
    late, runner = study(tmp_path, timeout_s=0.0), FakeRunner(noise=WILD)
    late.run(runner, quiet)
    n_finalists = sum(bool(trial.rounds) for trial in late.finished())
    assert len(runner.ran) == MIN_ROUNDS * n_finalists > 0
    assert confirmed(late.finished()) == []


@pytest.mark.parametrize("into", [0, 1, 5])
def test_a_study_that_is_interrupted_in_them_goes_on_and_tells_all_of_them_or_none(into: int, tmp_path: Path) -> None:
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    straight.mkdir()
    cut.mkdir()
    whole, runner = FakeRunner(), FakeRunner()
    study(straight, n_confirming=3).run(whole, quiet)
    n_confirmed = len(confirmed(study(straight).finished()))
    n_before = len(whole.ran) - 3 * n_confirmed
    assert into < 3 * n_confirmed - 1

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_before + into + 1:
            raise KeyboardInterrupt

    runner.before = before
    held = study(cut, n_confirming=3)
    with pytest.raises(Interrupted):
        held.run(runner, quiet)
    assert sum(map(len, StudyRecord(stored(cut)).rounds("confirming", N_TRIALS).values())) == into
    assert confirmed(held.finished()) == []
    assert chosen(held.finished()) == chosen(study(straight).finished())
    again = FakeRunner()
    resumed = study(cut, n_confirming=3)
    resumed.run(again, quiet)
    assert len(again.ran) == 3 * n_confirmed - into
    assert resumed.finished() == study(straight).finished()


def test_a_round_that_breaks_a_limit_changes_the_choice_and_the_finals_are_told_of_it(tmp_path: Path) -> None:
    """The one that moves up has no rounds of its own yet; a search that goes on measures them."""
    study(tmp_path, n_confirming=0).run(FakeRunner(), quiet)
    held = study(tmp_path, n_confirming=3)
    first = [trial for trial in held.finished() if trial.number in chosen(held.finished())]
    most = max(first, key=FinishedTrial.peak_bytes)
    held.run(FakeRunner(cap_bytes=most.peak_bytes() - 1), quiet)
    finished = held.finished()
    assert finished[most.number].feasible() is None
    assert most.number not in chosen(finished)
    resumed = study(tmp_path, n_confirming=3)
    resumed.run(FakeRunner(), quiet)
    assert confirmed(resumed.finished()) == chosen(resumed.finished())
