"""Validation runs after the finals: reported instead of the rounds that chose, for all of the choice or for none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage

from layertune.config import Floor, Objective
from layertune.errors import Interrupted
from layertune.results.choice import Choice, compare_rounds
from layertune.results.estimates import Estimates
from layertune.results.statistics import compare
from layertune.results.trial_summary import reason
from layertune.results.trials import FinishedTrial, feasible_trials
from layertune.sampler.selection import estimates, speed_priors
from layertune.search.finals import RoundMeasured, to_validate
from layertune.search.search import Search
from layertune.search.study_record import StudyRecord
from layertune.search.task import Event
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.testing.fake_runner import Noise, true_tokens_per_s
from layertune.trial.outcome import Failed, Measured, TrialOutcome
from layertune.units import MIB
from small_study import ROUNDS, TRIALS, on_a_gpu, quiet, search, space, stored, task, with_finals

N_TRIALS, N_FINALS, N_CONFIRMING = 5, 3, 4
FIRST = [
    space().settings({"chat.n_gpu_layers": chat, "code.n_gpu_layers": code}) for chat, code in ((0, 0), (7, 3), (2, 5))
]
BASELINES = [space().canonical(FIRST[2])]
WILD = Noise(load=0.3)


def study(folder: Path, n_confirming: int = N_CONFIRMING, **changes: object) -> Search:
    values = {"sampler": "random", "n_trials": N_TRIALS, "initial_design": FIRST, "baselines": BASELINES}
    schedule = with_finals(N_FINALS, n_confirming=n_confirming)
    return search(folder, **values | {"schedule": schedule} | changes)


def known_of(trials: Sequence[FinishedTrial]) -> Estimates:
    feasible = feasible_trials(trials)
    return estimates(feasible, speed_priors({}, trials, feasible))


def choice_of(trials: Sequence[FinishedTrial], floors: Sequence[Floor] = ()) -> Choice:
    return Choice.of(trials, task().objectives, floors, estimates=known_of(trials))


def chosen(trials: Sequence[FinishedTrial]) -> list[int]:
    return [each.number for each in to_validate(trials, choice_of(trials), BASELINES, known_of(trials), {})]


def n_in_finals(trials: Sequence[FinishedTrial]) -> int:
    """Return how many measurements the finals made."""
    return sum(len(each.rounds("finals")) for each in trials)


def confirmed(trials: Sequence[FinishedTrial]) -> list[int]:
    return [trial.number for trial in trials if trial.rounds("validation")]


def failures(trial: FinishedTrial) -> list[TrialOutcome]:
    return [each.outcome for each in trial.measurements if not isinstance(each.outcome, Measured)]


def test_validation_runs_measure_what_the_finals_chose_and_the_baselines(tmp_path: Path) -> None:
    events: list[Event] = []
    held, runner = study(tmp_path), FakeRunner(noise=WILD)
    held.run(runner, events.append)
    finished = held.finished()
    assert confirmed(finished) == chosen(finished)
    assert any(trial.settings in BASELINES and trial.rounds("validation") for trial in finished)
    n_finals = n_in_finals(finished)
    assert len(runner.ran) == N_TRIALS + n_finals + N_CONFIRMING * len(chosen(finished))
    kinds = [event.stage for event in events if isinstance(event, RoundMeasured)]
    assert kinds == ["finals"] * n_finals + ["validation"] * N_CONFIRMING * len(chosen(finished))


def test_validation_runs_are_reported_and_choose_nothing(tmp_path: Path) -> None:
    runner = FakeRunner()
    study(tmp_path, n_confirming=0).run(runner, quiet)
    before = study(tmp_path).finished()
    half = FakeRunner(machine_speed=lambda _: 0.5)  # all that is measured from now on is half as fast
    held = study(tmp_path)
    held.run(half, quiet)
    finished = held.finished()
    assert chosen(finished) == chosen(before)
    for trial in (finished[number] for number in chosen(finished)):
        chose = trial.metric("chat", "tokens_per_s")
        reported = trial.metric("chat", "tokens_per_s", trial.reported_by)
        assert chose is not None
        assert reported is not None
        assert reported.median == pytest.approx(chose.median / 2)


def test_without_validation_runs_the_finals_are_reported(tmp_path: Path) -> None:
    held = study(tmp_path, n_confirming=0)
    held.run(FakeRunner(), quiet)
    assert confirmed(held.finished()) == []
    assert all(trial.reported_by == trial.chosen_by for trial in held.finished())


def test_without_finals_there_are_no_validation_runs(tmp_path: Path) -> None:
    runner = FakeRunner()
    study(tmp_path, schedule=with_finals(0, n_confirming=N_CONFIRMING)).run(runner, quiet)
    assert len(runner.ran) == N_TRIALS


@pytest.mark.parametrize("n_confirming", [1, 2, 5])
def test_the_number_of_validation_runs_is_fixed_whatever_they_show(n_confirming: int, tmp_path: Path) -> None:
    held, runner = study(tmp_path, n_confirming), FakeRunner()
    held.run(runner, quiet)
    finished = held.finished()
    assert {len(finished[number].rounds("validation")) for number in chosen(finished)} == {n_confirming}
    assert len(runner.ran) == N_TRIALS + n_in_finals(finished) + n_confirming * len(chosen(finished))


def test_latencies_next_to_a_prefill_are_measured_in_validation_runs(tmp_path: Path) -> None:
    held, runner = study(tmp_path), FakeRunner(noise=WILD)
    held.run(runner, quiet)
    n_confirmed = len(confirmed(held.finished()))
    without = replace(ROUNDS, n_beside_prefill=0)
    last = runner.efforts[-N_CONFIRMING * n_confirmed :]
    assert set(runner.efforts[N_TRIALS : -N_CONFIRMING * n_confirmed]) == {without}
    assert last == [ROUNDS] * 3 * n_confirmed + [without] * (N_CONFIRMING - 3) * n_confirmed


def test_where_the_time_is_up_after_the_finals_these_are_reported(tmp_path: Path) -> None:
    study(tmp_path, schedule=with_finals(0)).run(FakeRunner(), quiet)
    late, runner = study(tmp_path, timeout_s=0.0), FakeRunner(noise=WILD)
    late.run(runner, quiet)
    assert len(runner.ran) == n_in_finals(late.finished()) > 0
    assert confirmed(late.finished()) == []


@pytest.mark.parametrize("into", [0, 1, 4])
def test_a_study_interrupted_in_its_validation_runs_goes_on_and_reports_all_or_none(into: int, tmp_path: Path) -> None:
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
    assert sum(map(len, StudyRecord(stored(cut)).validations(N_TRIALS).values())) == into
    assert confirmed(held.finished()) == []
    assert chosen(held.finished()) == chosen(study(straight).finished())
    again = FakeRunner()
    resumed = study(cut, n_confirming=3)
    resumed.run(again, quiet)
    assert len(again.ran) == 3 * n_confirmed - into
    assert resumed.finished() == study(straight).finished()


def test_a_validation_run_that_breaks_a_limit_changes_the_choice_and_this_has_its_own_runs(tmp_path: Path) -> None:
    study(tmp_path, n_confirming=0).run(FakeRunner(), quiet)
    held = study(tmp_path, n_confirming=3)
    before = chosen(held.finished())
    most = max((held.finished()[number] for number in before), key=FinishedTrial.peak_bytes)
    runner = FakeRunner(cap_bytes=most.peak_bytes() - 1)
    held.run(runner, quiet)
    finished = held.finished()
    assert most.number not in chosen(finished)
    assert confirmed(finished) == chosen(finished) != before
    assert len(runner.ran) == 3 * len(before) + 3 * len(chosen(finished))
    failed = failures(finished[most.number])
    assert failed
    assert all("unable to allocate" in (reason(each) or "") for each in failed)
    assert study(tmp_path, n_confirming=3).finished() == finished


def test_a_peak_that_is_higher_only_in_validation_is_reported_and_chooses_nothing(tmp_path: Path) -> None:
    study(tmp_path, n_confirming=0).run(FakeRunner(), quiet)
    held = study(tmp_path)
    before = chosen(held.finished())
    runner = FakeRunner()

    def fuller(settings: SplitSettings) -> None:
        runner.outcomes = {len(runner.ran) - 1: on_a_gpu(settings, 3 * MIB)}

    runner.before = fuller
    held.run(runner, quiet)
    finished = held.finished()
    assert confirmed(finished) == chosen(finished) == before
    for number in before:
        assert finished[number].peak_bytes(("validation",)) == finished[number].peak_bytes() + 3 * MIB


def test_a_trial_that_crashes_in_one_validation_run_is_reported_by_the_others(tmp_path: Path) -> None:
    study(tmp_path, n_confirming=0).run(FakeRunner(), quiet)
    crashed = Failed("crashed", "SIGSEGV", (), 0.1)
    held = study(tmp_path, n_confirming=3)
    n_chosen = len(chosen(held.finished()))
    held.run(FakeRunner(outcomes={n_chosen: crashed}), quiet)
    finished = held.finished()
    assert confirmed(finished) == chosen(finished)
    assert sorted(len(finished[number].rounds("validation")) for number in chosen(finished)) == [2] + [3] * (
        n_chosen - 1
    )
    assert [each for trial in finished for each in failures(trial)] == [crashed]


def test_where_one_trial_crashes_in_all_validation_runs_the_finals_are_reported_for_all(tmp_path: Path) -> None:
    study(tmp_path, n_confirming=0).run(FakeRunner(), quiet)
    held = study(tmp_path, n_confirming=3)
    runner = FakeRunner()
    lost = held.finished()[chosen(held.finished())[0]]

    def before(settings: SplitSettings) -> None:
        runner.outcomes = (
            {len(runner.ran) - 1: Failed("crashed", "SIGSEGV", (), 0.1)} if settings == lost.settings else {}
        )

    runner.before = before
    held.run(runner, quiet)
    assert confirmed(held.finished()) == []
    assert len(failures(held.finished()[lost.number])) == 3


def test_no_gain_pairs_the_pick_s_validation_runs_with_a_baseline_s_finals(tmp_path: Path) -> None:
    """The baseline breaks the budget in the finals; from the first validation run on the machine is 10 % slower."""
    runner = FakeRunner()

    def fuller(settings: SplitSettings) -> None:
        over = settings in BASELINES and len(runner.ran) > N_TRIALS
        runner.outcomes = {len(runner.ran) - 1: on_a_gpu(settings, 300 * MIB)} if over else {}

    runner.before = fuller
    study(tmp_path, n_confirming=0).run(runner, quiet)
    held = study(tmp_path)
    held.run(FakeRunner(machine_speed=lambda _: 0.9), quiet)
    trials = held.finished()
    (left,) = (trial for trial in trials if trial.settings in BASELINES)
    picked = choice_of(trials).picks["balanced"]
    assert trials[picked].reported_by == "validation"
    assert (len(left.rounds("finals")), len(left.rounds("validation"))) == (1, 0)
    in_finals = compare_rounds(trials[picked], left, "chat", "tokens_per_s")
    assert in_finals is not None
    assert in_finals.ratio == pytest.approx(true_gain(trials[picked], left))
    reported = [each.by_round("chat", "tokens_per_s", each.reported_by) for each in (trials[picked], left)]
    assert compare(*reported) is None


def true_gain(pick: FinishedTrial, baseline: FinishedTrial) -> float:
    return true_tokens_per_s(pick.settings, "chat") / true_tokens_per_s(baseline.settings, "chat")


def test_earlier_validation_runs_are_not_reported_where_none_are_wanted(tmp_path: Path) -> None:
    study(tmp_path).run(FakeRunner(), quiet)
    assert confirmed(study(tmp_path).finished())
    assert confirmed(study(tmp_path, n_confirming=0).finished()) == []


def test_without_a_front_no_baseline_is_measured_again(tmp_path: Path) -> None:
    study(tmp_path, schedule=with_finals(N_FINALS)).run(FakeRunner(), quiet)
    unreached = Floor(Objective("chat.tokens_per_s", "maximize"), 1e6)
    held = study(tmp_path, floors=[unreached])
    finished = held.finished()
    assert to_validate(finished, choice_of(finished, [unreached]), BASELINES, known_of(finished), {}) == []


def test_each_of_two_machines_validates_its_own_choice(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    changes = {"sampler": "random", "n_trials": N_TRIALS, "initial_design": FIRST, "baselines": BASELINES}
    schedule = with_finals(N_FINALS, n_confirming=3)
    searches = [Search(task(schedule=schedule, **changes), storage, folder) for folder in folders]
    runners = [FakeRunner(), FakeRunner()]
    for each, runner in zip(searches, runners, strict=True):
        each.run(runner, quiet)
    assert confirmed(searches[0].finished()) == confirmed(searches[1].finished()) == chosen(searches[0].finished())
    assert len(runners[1].ran) == len(runners[0].ran) - N_TRIALS


DEEP = replace(ROUNDS, at_depth={"chat": 60.0})


def test_the_first_validation_run_of_each_setting_is_the_only_one_at_depth(tmp_path: Path) -> None:
    held, runner = study(tmp_path, schedule=with_finals(N_FINALS, effort=DEEP, n_confirming=N_CONFIRMING)), FakeRunner()
    held.run(runner, lambda _event: None)
    finished = held.finished()
    n_validated = len(confirmed(finished))
    assert [bool(each.at_depth) for each in runner.efforts[-N_CONFIRMING * n_validated :]] == (
        [True] * n_validated + [False] * (N_CONFIRMING - 1) * n_validated
    )
    assert not any(each.at_depth for each in runner.efforts[: -N_CONFIRMING * n_validated])
    for trial in finished:
        metric = trial.metric("chat", "tg_tokens_per_s_full", trial.reported_by)
        assert (metric is not None) == bool(trial.rounds("validation"))


def test_a_speed_at_depth_that_is_sought_is_measured_in_every_trial_and_round(tmp_path: Path) -> None:
    names = ["chat.tokens_per_s", "chat.tg_tokens_per_s_full", "chat.turn_s"]
    sought = [Objective.named(name, ["chat", "code"]) for name in names]
    trials = replace(TRIALS, at_depth={"chat": None})
    schedule = with_finals(N_FINALS, effort=replace(DEEP, at_depth={"chat": None}), n_confirming=2, n_between=2)
    schedule = replace(schedule, effort=trials, reference=FIRST[0])
    held, runner = study(tmp_path, schedule=schedule, objectives=sought, sampler="layer-split"), FakeRunner()
    held.run(runner, lambda _event: None)
    n_references = len(held.references())
    assert sum(not each.at_depth for each in runner.efforts) == n_references > 0
    finished, choice = held.concluded()
    assert choice.front
    for trial in finished:
        assert trial.metric("chat", "turn_s") is not None


def test_a_study_of_before_speeds_at_depth_goes_on_with_its_validation_runs(tmp_path: Path) -> None:
    study(tmp_path).run(FakeRunner(), lambda _event: None)
    schedule = with_finals(N_FINALS, effort=DEEP, n_confirming=N_CONFIRMING + 1)
    held, runner = study(tmp_path, schedule=schedule), FakeRunner()
    held.run(runner, lambda _event: None)
    assert not any(each.at_depth for each in runner.efforts)
    finished = held.finished()
    assert [len(each.rounds("validation")) for each in finished if each.rounds("validation")] == (
        [N_CONFIRMING + 1] * len(confirmed(finished))
    )
