"""Plans of settings that no trial of a study had: made again from its config and model files, where these are here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from layertune.cli.console import say
from layertune.cli.measured_file import is_measured_file
from layertune.cli.planning import Planning, plan_study
from layertune.config import CONFIG_NAME, load_config
from layertune.errors import LayertuneError
from layertune.explain import engines_to_plan
from layertune.memory import EngineMemory
from layertune.results.result import Result, TrialInfo

NOTHING: Mapping[str, EngineMemory] = {}


def picked_trials(result: Result) -> list[TrialInfo]:
    """Return every trial that is a pick, once."""
    return [result.trial(number) for number in dict.fromkeys(result.picks.values())]


def plan_again(study: Path, result: Result, picks: Sequence[TrialInfo]) -> Mapping[str, EngineMemory]:
    """Return the memory of all that an explanation of `picks` asks for; nothing where every step of them has a plan in
    the result, or none can be made here, which is said on standard error."""
    if not any(engines_to_plan(result, picks).values()):
        return NOTHING
    config = (study if study.is_dir() else study.parent) / CONFIG_NAME
    if not config.exists():
        return _nothing(f"there is no {config}")
    try:
        planning = plan_study(load_config(config))
    except LayertuneError as error:
        return _nothing(str(error))
    unlike = _unlike(planning, result)
    return _nothing(unlike) if unlike else plan_with(planning, result, picks)


def plan_with(planning: Planning, result: Result, picks: Sequence[TrialInfo]) -> Mapping[str, EngineMemory]:
    """Return the same where the models' headers are read already; llama.cpp is asked once for each model."""
    try:
        planning.projections.learn(engines_to_plan(result, picks))
        return planning.planner().models
    except LayertuneError as error:
        return _nothing(str(error))


def _nothing(why: str) -> Mapping[str, EngineMemory]:
    say(f"bytes that the study has not planned are left out: {why}")
    return NOTHING


def _unlike(planning: Planning, result: Result) -> str:
    """Say which model file here is not the study's, by what a plan depends on; empty where all are."""
    for name, model in result.models.items():
        shape = planning.shapes.get(name)
        if shape is None:
            return f"its {CONFIG_NAME} has no model {name}"
        if not is_measured_file(shape, model):
            return f"{shape.files[0].name} is not the file that was measured"
    return ""
