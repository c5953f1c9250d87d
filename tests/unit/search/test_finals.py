"""The finals over a study's best: in turns, durable, ended early or in time, and taken up after a kill."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from finalists import outcomes
from layertune.errors import Interrupted, StorageError
from layertune.results.trial_summary import trial_info
from layertune.results.trials import FinishedTrial, contenders, front
from layertune.search.finals import Finals, RoundMeasured, round_order
from layertune.search.schedule import Schedule
from layertune.search.search import Search
from layertune.search.storage import JOURNAL_NAME
from layertune.search.study_record import Rounds, StudyRecord, with_rounds
from layertune.search.task import Event
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.limits import Limits
from layertune.testing import FakeRunner, measured
from layertune.testing.fake_runner import Noise
from layertune.trial.effort import Effort
from layertune.trial.outcome import Failed, Infeasible, Measured, TrialOutcome
from layertune.units import MIB
from small_study import ROUNDS, TRIALS, quiet, search, space, stored, task, with_finals

N_TRIALS = 9


def settings(n_gpu_layers: int) -> SplitSettings:
    engine = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=256, n_ubatch=256, n_threads=1)
    return SplitSettings.of({"chat": engine, "code": engine})


def finalist(number: int) -> FinishedTrial:
    return FinishedTrial.of(number, settings(number), measured(settings(number)), {"vram": -1.0})


FINALISTS = [finalist(number) for number in (0, 3, 5, 7)]


def record() -> StudyRecord:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return StudyRecord(optuna.create_study())


def never() -> bool:
    return False


def always() -> bool:
    return True


def all_of_them(_rounds: Rounds) -> set[int]:
    return {each.number for each in FINALISTS}


def hold(
    runner: FakeRunner,
    n_rounds: int,
    kept: StudyRecord | None = None,
    *,
    effort: Effort = ROUNDS,
    n_attempts: int = 1,
    time_is_up: Callable[[], bool] = never,
    left: Callable[[Rounds], set[int]] = all_of_them,
    on_round: Callable[[RoundMeasured], None] = quiet,
) -> Rounds:
    kept = kept or record()
    schedule = Schedule(
        n_attempts=n_attempts,
        n_rounds=n_rounds,
        n_finalists=4,
        finals_effort=effort,
    )
    Finals(schedule, kept, N_TRIALS, seed=1).hold(FINALISTS, runner, on_round, time_is_up, left)
    return kept.rounds("finals", str(N_TRIALS))


WILD = Noise(load=0.3)


def test_every_finalist_is_measured_once_in_every_round() -> None:
    runner = FakeRunner(noise=WILD)
    rounds = hold(runner, 5)
    assert rounds.keys() == {0, 3, 5, 7}
    assert all(list(each) == [0, 1, 2, 3, 4] for each in rounds.values())
    assert len(runner.ran) == 5 * 4
    assert len({id(outcome) for each in rounds.values() for outcome in each.values()}) == 5 * 4


def test_rounds_follow_one_another_each_in_its_own_order() -> None:
    runner = FakeRunner(noise=WILD)
    hold(runner, 5)
    ran = [each["chat"].n_gpu_layers for each in runner.ran]
    assert [ran[4 * n_round : 4 * n_round + 4] for n_round in range(5)] == [
        round_order([0, 3, 5, 7], n_round, "1 finals") for n_round in range(5)
    ]
    assert len({tuple(ran[4 * n_round : 4 * n_round + 4]) for n_round in range(5)}) > 1


def test_a_measurement_is_durable_before_the_next_one_begins() -> None:
    kept, n_durable = record(), list[int]()

    def before(_settings: SplitSettings) -> None:
        n_durable.append(sum(map(len, kept.rounds("finals", str(N_TRIALS)).values())))

    hold(FakeRunner(before=before), 3, kept)
    assert n_durable == list(range(12))


def test_finals_end_at_the_plans_number_of_rounds() -> None:
    for n_rounds in (0, 1, 2, 4):
        runner = FakeRunner(noise=WILD)
        hold(runner, n_rounds)
        assert len(runner.ran) == n_rounds * 4


def test_each_round_measures_only_what_is_left() -> None:
    asked: list[Rounds] = []

    def left(rounds: Rounds) -> set[int]:
        asked.append(rounds)
        return [{0, 3, 7}, {3, 7}, set[int]()][len(asked) - 1]

    runner, events = FakeRunner(noise=WILD), list[RoundMeasured]()
    rounds = hold(runner, 6, left=left, on_round=events.append)
    assert {number: len(each) for number, each in rounds.items()} == {0: 2, 3: 3, 5: 1, 7: 3}
    assert len(runner.ran) == 4 + 3 + 2
    assert [each.n_contenders for each in events] == [4, 4, 4, 3, 3, 3, 2, 2, 0]
    assert [max(map(len, each.values())) for each in asked] == [1, 2, 3]


def test_what_is_left_is_asked_again_of_the_same_rounds_after_a_cut() -> None:
    """A later round that has begun already does not change which contenders it measures."""

    def left(rounds: Rounds) -> set[int]:
        return {0, 3} if max(map(len, rounds.values())) == 1 else {3}

    kept, cut = record(), FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(cut.ran) == 6:
            raise KeyboardInterrupt

    cut.before = before
    with pytest.raises(KeyboardInterrupt):
        hold(cut, 2, kept, left=left)
    again = FakeRunner()
    rounds = hold(again, 2, kept, left=left)
    assert len(again.ran) == 1
    assert {number: len(each) for number, each in rounds.items()} == {0: 2, 3: 2, 5: 1, 7: 1}


def test_the_first_round_is_held_although_the_time_is_up() -> None:
    runner = FakeRunner(noise=WILD)
    rounds = hold(runner, 6, time_is_up=always)
    assert len(runner.ran) == 4
    assert all(list(each) == [0] for each in rounds.values())


def test_a_round_that_has_begun_is_finished_after_the_time_is_up() -> None:
    runner = FakeRunner(noise=WILD)
    hold(runner, 6, time_is_up=lambda: len(runner.ran) >= 4 * 4 - 1)
    assert len(runner.ran) == 4 * 4


def test_events_have_how_much_of_a_round_is_left() -> None:
    events: list[Event] = []
    hold(FakeRunner(), 3, on_round=events.append)
    rounds = [event for event in events if isinstance(event, RoundMeasured)]
    assert [(each.n_round, each.n_left) for each in rounds] == [(n, left) for n in range(3) for left in (3, 2, 1, 0)]
    assert {each.n_contenders for each in rounds} == {4}
    assert all(isinstance(each.outcome, Measured) for each in rounds)


def test_the_finals_measure_no_latencies_beside_a_prefill() -> None:
    runner = FakeRunner(noise=WILD)
    hold(runner, 5)
    assert set(runner.efforts) == {replace(ROUNDS, n_beside_prefill=0)}


def test_a_disturbed_round_is_measured_again_and_the_finals_go_on() -> None:
    runner = FakeRunner(disturbances={1: "another program took 1 GiB"})
    rounds = hold(runner, 3, n_attempts=2)
    assert len(runner.ran) == 3 * 4 + 1
    assert runner.ran[1] == runner.ran[2]
    warnings = [
        outcome.warnings for each in rounds.values() for outcome in each.values() if isinstance(outcome, Measured)
    ]
    assert sorted(warnings)[-1] == ("measured again, since another program took 1 GiB",)


@pytest.mark.parametrize("n_run", [1, 2, 4, 5, 7, 12])
def test_finals_that_were_cut_off_go_on_with_what_was_not_measured(n_run: int) -> None:
    kept, runner = record(), FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_run:
            raise KeyboardInterrupt

    runner.before = before
    with pytest.raises(KeyboardInterrupt):
        hold(runner, 3, kept)
    again = FakeRunner()
    rounds = hold(again, 3, kept)
    assert len(again.ran) == 12 - (n_run - 1)
    assert all(list(each) == [0, 1, 2] for each in rounds.values())


def test_finals_that_were_cut_off_keep_the_order_of_the_round() -> None:
    whole, kept, cut = FakeRunner(noise=WILD), record(), FakeRunner()
    hold(whole, 3)

    def before(_settings: SplitSettings) -> None:
        if len(cut.ran) == 6:
            raise KeyboardInterrupt

    cut.before = before
    with pytest.raises(KeyboardInterrupt):
        hold(cut, 3, kept)
    again = FakeRunner()
    hold(again, 3, kept)
    assert cut.ran[:-1] + again.ran == whole.ran


def test_finals_that_are_over_measure_nothing_more() -> None:
    kept = record()
    hold(FakeRunner(), 6, kept)
    again = FakeRunner()
    hold(again, 6, kept)
    assert again.ran == []


def test_finals_after_further_trials_begin_anew() -> None:
    kept = record()
    hold(FakeRunner(), 3, kept)
    assert kept.rounds("finals", str(N_TRIALS + 1)) == {}
    runner = FakeRunner()
    first_two = FINALISTS[:2]
    Finals(with_finals(3), kept, N_TRIALS + 1, seed=1).hold(first_two, runner, quiet, never, lambda _rounds: {0, 3})
    assert len(runner.ran) == 6
    assert len(kept.rounds("finals", str(N_TRIALS))) == 4


@pytest.mark.parametrize("n_contenders", [0, 1])
def test_with_less_than_two_contenders_nothing_is_measured(n_contenders: int) -> None:
    runner = FakeRunner()
    Finals(with_finals(3), record(), N_TRIALS, seed=1).hold(FINALISTS[:n_contenders], runner, quiet, never, all_of_them)
    assert runner.ran == []


LIMITS = Limits((200 * MIB,), 0, None, n_processes=1, file_bytes={"chat": MIB, "code": MIB})


@pytest.mark.parametrize(
    ("last", "stays"),
    [
        (measured(settings(3)), True),
        (Infeasible("load", "chat", "no room", 7, 0.1), False),
        (replace(measured(settings(3)), vram=measured(settings(20)).vram), False),
    ],
)
def test_one_round_that_breaks_a_limit_takes_the_finalist_off_the_front(last: TrialOutcome, stays: bool) -> None:
    good = measured(settings(3))
    found = with_rounds(finalist(3), LIMITS, {0: good, 1: last, 2: good})
    other = with_rounds(finalist(1), LIMITS, {0: measured(settings(1))})
    assert (found.feasible() is not None) is stays
    assert (found in contenders([other, found])) is stays
    assert found.violations["vram"] > 0 or stays


def test_a_round_that_crashed_is_no_figure_and_breaks_no_limit() -> None:
    crashed = Failed("crashed", "SIGSEGV", (), 0.1)
    found = with_rounds(finalist(3), LIMITS, {0: measured(settings(3)), 1: crashed})
    assert list(outcomes(found)) == [0]
    assert found.feasible() is not None


def test_a_finalist_whose_rounds_all_failed_is_no_contender() -> None:
    crashed = Failed("crashed", "SIGSEGV", (), 0.1)
    lost = with_rounds(finalist(3), LIMITS, dict.fromkeys(range(3), crashed))
    other = with_rounds(finalist(1), LIMITS, {0: measured(settings(1))})
    assert contenders([lost, other]) == [other]


# From here on whole studies.

FIRST = [
    space().settings({"chat.n_gpu_layers": chat, "code.n_gpu_layers": code}) for chat, code in ((0, 0), (7, 3), (2, 5))
]
BASELINES = [space().canonical(FIRST[2])]


def study(folder: Path, n_rounds: int = 3, **changes: object) -> Search:
    values = {"sampler": "random", "n_trials": 5, "initial_design": FIRST, "baselines": BASELINES}
    return search(folder, **values | {"schedule": with_finals(n_rounds)} | changes)


def n_in_finals(finished: list[FinishedTrial]) -> int:
    return sum(bool(trial.rounds("finals")) for trial in finished)


def test_a_study_ends_with_its_finals_and_only_their_figures_count(tmp_path: Path) -> None:
    runner = FakeRunner()
    lucky = 1  # the second trial of the search ran on a machine twice as fast
    runner.machine_speed = lambda n_run: 2.0 if n_run == lucky else 1.0
    held = study(tmp_path)
    assert held.run(runner, quiet) == "all 5 trials are done"
    finished = held.finished()
    again = [trial for trial in finished if trial.rounds("finals")]
    assert len(runner.ran) == 5 + sum(len(trial.rounds("finals")) for trial in again)
    assert finished[lucky] in again
    first, metric = finished[lucky].outcome, finished[lucky].metric("chat", "tokens_per_s")
    assert isinstance(first, Measured)
    assert metric is not None
    assert metric.median == pytest.approx(first.models["chat"].samples.tokens_per_s[0] / 2)
    assert contenders(finished) == again
    assert any(trial.settings in BASELINES for trial in again)


def test_all_models_at_once_are_measured_for_the_contenders_only_where_the_search_is_not_after_it(
    tmp_path: Path,
) -> None:
    alone = replace(TRIALS, together=False, repeat_together=False)
    rounds = with_finals(3, effort=replace(ROUNDS, repeat_together=False))
    held = study(tmp_path, schedule=replace(rounds, effort=alone))
    held.run(FakeRunner(), quiet)
    for trial in held.finished():
        together = trial.metric("chat", "tokens_per_s_together")
        assert (together is not None) == bool(trial.rounds("finals"))
        assert trial_info(trial, None, None).metrics is not None


def test_a_study_holds_more_finals_where_noise_may_decide_them(tmp_path: Path) -> None:
    n_measured = []
    for noise in (Noise(load=0.0005), WILD):
        folder = tmp_path / str(noise.load)
        folder.mkdir()
        runner = FakeRunner(noise=noise)
        search(folder, n_trials=5, schedule=with_finals(8)).run(runner, quiet)
        n_measured.append(len(runner.ran))
    assert n_measured[0] < n_measured[1]


def test_without_finals_the_searchs_own_figures_count(tmp_path: Path) -> None:
    runner = FakeRunner()
    held = study(tmp_path, n_rounds=0)
    held.run(runner, quiet)
    assert len(runner.ran) == 5
    assert n_in_finals(held.finished()) == 0
    assert contenders(held.finished())


@pytest.mark.parametrize("into", [0, 1, 2])
def test_a_study_that_is_interrupted_in_its_finals_measures_nothing_twice_and_loses_nothing(
    into: int, tmp_path: Path
) -> None:
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    straight.mkdir()
    cut.mkdir()
    whole = FakeRunner()
    study(straight).run(whole, quiet)
    n_finals = len(whole.ran) - 5
    assert into < n_finals
    runner = FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == 5 + into + 1:
            raise KeyboardInterrupt

    runner.before = before
    with pytest.raises(Interrupted, match="interrupted after 5 trials; all of them are kept"):
        study(cut).run(runner, quiet)
    assert sum(map(len, StudyRecord(stored(cut)).rounds("finals", "5").values())) == into
    again = FakeRunner()
    held = study(cut)
    held.run(again, quiet)
    assert len(again.ran) == n_finals - into
    assert held.finished() == study(straight).finished()


def test_a_study_that_is_interrupted_in_the_first_round_keeps_its_front(tmp_path: Path) -> None:
    """Until all were measured again, the few that were are no better than the others."""
    screening, runner = study(tmp_path, n_rounds=0), FakeRunner()
    screening.run(FakeRunner(), quiet)
    on_front = [trial.number for trial in front(screening.finished(), task().objectives)]

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == 2:
            raise KeyboardInterrupt

    runner.before = before
    with pytest.raises(Interrupted):
        study(tmp_path).run(runner, quiet)
    cut = study(tmp_path).finished()
    assert len(on_front) > 1
    assert [trial.number for trial in front(cut, task().objectives)] == on_front


def test_a_study_whose_time_is_up_still_holds_the_first_round(tmp_path: Path) -> None:
    study(tmp_path, n_rounds=0).run(FakeRunner(), quiet)
    late = study(tmp_path, n_rounds=6, n_trials=99, timeout_s=0.0)
    runner = FakeRunner(noise=WILD)
    assert late.run(runner, quiet) == "the time is up"
    again = [trial for trial in late.finished() if trial.rounds("finals")]
    assert again
    assert all(len(trial.rounds("finals")) == 1 for trial in again)
    assert len(runner.ran) == len(again)


def test_a_study_with_finals_that_is_over_runs_nothing_more(tmp_path: Path) -> None:
    study(tmp_path).run(FakeRunner(), quiet)
    again = FakeRunner()
    assert study(tmp_path).run(again, quiet) == "all 5 trials are done"
    assert again.ran == []


def test_a_study_that_goes_on_with_further_trials_holds_finals_over_all_of_them(tmp_path: Path) -> None:
    study(tmp_path).run(FakeRunner(), quiet)
    longer, runner = study(tmp_path, n_trials=7), FakeRunner()
    assert n_in_finals(longer.finished()) > 0
    longer.run(runner, quiet)
    n_rounds = sum(len(trial.rounds("finals")) for trial in longer.finished())
    assert len(runner.ran) == 2 + n_rounds > 2


def test_the_first_load_of_a_study_that_goes_on_with_its_finals_is_prepared(tmp_path: Path) -> None:
    study(tmp_path, n_rounds=0).run(FakeRunner(), quiet)
    runner = FakeRunner()
    study(tmp_path).run(runner, quiet)
    assert runner.ran
    assert len(runner.prepared) == 1


def test_a_storage_that_goes_away_in_the_finals_is_one_sentence(tmp_path: Path) -> None:
    runner = FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == 5 + 2:
            (tmp_path / JOURNAL_NAME).unlink()
            (tmp_path / JOURNAL_NAME).mkdir()

    runner.before = before
    with pytest.raises(StorageError, match="cannot be read or written"):
        study(tmp_path).run(runner, quiet)


def test_a_storage_that_goes_away_between_two_attempts_is_one_sentence(tmp_path: Path) -> None:
    def before(_settings: SplitSettings) -> None:
        (tmp_path / JOURNAL_NAME).unlink()
        (tmp_path / JOURNAL_NAME).mkdir()

    runner = FakeRunner(disturbances={0: "noise"}, before=before)
    with pytest.raises(StorageError, match="cannot be read or written"):
        study(tmp_path, schedule=Schedule(n_attempts=2)).run(runner, quiet)
