"""The threads of a study whose config leaves them open.

ggml's threads spin at a barrier after every node of the graph. If more threads compute at once than there are cores,
each barrier waits for a thread that has no core. So the defaults share the cores out.
"""

from collections.abc import Callable

from layertune.config.study_config import StudyConfig
from layertune.settings import RANGES


def with_default_threads(config: StudyConfig, n_cores: int, n_logical: int | None = None) -> StudyConfig:
    """Return the config with threads for every model and for the emulated card; those that it has are kept.

    All models may compute on the host at once, and each emulated card computes for one model at a time. What the config
    leaves open gets equal shares of the cores that it has not given away, and at least one thread. A model whose space
    is open (`auto`) gets half of its share and its share of all processors to choose from, too.

    Args:
        config: as the user wrote it.
        n_cores: the cores to share out; see `layertune.devices.cores`.
        n_logical: the processors of these cores, one for each hardware thread; None for one on each core.
    """
    n_cards = min(config.resolved_device().n_devices, len(config.models)) if _is_emulated(config) else 0
    given = [most for each in config.models.values() if (most := each.most_threads) is not None]
    n_open, n_left, card_threads = len(config.models) - len(given), n_cores - sum(given), config.emulated.n_threads
    if card_threads is not None:
        n_left -= n_cards * card_threads
    n_teams = n_open + (n_cards if card_threads is None else 0)
    threads = _within(n_left // max(1, n_teams))
    on_host = config.host.n_cpus_of(threads)
    if n_cards > 0 and card_threads is None:
        card_threads = _within((n_left - n_open * on_host) // n_cards)
    n_processors = n_cores if n_logical is None else n_logical
    of_processors = config.host.n_cpus_of(_within(on_host * n_processors // n_cores))
    choices = list(dict.fromkeys([on_host, max(1, on_host // 2), max(on_host, of_processors)]))
    return _filled(config, lambda name: choices if config.models[name].space.auto else on_host, card_threads)


def with_recorded_threads(config: StudyConfig, recorded: StudyConfig, n_cores: int) -> StudyConfig:
    """Return the config with the threads that a study was begun with; those that the config has are kept.

    Args:
        config: as the user wrote it.
        recorded: the config in the study's folder. Where an older version wrote no threads, a model has
            all cores.
        n_cores: the cores of this machine, which has to be the study's.
    """

    def threads_of(name: str) -> object:
        model = recorded.models.get(name)
        written = None if model is None else model.space.n_threads
        return recorded.host.n_cpus_of(n_cores) if written is None else written

    return _filled(config, threads_of, config.emulated.n_threads or recorded.emulated.n_threads)


def _filled(config: StudyConfig, threads_of: Callable[[str], object], card_threads: int | None) -> StudyConfig:
    models = dict(config.models)
    for name, model in config.models.items():
        if model.space.n_threads is None:
            space = model.space.model_copy(update={"n_threads": threads_of(name)})
            space.model_fields_set.discard("n_threads")  # the user did not write them
            models[name] = model.model_copy(update={"space": space})
    emulated = config.emulated.model_copy(update={"n_threads": card_threads})
    return config.model_copy(update={"models": models, "emulated": emulated})


def _is_emulated(config: StudyConfig) -> bool:
    return config.resolved_device().kind == "emulated"


def _within(n_threads: int) -> int:
    least, most = RANGES["n_threads"]
    return min(max(n_threads, least), most)
