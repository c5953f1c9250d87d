"""Several settings measured in interleaved rounds, by the validation runs of a search."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from math import exp, fsum, log
from pathlib import Path

import optuna

from layertune.results.statistics import Comparison, compare
from layertune.results.trials import FinishedTrial, Round
from layertune.search.finals import Finals, validation_of
from layertune.search.storage import open_journal
from layertune.search.study_record import StudyRecord, with_validation
from layertune.settings import SplitSettings
from layertune.study.search_task import schedule_of, trial_context
from layertune.study.study import Study
from layertune.trial.process_runner import ProcessTrialRunner

SEED = 1
TOGETHER = "tokens_per_s_together"


def distinct(study: Study, named: Mapping[str, SplitSettings]) -> dict[str, SplitSettings]:
    """Return each setting once; the name of equal ones is all their names."""
    names: dict[SplitSettings, list[str]] = {}
    for name, settings in named.items():
        names.setdefault(study.space.canonical(settings), []).append(name)
    return {" = ".join(each): settings for settings, each in names.items()}


def baselines_that_fit(study: Study) -> dict[str, SplitSettings]:
    """Return the settings that other rules would choose and that fit the budget, by name."""
    return {
        each.name: each.settings
        for each in study.baselines
        if each.settings is not None and study.feasible is not None and not study.feasible.exceeded(each.settings)
    }


def measured_in_rounds(
    study: Study, named: Mapping[str, SplitSettings], folder: Path, n_rounds: int, stop: Callable[[], bool]
) -> dict[str, FinishedTrial]:
    """Load and measure every setting once in each round, in random order, and return what was measured so far.

    A folder that holds rounds of the same settings is continued.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = StudyRecord(optuna.create_study(storage=open_journal(folder), study_name="rounds", load_if_exists=True))
    trials = [
        FinishedTrial(number, settings, measurements=(), violations={})
        for number, settings in enumerate(named.values())
    ]
    schedule = replace(schedule_of(study), n_confirming=n_rounds)
    with closing(ProcessTrialRunner(trial_context(study))) as runner:
        runner.prepare(trials[0].settings)
        Finals(schedule, record, 0, SEED).validate(trials, runner, print, stop)
    rounds = record.rounds("validation", validation_of(0, trials))
    measured = [with_validation(each, rounds.get(each.number, {})) for each in trials]
    return dict(zip(named, measured, strict=True))


def speeds(trial: FinishedTrial, model: str, quantity: str) -> dict[Round, float]:
    """Return a quantity of a model in each round."""
    return trial.by_round(model, quantity, "validation")


def mean_speeds(trial: FinishedTrial, quantity: str) -> dict[Round, float]:
    """Return the geometric mean over the models of a quantity in each round."""
    each = [speeds(trial, model, quantity) for model in trial.settings]
    common = set(each[0]).intersection(*each[1:])
    return {key: exp(fsum(log(one[key]) for one in each) / len(each)) for key in common}


def ratio(ours: Mapping[Round, float], theirs: Mapping[Round, float]) -> Comparison:
    """Compare two settings by their common rounds."""
    found = compare(ours, theirs)
    if found is None:
        raise SystemExit("the settings have no round in common")
    return found


def in_words(found: Comparison) -> str:
    """Return a ratio with its 95 % interval."""
    if found.low is None or found.high is None:
        return f"{found.ratio:.2f}"
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})"
