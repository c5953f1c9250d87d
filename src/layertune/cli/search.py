"""layertune search: the one place where everything is wired."""

import time
from dataclasses import asdict
from pathlib import Path

from layertune.cli.console import printing, say, show_json, warn
from layertune.cli.earlier import keep_earlier
from layertune.cli.front import print_front
from layertune.cli.overrides import Overrides, study_config
from layertune.cli.preparation import Preparation, prepare
from layertune.cli.progress import SearchProgress
from layertune.cli.replanning import NOTHING, picked_trials, plan_with
from layertune.cli.report import FILE_NAME as REPORT_NAME
from layertune.cli.signals import end_as_ctrl_c
from layertune.cli.warm_start import copy_elsewhere
from layertune.config import CONFIG_NAME
from layertune.devices.turn import DeviceTurn
from layertune.errors import LayertuneError, NothingFits, StorageError, UsageError
from layertune.export import quote, render_env
from layertune.report import render_report
from layertune.results.result import FILE_NAME, ClockInfo, Result, write_result
from layertune.results.study_file import RESUME, write_study_file
from layertune.results.summary import summarise
from layertune.search.folder import JOURNAL_NAME
from layertune.search.lock import study_lock
from layertune.search.storage import open_journal, open_url
from layertune.search.study import Search
from layertune.trial.clock import Clock
from layertune.trial.process import ProcessTrialRunner
from layertune.trial.turns import TurnTakingRunner
from layertune.units import format_bytes, join_bytes

_ENV_NAME = ".env"


def run(
    config_path: Path | None,
    overrides: Overrides,
    *,
    storage: str | None,
    folder: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    started_s = time.monotonic()
    if resume and config_path is None and folder is not None and (folder / CONFIG_NAME).exists():
        config_path = folder / CONFIG_NAME
    config = study_config(config_path, overrides)
    folder = folder or Path("studies") / config.name
    _check_storage(folder, storage)
    preparation = prepare(config)
    for shape in preparation.shapes.values():
        quote(shape.files[0].name)  # a name that no .env can hold is refused now, not after the last trial
    _say_what(preparation, folder)
    if dry_run:
        return
    _make_folder(folder, resume=resume)
    end_as_ctrl_c()
    with study_lock(folder):
        search = _open(preparation, folder, storage)
        trials = ProcessTrialRunner(preparation.workplace())
        runner = TurnTakingRunner(trials, DeviceTurn(preparation.target, warn=warn))
        stopped = None
        try:
            stopped = _measure(preparation, search, trials, runner)
        finally:
            runner.close()
            clock = _clock(trials.spent, time.monotonic() - started_s)
            result = _write(preparation, search, folder, clock, stopped)
    with printing():
        if as_json:
            show_json(result.model_dump(mode="json"), indent=None)
        else:
            print_front(result)
    if not result.pareto:
        raise nothing_chosen(result)
    say(f"wrote {FILE_NAME}, {REPORT_NAME} and .env (the balanced pick) in {folder}")


def _open(preparation: Preparation, folder: Path, storage: str | None) -> Search:
    """Open the study, and keep its config in the folder."""
    config_file = folder / CONFIG_NAME
    resumes = config_file.exists()
    try:
        search = Search(preparation.plan(), open_url(storage) if storage else open_journal(folder), folder)
        finished = [trial.number for trial in search.finished()]
        keep_earlier(folder, (FILE_NAME, _ENV_NAME, REPORT_NAME), finished, begins_anew=resumes and search.is_new)
        if not resumes:
            warm_start = preparation.config.search.warm_start
            if warm_start is not None:
                copy_elsewhere(warm_start, folder)
            write_study_file(config_file, preparation.resolved_toml(folder))
    except StorageError as error:
        if error.remedy == RESUME and not config_file.exists():
            error.remedy = "make room there, then run the same command again"
        raise
    return search


def _measure(preparation: Preparation, search: Search, trials: ProcessTrialRunner, runner: TurnTakingRunner) -> str:
    """Search, say why it stopped, and return that; `runner` takes turns to run `trials`."""
    plan = preparation.plan()
    progress = SearchProgress(plan, search.finished())
    trials.on_stage, runner.on_wait = progress.on_stage, progress.on_wait
    with progress:
        why = search.run(runner, progress.on_event)
    say(f"stopped: {why}")
    return why


def nothing_chosen(result: Result) -> LayertuneError:
    """Return why a finished search has no pick."""
    if not result.trials:
        return LayertuneError("no trial was finished", remedy="allow more time with --timeout")
    if all(trial.state == "failed" for trial in result.trials):
        return LayertuneError(f"no trial was measured; the last of {len(result.trials)}: {result.trials[-1].reason}")
    if not result.floors or not any(trial.state == "measured" and not trial.exceeded() for trial in result.trials):
        return NothingFits("no measured trial keeps the limits", remedy="raise the budget, or lower n_ctx or n_batch")
    floors = " and ".join(result.floors)
    return NothingFits(
        f"no measured trial keeps the limits and reaches {floors}",
        remedy=f"lower the floor; what was measured is in {FILE_NAME}",
    )


def _clock(spent: Clock, wall_s: float) -> ClockInfo:
    return ClockInfo(**asdict(spent), wall_s=wall_s, overhead_s=wall_s - spent.total_s)


def _write(preparation: Preparation, search: Search, folder: Path, clock: ClockInfo, stopped: str | None) -> Result:
    result = summarise(
        preparation.provenance(search.created()),
        search.finished(),
        preparation.planned(),
        references=search.references(),
        clock=clock,
        stopped=stopped,
        decided=search.finals_decided(),
    )
    write_result(result, folder / FILE_NAME)
    search.publish(result)
    env = folder / _ENV_NAME
    if result.picks:
        write_study_file(env, render_env(result, result.picked("balanced")))
    else:
        env.unlink(missing_ok=True)
    memory = NOTHING if preparation.feasible is None else plan_with(preparation.planning, result, picked_trials(result))
    write_study_file(folder / REPORT_NAME, render_report(result, memory))
    return result


def _check_storage(folder: Path, storage: str | None) -> None:
    """Refuse to go on with a study anywhere else than where its trials are."""
    has_journal = (folder / JOURNAL_NAME).exists()
    if storage is not None and has_journal:
        raise UsageError(f"{folder} keeps its trials in {JOURNAL_NAME}", remedy="leave out --storage")
    if storage is None and not has_journal and (folder / CONFIG_NAME).exists():
        raise UsageError(
            f"{folder} has no {JOURNAL_NAME}: its trials are in another storage, or lost",
            remedy="give its --storage URL again, or start another study with --study DIR",
        )


def _make_folder(folder: Path, *, resume: bool) -> None:
    if (folder / CONFIG_NAME).exists() and not resume:
        raise UsageError(
            f"{folder} holds a study already", remedy="go on with --resume, or choose another folder with --study DIR"
        )
    try:
        str(folder).encode()  # the study's files hold it
        folder.mkdir(parents=True, exist_ok=True)
    except UnicodeEncodeError as error:
        raise UsageError(f"the folder {folder} is not UTF-8", remedy="choose another with --study") from error
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}", remedy="choose another with --study") from error


def _say_what(preparation: Preparation, folder: Path) -> None:
    target, limits, config = preparation.target, preparation.limits, preparation.config
    size = f" ({format_bytes(target.vram_bytes)})" if target.vram_bytes is not None else ""
    emulated = "; EMULATED: bytes are exact, speeds are this CPU's" if target.kind == "emulated" else ""
    budget = f", budget {join_bytes(limits.vram)}" if limits.vram else ""
    say(f"device: {target.name}{size}{budget}{emulated}")
    for name, shape in preparation.shapes.items():
        size = format_bytes(shape.file_bytes)
        say(f"{name}: {shape.files[0].name}, {shape.architecture}, {shape.n_layer} layers, {size}")
    feasible = preparation.feasible
    fitting = f" of which {feasible.n_settings()} fit by plan" if feasible is not None else ""
    say(
        f"study: {folder}, {preparation.space.n_settings()} settings{fitting}, sampler {config.search.sampler}, "
        f"at most {config.search.n_trials} trials"
    )
