from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import small_shapes
from layertune.errors import Interrupted, NothingFits, StudyMismatch, UsageError
from layertune.results.trials import front
from layertune.sampler.distributions import distributions
from layertune.search.task import Event, TrialFinished, TrialStarted
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.testing import FakeRunner
from layertune.trial.effort import Effort
from layertune.trial.outcome import Infeasible, Measured, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.units import MIB
from layertune.vram.vram_report import VramReport
from small_study import N_LAYERS, SAMPLERS, quiet, search, space, stored, task


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_fills_a_study_with_distinct_engines(sampler: str, tmp_path: Path) -> None:
    runner = FakeRunner()
    study = search(tmp_path, sampler=sampler, n_trials=15)
    assert study.run(runner, quiet) == "all 15 trials are done"
    assert len({space().canonical(settings) for settings in runner.ran}) == len(runner.ran) == 15
    assert {type(trial.outcome) for trial in study.finished()} <= {Measured, Infeasible}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("optuna.samplers.NoSampler", "cannot be imported"),
        ("no_such_package.Sampler", "cannot be imported"),
        ("optuna.study.Study", "is no sampler of Optuna"),
        ("optuna.samplers.GridSampler", "cannot be made"),
    ],
)
def test_an_import_path_that_leads_to_no_usable_sampler_is_refused_at_once(path: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        search(tmp_path, sampler=path)


def test_the_same_seed_asks_for_the_same_trials(tmp_path: Path) -> None:
    runners = [FakeRunner(), FakeRunner()]
    for number, runner in enumerate(runners):
        folder = tmp_path / str(number)
        folder.mkdir()
        search(folder).run(runner, quiet)
    assert runners[0].ran == runners[1].ran


def test_the_initial_design_runs_first(tmp_path: Path) -> None:
    first = [space().smallest(), space().settings({"chat.n_gpu_layers": 7, "code.n_gpu_layers": 3})]
    runner = FakeRunner()
    search(tmp_path, initial_design=first).run(runner, quiet)
    assert runner.ran[:2] == [space().canonical(settings) for settings in first]


def test_outcomes_are_told_with_their_constraints(tmp_path: Path) -> None:
    search(tmp_path, n_trials=15).run(FakeRunner(cap_bytes=250 * MIB), quiet)
    trials = stored(tmp_path).trials
    states = {trial.state for trial in trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        assert trial.constraints.keys() == {"vram"} | ({"0"} if "constraints" in trial.system_attrs else set())
        if trial.state == TrialState.PRUNED:
            assert trial.constraints["vram"] > 0
            assert trial.values is None


def test_measured_trials_over_the_budget_are_complete_but_never_on_the_front(tmp_path: Path) -> None:
    study = search(tmp_path, n_trials=25)
    study.run(FakeRunner(cap_bytes=10_000 * MIB), quiet)
    over = [trial for trial in study.finished() if trial.violations["vram"] > 0]
    assert over
    assert not {trial.number for trial in over} & {trial.number for trial in front(study.finished(), task().objectives)}


def test_a_known_engine_is_told_its_outcome_and_not_run_again(tmp_path: Path) -> None:
    small = space(n_gpu_layers=[0, 99, 999], n_batch=256)
    runner = FakeRunner()
    study = search(tmp_path, space=small, n_trials=500, sampler="random")
    assert study.run(runner, quiet) == "every setting that can fit has been tried"
    assert len(runner.ran) == 2 * 22 * 2 == len(study.finished())
    assert len(stored(tmp_path).trials) > len(runner.ran)


def test_time_limits_end_a_study(tmp_path: Path) -> None:
    assert search(tmp_path, timeout_s=0.0).run(FakeRunner(), quiet) == "the time is up"


def test_events_tell_how_far_a_study_is(tmp_path: Path) -> None:
    events: list[Event] = []
    search(tmp_path, n_trials=2).run(FakeRunner(), events.append)
    assert [(type(event), event.n_finished) for event in events] == [
        (TrialStarted, 0),
        (TrialFinished, 1),
        (TrialStarted, 1),
        (TrialFinished, 2),
    ]


def interrupt_at(n_run: int) -> FakeRunner:
    runner = FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_run:
            raise KeyboardInterrupt

    runner.before = before
    return runner


def test_ctrl_c_keeps_every_finished_trial_and_runs_the_interrupted_one_again(tmp_path: Path) -> None:
    runner = interrupt_at(5)
    with pytest.raises(Interrupted, match="interrupted after 4 trials; all of them are kept; go on with --resume"):
        search(tmp_path).run(runner, quiet)
    assert [trial.state for trial in stored(tmp_path).trials][-2:] == [TrialState.FAIL, TrialState.WAITING]
    again = FakeRunner()
    study = search(tmp_path)
    assert len(study.finished()) == 4
    study.run(again, quiet)
    assert again.ran[0] == runner.ran[-1]
    assert len(study.finished()) == 12


def test_a_finished_study_runs_nothing_more(tmp_path: Path) -> None:
    search(tmp_path).run(FakeRunner(), quiet)
    runner = FakeRunner()
    assert search(tmp_path).run(runner, quiet) == "all 12 trials are done"
    assert runner.ran == []


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"cpu": "two", "model chat": "abc"}, "cpu was one and is two"),
        ({"cpu": "one", "model chat": "def"}, "model chat was abc and is def"),
        ({"cpu": "one"}, "model chat was abc and is not set"),
    ],
)
def test_a_study_made_under_other_conditions_is_refused_with_what_differs(
    identity: dict[str, str], words: str, tmp_path: Path
) -> None:
    search(tmp_path, n_trials=1).run(FakeRunner(), quiet)
    with pytest.raises(StudyMismatch, match=words) as caught:
        search(tmp_path, identity=identity)
    assert caught.value.exit_status == 2


def test_other_machines_trials_in_a_shared_storage_are_left_alone(tmp_path: Path) -> None:
    storage = optuna.storages.InMemoryStorage()
    from layertune.search.search import Search

    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    Search(task(n_trials=1), storage, theirs).run(FakeRunner(), quiet)
    study = optuna.load_study(study_name="test", storage=storage)
    running = study.ask()
    running.set_user_attr("owner", (theirs / "owner").read_text())
    Search(task(n_trials=1), storage, mine)
    assert study.trials[running.number].state == TrialState.RUNNING


def test_ram_limits_are_constraints_of_their_own(tmp_path: Path) -> None:
    from layertune.space.limits import Limits

    limits = Limits((), 0, MIB // 4, n_processes=1, file_bytes={"chat": MIB // 2, "code": 9 * MIB})
    study = search(tmp_path, n_trials=3, limits=limits)
    study.run(FakeRunner(), quiet)
    for trial in study.finished():
        if isinstance(trial.outcome, Measured):
            assert trial.violations == {"ram.chat": MIB / 4, "ram.code": 3 * MIB / 4}


def fitting(vram_bytes: int) -> FeasibleSpace:
    planner = small_shapes.planner(**{name: small_shapes.shape(n_layer=n) for name, n in N_LAYERS.items()})
    limits = Limits((vram_bytes,), 0, None, n_processes=2, file_bytes=dict.fromkeys(N_LAYERS, 2**40))
    return FeasibleSpace(space(), planner, limits)


class AsPlanned(FakeRunner):
    """A runner on whose card everything fits and takes what was planned."""

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        self.cap_bytes = 2**40
        outcome = super().run(settings, effort, give_up)
        assert isinstance(outcome, Measured)
        planned_bytes = fitting(0).planner.plan(settings).device_bytes or 0
        return replace(outcome, vram=VramReport(planned_bytes, 0, "card", "ledger"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_settings_that_are_planned_not_to_fit_are_never_run(sampler: str, tmp_path: Path) -> None:
    runner, feasible = AsPlanned(), fitting(MIB)
    changes = {"feasible": feasible, "limits": replace(task().limits, vram=(2**40,))}
    search(tmp_path, sampler=sampler, n_trials=12, **changes).run(runner, quiet)
    assert len(runner.ran) == 12
    assert not [settings for settings in runner.ran if feasible.exceeded(settings)]


def test_a_proposal_that_does_not_fit_stores_its_excess_bytes(tmp_path: Path) -> None:
    feasible = fitting(MIB)
    changes = {"feasible": feasible, "limits": replace(task().limits, vram=(2**40,))}
    search(tmp_path, sampler="random", n_trials=8, **changes).run(AsPlanned(), quiet)
    ruled_out = [trial for trial in stored(tmp_path).trials if "planned" in trial.user_attrs]
    assert ruled_out
    for trial in ruled_out:
        assert trial.state == TrialState.PRUNED
        assert trial.constraints["vram"] > 0
        assert trial.user_attrs["planned"]["vram"] == trial.constraints["vram"]


def test_a_proposal_that_was_ruled_out_when_the_process_was_killed_is_told_at_the_next_start(tmp_path: Path) -> None:
    study = search(tmp_path, sampler="random", n_trials=1)
    study.run(FakeRunner(), quiet)
    trial = stored(tmp_path).ask(distributions(space()))
    trial.set_user_attr("planned", {"vram": 5.0})
    search(tmp_path, sampler="random", n_trials=1).run(FakeRunner(), quiet)
    mended = stored(tmp_path).trials[trial.number]
    assert (mended.state, mended.constraints["vram"]) == (TrialState.PRUNED, 5.0)


def test_a_search_ends_when_all_that_fits_has_been_tried(tmp_path: Path) -> None:
    small, runner = fitting(300_000), AsPlanned()
    assert 0 < small.n_settings() < 60
    changes = {"feasible": small, "limits": replace(task().limits, vram=(2**40,))}
    why = search(tmp_path, sampler="random", n_trials=100, **changes).run(runner, quiet)
    assert why == "every setting that can fit has been tried"
    assert len(runner.ran) == small.n_settings()


def test_nothing_that_fits_by_plan_ends_a_study_before_its_first_trial(tmp_path: Path) -> None:
    runner = FakeRunner()
    limits = Limits((1,), 0, 1, n_processes=2, file_bytes=dict.fromkeys(N_LAYERS, 2**40))
    planner = small_shapes.planner(**{name: small_shapes.shape(n_layer=n) for name, n in N_LAYERS.items()})
    with pytest.raises(NothingFits, match="keeps the RAM limit"):
        search(tmp_path, feasible=FeasibleSpace(space(), planner, limits)).run(runner, quiet)
    assert runner.ran == []
