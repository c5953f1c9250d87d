"""layertune search: parse, open the study, search, show the front."""

from contextlib import ExitStack
from pathlib import Path

from layertune.cli.console import printing, say, show_json
from layertune.cli.front import print_front
from layertune.cli.progress import SearchProgress
from layertune.cli.signals import end_as_ctrl_c
from layertune.config import CONFIG_NAME
from layertune.config.overrides import Overrides, study_config
from layertune.export import quote
from layertune.models.companions import companion_notes
from layertune.regular_files import is_there
from layertune.report import FILE_NAME as REPORT_NAME
from layertune.results.result import FILE_NAME
from layertune.search.task import Event, SearchOpened, SearchStopped
from layertune.settings import model_and_file
from layertune.study.duration import expected_duration
from layertune.study.searching import check_storage, nothing_chosen
from layertune.study.study import Study, open_study
from layertune.study.threads import with_free_threads
from layertune.units import format_bytes, format_duration, join_bytes


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
    if resume and config_path is None and folder is not None and is_there(folder / CONFIG_NAME):
        config_path = folder / CONFIG_NAME
    config = study_config(config_path, overrides)
    folder = folder or Path("studies") / config.name
    check_storage(folder, storage)
    config = with_free_threads(config, folder, say, resume=resume, shared=storage is not None)
    study = open_study(config, say, shared=storage is not None)
    for shape in study.shapes.values():
        quote(shape.files[0].name)  # a name that no .env can hold is refused now, not after the last trial
    _say_what(study, folder)
    if dry_run:
        duration = expected_duration(study)
        if as_json:
            n_fit = None if study.feasible is None else study.feasible.n_settings()
            settings = {"n_settings": study.space.n_settings(), "n_settings_that_fit": n_fit}
            show_json(settings | {"duration": duration and duration.as_json()})
        elif duration is not None:
            say(f"takes {duration}")
        return
    end_as_ctrl_c()
    with ExitStack() as live:
        progress: SearchProgress | None = None

        def on_event(event: Event) -> None:
            nonlocal progress
            if isinstance(event, SearchOpened):
                progress = live.enter_context(SearchProgress(event.task, event.finished))
            elif isinstance(event, SearchStopped):
                live.close()
                say(f"stopped: {event.why}")
            elif progress is not None:
                progress.on_event(event)

        result = study.search(folder, storage=storage, resume=resume, on_event=on_event)
    with printing():
        if as_json:
            show_json(result.model_dump(mode="json"), indent=None)
        else:
            print_front(result)
    if not result.pareto:
        raise nothing_chosen(result)
    say(f"wrote {FILE_NAME}, {REPORT_NAME} and .env (the balanced pick) in {folder}")


def _say_what(study: Study, folder: Path) -> None:
    target, limits, config = study.target, study.limits, study.config
    size = f" ({format_bytes(target.vram_bytes)})" if target.vram_bytes is not None else ""
    emulated = "; EMULATED: bytes are exact, speeds are this CPU's" if target.kind == "emulated" else ""
    budget = f", budget {join_bytes(limits.vram)}" if limits.vram else ""
    say(f"device: {target.name}{size}{budget}{emulated}")
    for key, shape in study.shapes.items():
        size = format_bytes(shape.file_bytes)
        say(f"{model_and_file(key)[0]}: {shape.files[0].name}, {shape.architecture}, {shape.n_layer} layers, {size}")
    for note in (*companion_notes(study.shapes), *study.space_notes):
        say(note)
    feasible = study.feasible
    fitting = f" of which {feasible.n_settings()} fit" if feasible is not None else ""
    limit_s = config.search.timeout
    limit = "no time limit" if limit_s is None else f"time limit {format_duration(limit_s)}"
    say(
        f"study: {folder}, {study.space.n_settings()} settings{fitting}, sampler {config.search.sampler}, "
        f"at most {config.search.n_trials} trials, {limit}"
    )
