"""Looks at the machine before a search, and gives the models and the emulated card the cores that are free."""

import time
from collections.abc import Callable
from pathlib import Path

from layertune.config import CONFIG_NAME, StudyConfig, dimension_values, load_config
from layertune.config.threads import with_default_threads, with_recorded_threads
from layertune.devices.cores import this_cores
from layertune.devices.host_watch import HostWatch
from layertune.regular_files import is_there
from layertune.study.default_budget import with_recorded_budget

# In half a second the counters give other programs at most 0.04 cores too much; see host_conditions.
_LOOK_S = 0.5
# Less than half a core is a browser or an editor; the trials' own watch reports it if it disturbs them.
_BUSY_CORES = 0.5


def foreign_cores() -> float | None:
    """Return how many cores other programs use, over half a second; None if the system does not report it."""
    watch = HostWatch(0)
    watch.start()
    time.sleep(_LOOK_S)
    use = watch.use()
    return None if use.foreign_cpu_s is None else use.foreign_cpu_s / use.window_s


def with_free_threads(
    config: StudyConfig,
    folder: Path,
    notify: Callable[[str], None],
    *,
    resume: bool,
    shared: bool,
    foreign: Callable[[], float | None] = foreign_cores,
) -> StudyConfig:
    """Return the config of a search with all threads in it, and say once if other programs use the cores.

    Args:
        config: as the user wrote it.
        folder: the study's folder. A study that is resumed keeps its threads and its default budget.
        notify: called with the sentence.
        resume: whether the study in `folder` goes on.
        shared: whether other machines search the same study: then its threads depend on the number of cores only.
        foreign: returns how many cores other programs use.

    Raises:
        ConfigError: the config of the resumed study cannot be read.
    """
    found, taken = this_cores(), foreign() or 0.0
    n_cores, n_compute = found.n_logical, found.n_compute
    if resume and is_there(folder / CONFIG_NAME):
        recorded = load_config(folder / CONFIG_NAME)
        config = with_recorded_budget(with_recorded_threads(config, recorded, n_cores), recorded)
    n_busy = round(taken)
    quiet = with_default_threads(config, n_compute, found.n_processors)
    free = with_default_threads(config, max(1, n_compute - n_busy), max(1, found.n_processors - n_busy))
    chosen = quiet if shared else free
    if taken >= _BUSY_CORES:
        cores = "1 core" if n_cores == 1 else f"{n_cores} cores"
        fewer = "" if chosen == quiet else f"; to leave them room, {_words(chosen)} by default"
        notify(
            f"warning: other programs use {taken:.1f} of {cores}: speeds will be lower and noisier, and trials take "
            f"longer{fewer}"
        )
    return chosen


def _words(config: StudyConfig) -> str:
    written = {name: model.space.n_threads for name, model in config.models.items()}
    threads = {name: dimension_values(each)[0] for name, each in written.items() if each is not None}
    if config.emulated.n_threads is not None and config.resolved_device().kind == "emulated":
        threads["the emulated card"] = config.emulated.n_threads
    return ", ".join(f"{name} {n}" for name, n in threads.items()) + " threads"
