"""The search of a study: opens or resumes its folder, runs the search, writes the result."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from layertune.config import CONFIG_NAME, dump_config
from layertune.devices.lease import DeviceLease
from layertune.errors import LayertuneError, NothingFits, StorageError, UsageError
from layertune.export import export_trial
from layertune.export.env import is_planned
from layertune.models import ModelShape
from layertune.regular_files import is_there
from layertune.report import FILE_NAME as REPORT_NAME
from layertune.report import render_report
from layertune.results.result import (
    FILE_NAME,
    RESUME,
    BudgetInfo,
    ClockInfo,
    HostLimitsInfo,
    LlamaCpp,
    ModelInfo,
    Result,
    WorkloadInfo,
    write_result,
    write_study_file,
)
from layertune.results.summary import Planned, Provenance, summarise
from layertune.search.finals import RoundMeasured
from layertune.search.folder import JOURNAL_NAME
from layertune.search.search import Search
from layertune.search.storage import open_journal, open_url
from layertune.search.study_lock import study_lock
from layertune.search.task import DeviceAwaited, Event, SearchOpened, SearchStopped, TrialFinished, TrialSlow
from layertune.space.feasible import FeasibleSpace
from layertune.study.earlier import keep_earlier
from layertune.study.facts import StudyFacts
from layertune.study.hardware_info import hardware_info
from layertune.study.models_on_device import by_model
from layertune.study.prior import COPY_NAME, copy_prior
from layertune.study.recommended_env import write_recommendation
from layertune.study.replanned import NOTHING, picked_trials, plan_with
from layertune.study.search_task import task_of, trial_context
from layertune.trial.process_runner import ProcessTrialRunner
from layertune.trial.runners import LeasingRunner
from layertune.trial.time_spent import TimeSpent

_ENV_NAME = ".env"


def write_first(study: StudyFacts, folder: Path, storage: str | None, *, resume: bool) -> None:
    """Write the recommended `.env` of a new study before quality is measured, which may take minutes.

    Raises:
        UsageError: the folder holds a study already, or its trials are in another storage.
        StorageError: the folder cannot be written.
    """
    check_storage(folder, storage)
    _make_folder(folder, resume=resume)
    if not is_there(folder / CONFIG_NAME):
        with study_lock(folder):
            write_recommendation(study, (), folder / _ENV_NAME)


def search(
    study: StudyFacts, folder: Path, *, storage: str | None, resume: bool, on_event: Callable[[Event], None]
) -> Result:
    """See `study.Study.search`."""
    check_storage(folder, storage)
    _make_folder(folder, resume=resume)

    def warn(words: str) -> None:
        study.notify(f"warning: {words}")

    with study_lock(folder):
        opened = _open(study, folder, storage, warn)
        write_recommendation(study, opened.finished(), folder / _ENV_NAME)
        on_event(SearchOpened(opened.task, tuple(opened.finished())))
        trials = ProcessTrialRunner(trial_context(study))
        runner = LeasingRunner(trials, DeviceLease(study.target, warn=warn))

        def on_progress(event: Event) -> None:
            if isinstance(event, TrialFinished | RoundMeasured):
                _write_best(study, opened, folder, _clock(trials.spent, time.monotonic() - study.opened_s), None)
            on_event(event)

        trials.on_stage, runner.on_wait = on_event, lambda owner: on_event(DeviceAwaited(owner))
        trials.on_slow, trials.slowest_s = lambda words: on_event(TrialSlow(words)), opened.slowest_s
        stopped = None
        try:
            stopped = opened.run(runner, on_progress)
            on_event(SearchStopped(stopped))
        finally:
            runner.close()
            clock = _clock(trials.spent, time.monotonic() - study.opened_s)
            result = _write(study, opened, folder, clock, stopped)
    return result


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


def _open(study: StudyFacts, folder: Path, storage: str | None, warn: Callable[[str], None]) -> Search:
    """Open the study, and keep its config in the folder."""
    config_file = folder / CONFIG_NAME
    resumes = is_there(config_file)
    try:
        opened = Search(task_of(study), open_url(storage) if storage else open_journal(folder), folder)
        finished = [trial.number for trial in opened.finished()]
        keep_earlier(folder, (FILE_NAME, _ENV_NAME, REPORT_NAME), finished, warn, begins_anew=resumes and opened.is_new)
        if not resumes:
            warm_start = study.config.search.warm_start
            if warm_start is not None:
                copy_prior(warm_start, folder)
            write_study_file(config_file, resolved_toml(study, folder))
    except StorageError as error:
        if error.remedy == RESUME and not is_there(config_file):
            error.remedy = "make room there, then run the same command again"
        raise
    return opened


def _write(study: StudyFacts, opened: Search, folder: Path, clock: ClockInfo, stopped: str | None) -> Result:
    """Write everything that a search leaves behind."""
    result = _write_best(study, opened, folder, clock, stopped)
    opened.publish(result)
    picks = picked_trials(result)
    memory = NOTHING if study.feasible is None else plan_with(study.models, result, picks, study.notify)
    write_study_file(folder / REPORT_NAME, render_report(result, memory))
    return result


def _write_best(study: StudyFacts, opened: Search, folder: Path, clock: ClockInfo, stopped: str | None) -> Result:
    """Write the result so far, and the `.env` of its balanced pick. A search does so after every measurement."""
    trials, choice = opened.concluded()
    result = summarise(
        provenance_of(study, opened.created()),
        trials,
        choice,
        planned_of(study, opened.feasible),
        references=opened.references(),
        clock=clock,
        stopped=stopped,
    )
    write_result(result, folder / FILE_NAME)
    env = folder / _ENV_NAME
    if result.picks:
        write_study_file(env, export_trial(result, result.picked("balanced"), "env")[_ENV_NAME])
    elif not (is_planned(env) and all(trial.state != "measured" for trial in result.trials)):
        env.unlink(missing_ok=True)
    return result


def check_storage(folder: Path, storage: str | None) -> None:
    """Refuse to continue a study in another storage than the one that has its trials."""
    if storage == "":
        raise UsageError("the storage's URL is empty", remedy="write it like postgresql://host/name, or leave it out")
    has_journal = is_there(folder / JOURNAL_NAME)
    if storage is not None and has_journal:
        raise UsageError(f"{folder} keeps its trials in {JOURNAL_NAME}", remedy="leave out --storage")
    if storage is None and not has_journal and is_there(folder / CONFIG_NAME):
        raise UsageError(
            f"{folder} has no {JOURNAL_NAME}: its trials are in another storage, or lost",
            remedy="give its --storage URL again, or start another study with --study DIR",
        )


def _make_folder(folder: Path, *, resume: bool) -> None:
    if is_there(folder / CONFIG_NAME) and not resume:
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


def _clock(spent: TimeSpent, wall_s: float) -> ClockInfo:
    return ClockInfo(**asdict(spent), wall_s=wall_s, overhead_s=wall_s - spent.total_s)


def provenance_of(study: StudyFacts, created: datetime) -> Provenance:
    """Return where the figures of a result come from; `created` is when the study's first trial began."""
    models = study.config.models
    files = {
        name: {file: _model_info(shape, study.files[key].sha256()) for file, (key, shape) in each.items()}
        for name, each in by_model(study.shapes).items()
    }
    return Provenance(
        name=study.config.name,
        created=created,
        sampler=study.config.search.sampler,
        seed=study.config.seed,
        llama_cpp=LlamaCpp(version=study.build.version, commit=study.build.commit),
        hardware=hardware_info(study.target, study.machine),
        models={name: next(iter(each.values())) for name, each in files.items()},
        quality=study.quality,
        files={name: each for name, each in files.items() if len(each) > 1},
        workload={name: WorkloadInfo(**model.workload.model_dump()) for name, model in models.items()},
        budget=BudgetInfo(
            vram_bytes=study.limits.vram_bytes,
            margin_bytes=study.limits.margin_bytes,
            devices=list(study.limits.vram) if len(study.limits.vram) > 1 else None,
        ),
        objectives=study.objectives,
        floors=study.config.resolved_floors(),
        weights=study.config.resolved_weights(),
        baselines=study.baselines,
        host_limits=HostLimitsInfo(
            n_cpus=study.config.host.n_cpus, ram_per_model_bytes=study.config.host.ram_per_model
        ),
    )


def planned_of(study: StudyFacts, feasible: FeasibleSpace | None) -> Planned | None:
    """Return what a result reports of the memory plan; `feasible` is the settings that fit, as the search learned."""
    if feasible is None:
        return None
    return Planned(
        study.planner,
        study.space.n_settings(),
        feasible.n_settings(),
        feasible.correction,
        feasible.capacity_bytes if study.limits.vram else None,
    )


def resolved_toml(study: StudyFacts, folder: Path) -> str:
    """Return the config as the study folder keeps it: its paths are relative to the folder."""
    models = {
        name: model.model_copy(
            update={
                "path": model.path and Path(_relative(model.path, folder)),
                "reference": model.reference and Path(_relative(model.reference, folder)),
                "files": model.files and [Path(_relative(each, folder)) for each in model.files],
            }
        )
        for name, model in study.config.models.items()
    }
    changes: dict[str, Any] = {"models": models}
    quality = study.config.quality
    if quality.text is not None:
        changes["quality"] = quality.model_copy(update={"text": Path(_relative(quality.text, folder))})
    search = study.config.search
    if search.warm_start is not None:
        changes["search"] = search.model_copy(update={"warm_start": Path(COPY_NAME)})
    return dump_config(study.config.model_copy(update=changes))


def _model_info(shape: ModelShape, sha256: Sequence[str]) -> ModelInfo:
    first, *further = sha256
    return ModelInfo(
        file=shape.files[0].name,
        sha256=first,
        further_sha256=further or None,
        architecture=shape.architecture,
        n_layer=shape.n_layer,
        file_bytes=shape.file_bytes,
        quantization=shape.quantization,
    )


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive, on Windows
        return str(path.resolve())
