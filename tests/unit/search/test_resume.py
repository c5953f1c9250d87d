"""A study that is cut off and goes on is the study that never was cut off."""

import shutil
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from layertune.errors import Interrupted, NothingFits, StorageError, StudyMismatch
from layertune.search.search import Search
from layertune.search.storage import JOURNAL_NAME, open_url
from layertune.settings import SplitSettings
from layertune.testing import FakeRunner
from layertune.units import MIB
from small_study import SAMPLERS, quiet, search, space, task

MIXED = space(n_batch=[512, 64, 128], flash_attn=["on", "off"], type_v=["f16", "q8_0"])


def interrupted_at(n_run: int) -> FakeRunner:
    runner = FakeRunner(cap_bytes=250 * MIB)

    def before(_settings: SplitSettings) -> None:
        if len(runner.ran) == n_run:
            raise KeyboardInterrupt

    runner.before = before
    return runner


def long_study(folder: Path, sampler: str) -> Search:
    return search(folder, sampler=sampler, n_trials=30, space=MIXED)


@pytest.fixture(scope="module", params=SAMPLERS)
def uncut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[SplitSettings]]:
    """A sampler, and what a study of it runs that is never interrupted."""
    sampler, runner = str(request.param), FakeRunner(250 * MIB)
    long_study(tmp_path_factory.mktemp("uncut"), sampler).run(runner, quiet)
    return sampler, runner.ran


@pytest.mark.parametrize("n_run", [3, 13, 27])
def test_an_interrupted_study_goes_on_with_the_trials_it_would_have_run(
    uncut: tuple[str, list[SplitSettings]], n_run: int, tmp_path: Path
) -> None:
    sampler, ran = uncut
    first, rest = interrupted_at(n_run), FakeRunner(250 * MIB)
    with pytest.raises(Interrupted):
        long_study(tmp_path, sampler).run(first, quiet)
    long_study(tmp_path, sampler).run(rest, quiet)
    assert first.ran[:-1] + rest.ran == ran


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_settings_that_llama_cpp_would_refuse_are_never_run(sampler: str, tmp_path: Path) -> None:
    runner = FakeRunner()
    search(tmp_path, sampler=sampler, n_trials=20, space=MIXED).run(runner, quiet)
    assert len(runner.ran) == 20
    assert [settings for settings in runner.ran if settings.impossible()] == []


def test_a_study_cut_off_anywhere_before_its_first_trials_still_runs_all_of_them(tmp_path: Path) -> None:
    first = [space().settings({"chat.n_gpu_layers": n_gpu_layers}) for n_gpu_layers in range(5)]
    whole = tmp_path / "whole"
    whole.mkdir()
    search(whole, initial_design=first)
    lines = (whole / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    for n_lines in range(len(lines) + 1):
        cut = tmp_path / str(n_lines)
        shutil.copytree(whole, cut)
        (cut / JOURNAL_NAME).write_bytes(b"".join(lines[:n_lines]) + b'{"torn')
        runner = FakeRunner()
        search(cut, initial_design=first, n_trials=5).run(runner, quiet)
        assert runner.ran == [space().canonical(settings) for settings in first], n_lines


def test_an_unlimited_search_runs_every_engine_once_and_stops(tmp_path: Path) -> None:
    small = space(n_gpu_layers=[0, 99, 999], n_batch=256, flash_attn=["on", "off"], type_v=["f16", "q8_0"])
    runner = FakeRunner()
    study = search(tmp_path, sampler="random", space=small, n_trials=10_000)
    assert study.run(runner, quiet) == "every setting that can fit has been tried"
    assert set(runner.ran) == {small.canonical(settings) for settings in small.enumerate()}
    assert len(runner.ran) == len(set(runner.ran))


def test_a_study_where_nothing_fits_says_so_again_when_it_goes_on(tmp_path: Path) -> None:
    first = [space().smallest()]
    for runner, n_runs in ((FakeRunner(cap_bytes=0), 1), (FakeRunner(cap_bytes=0), 0)):
        with pytest.raises(NothingFits, match="the smallest was refused"):
            search(tmp_path, initial_design=first).run(runner, quiet)
        assert len(runner.ran) == n_runs


def shared(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


def machine(folder: Path, name: str, n_trials: int) -> Search:
    (folder / name).mkdir(exist_ok=True)
    return Search(task(n_trials=n_trials, sampler="random"), open_url(shared(folder)), folder / name)


def test_two_machines_of_a_shared_storage_count_and_know_each_others_trials(tmp_path: Path) -> None:
    one, other = machine(tmp_path, "one", 8), machine(tmp_path, "other", 8)
    first, second = FakeRunner(), FakeRunner()

    def before(_settings: SplitSettings) -> None:
        if len(first.ran) == 3:
            assert other.run(second, quiet) == "all 8 trials are done"

    first.before = before
    assert one.run(first, quiet) == "all 8 trials are done"
    assert (len(first.ran), len(second.ran)) == (3, 6)
    assert set(first.ran).isdisjoint(second.ran)


def twins(folder: Path, *, stored: bool) -> tuple[Search, FakeRunner, optuna.trial.Trial]:
    """Return a machine whose first trial another one runs already; `stored` says whether it has told its settings."""
    first = [space().settings({"chat.n_gpu_layers": 3})]
    study = Search(task(n_trials=2, initial_design=first), open_url(shared(folder)), folder)
    raw = optuna.load_study(study_name="test", storage=open_url(shared(folder)))
    taken = raw.ask()
    raw.enqueue_trial(space().params(first[0]))
    if stored:
        taken.set_user_attr("settings", space().canonical(first[0]).as_dict())
    return study, FakeRunner(), taken


def test_of_two_machines_with_the_same_proposal_the_later_trial_yields(tmp_path: Path) -> None:
    study, runner, taken = twins(tmp_path, stored=True)
    study.run(runner, quiet)
    assert space().canonical(space().settings({"chat.n_gpu_layers": 3})) not in runner.ran
    later = optuna.load_study(study_name="test", storage=open_url(shared(tmp_path))).trials[taken.number + 1]
    assert (later.state, later.user_attrs["gave_way"]) == (TrialState.FAIL, taken.number)


def test_a_trial_that_never_stores_its_settings_is_not_waited_for_forever(tmp_path: Path) -> None:
    study, runner, _ = twins(tmp_path, stored=False)
    study.run(runner, quiet)
    assert space().canonical(space().settings({"chat.n_gpu_layers": 3})) in runner.ran


def test_a_study_of_another_program_is_not_taken_over(tmp_path: Path) -> None:
    raw = optuna.create_study(study_name="test", storage=open_url(shared(tmp_path)), directions=["maximize"] * 3)
    raw.ask()
    with pytest.raises(StudyMismatch, match="not layertune's"):
        machine(tmp_path, "one", 1)


def test_a_storage_that_goes_away_is_one_sentence(tmp_path: Path) -> None:
    study = search(tmp_path)
    (tmp_path / JOURNAL_NAME).unlink()
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(StorageError, match="cannot be read or written"):
        study.run(FakeRunner(), quiet)
