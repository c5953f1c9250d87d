"""The threads with which the models and the emulated cards of a trial compute at the same time."""

from layertune.devices.host import n_usable_cores
from layertune.devices.host_conditions import oversubscription
from layertune.trial.messages import TrialRequest


def most_threads(request: TrialRequest) -> int:
    """Return the most threads of all models, or of all emulated cards."""
    return max(sum(_of_models(request).values()), sum(_of_cards(request).values()))


def oversubscribed(request: TrialRequest) -> str | None:
    """Return a sentence fragment if more threads compute at once than there are cores, otherwise None."""
    return oversubscription(_of_models(request) | _of_cards(request), n_usable_cores(), _n_asleep(request))


def _of_models(request: TrialRequest) -> dict[str, int]:
    return {task.name: task.settings.most_threads for task in request.models}


def _n_asleep(request: TrialRequest) -> int:
    """Return how many models with a single thread sleep, at least, while all emulated cards compute."""
    if request.target.n_threads is None:
        return 0
    n_single = list(_of_models(request).values()).count(1)
    return max(0, min(len(request.target.devices), len(request.models)) - len(request.models) + n_single)


def _of_cards(request: TrialRequest) -> dict[str, int]:
    """Return the threads of the emulated cards. At most as many cards compute at once as there are models."""
    n_threads, n_cards = request.target.n_threads, len(request.target.devices)
    if n_threads is None:
        return {}
    name = "the emulated card" if n_cards == 1 else "the emulated cards"
    return {name: n_threads * min(n_cards, len(request.models))}
