"""Memory plans of settings that no trial of a study had, made from its config and model files if they are here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from layertune.config import CONFIG_NAME, load_config
from layertune.errors import LayertuneError
from layertune.explain import engines_to_plan
from layertune.memory import EngineMemory
from layertune.regular_files import is_folder, is_there
from layertune.results.result import Result, TrialInfo
from layertune.study.models_on_device import ModelsOnDevice, is_measured_file, models_of

NOTHING: Mapping[str, EngineMemory] = {}


def picked_trials(result: Result) -> list[TrialInfo]:
    """Return every trial that is a pick, once."""
    return [result.trial(number) for number in dict.fromkeys(result.picks.values())]


def plan_again(
    study: Path, result: Result, picks: Sequence[TrialInfo], notify: Callable[[str], None]
) -> Mapping[str, EngineMemory]:
    """Return the memory of all that an explanation of `picks` asks for.

    It is empty where the result has a plan of every step already. Where none can be made here it is empty too, and
    `notify` is called with the reason.
    """
    if not any(engines_to_plan(result, picks).values()):
        return NOTHING
    config = (study if is_folder(study) else study.parent) / CONFIG_NAME
    if not is_there(config):
        return _nothing(f"there is no {config}", notify)
    try:
        models = models_of(load_config(config))
    except LayertuneError as error:
        return _nothing(str(error), notify)
    unlike = _unlike(models, result)
    return _nothing(unlike, notify) if unlike else plan_with(models, result, picks, notify)


def plan_with(
    models: ModelsOnDevice, result: Result, picks: Sequence[TrialInfo], notify: Callable[[str], None]
) -> Mapping[str, EngineMemory]:
    """Return the memory of what an explanation asks for, for models whose headers are read already."""
    try:
        models.learn(engines_to_plan(result, picks))
        return models.planner().models
    except LayertuneError as error:
        return _nothing(str(error), notify)


def _nothing(why: str, notify: Callable[[str], None]) -> Mapping[str, EngineMemory]:
    notify(f"bytes that the study has not planned are left out: {why}")
    return NOTHING


def _unlike(models: ModelsOnDevice, result: Result) -> str:
    """Return a sentence about the first model file that is not the study's; empty where all are."""
    for key, model in result.variants().items():
        shape = models.shapes.get(key)
        if shape is None:
            return f"its {CONFIG_NAME} has no model {key}"
        if not is_measured_file(shape, model):
            return f"{shape.files[0].name} is not the file that was measured"
    return ""
