"""What a study keeps beside its trials: the rounds of the finals and after them, and the reference measurements.

Each is one attribute of the Optuna study, durable before the next measurement begins.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.study import Study

from layertune.results.drift import Reference
from layertune.results.trials import FinishedTrial
from layertune.search.constraints import Limits
from layertune.search.measuring import RoundKind
from layertune.search.storage import storing
from layertune.trial.outcome import OUTCOME, Measured, TrialOutcome

_ROUND = re.compile(r"(?P<kind>final|confirming) (?P<n_trials>\d+) (?P<n_round>\d+) (?P<number>\d+)")
_REFERENCE = re.compile(r"reference (?P<n_trials>\d+)")

# By finalist, then by round.
Rounds = dict[int, dict[int, TrialOutcome]]


class StudyRecord:
    """Finals belong to the trials they chose from: after further trials, by their number, new ones begin.

    In a storage that other machines write too, `owner` marks this one's: rounds and references say how machine and
    settings do in the same minutes, so those of two machines are no one's. Every method raises StorageError where the
    storage cannot be read or written.
    """

    def __init__(self, study: Study, owner: str | None = None) -> None:
        self._study = study
        self._mark = "" if owner is None else f"{owner} "

    def add_round(self, kind: RoundKind, n_trials: int, n_round: int, number: int, outcome: TrialOutcome) -> None:
        self._add(f"{kind} {n_trials} {n_round} {number}", outcome)

    def add_reference(self, n_trials: int, outcome: Measured) -> None:
        self._add(f"reference {n_trials}", outcome)

    def add_disturbed(self, of: str, outcome: Measured) -> None:
        """Keep a measurement that is made again; `of` says of what."""
        n_kept = sum(key.startswith(f"disturbed {of} ") for key in self._attributes())
        self._add(f"disturbed {of} {n_kept}", outcome)

    def rounds(self, kind: RoundKind, n_trials: int) -> Rounds:
        """Return the rounds of one kind of the finals over `n_trials` trials."""
        found: Rounds = {}
        for key, value in self._attributes().items():
            match = _ROUND.fullmatch(key)
            if match and (match["kind"], int(match["n_trials"])) == (kind, n_trials):
                of_finalist = found.setdefault(int(match["number"]), {})
                of_finalist[int(match["n_round"])] = OUTCOME.validate_python(value)
        return {number: dict(sorted(rounds.items())) for number, rounds in found.items()}

    def references(self) -> list[Reference]:
        """Return the reference measurements in their order."""
        found = []
        for key, value in self._attributes().items():
            match = _REFERENCE.fullmatch(key)
            outcome = OUTCOME.validate_python(value) if match else None
            if match and isinstance(outcome, Measured):
                found.append(Reference(int(match["n_trials"]), outcome))
        return sorted(found, key=lambda each: each.n_trials)

    def _add(self, key: str, outcome: TrialOutcome) -> None:
        with storing():
            self._study.set_user_attr(self._mark + key, json.loads(OUTCOME.dump_json(outcome)))

    def _attributes(self) -> dict[str, Any]:
        with storing():
            found = self._study.user_attrs
        return {key.removeprefix(self._mark): value for key, value in found.items() if key.startswith(self._mark)}


def with_rounds(
    trial: FinishedTrial,
    limits: Limits,
    rounds: Mapping[int, TrialOutcome],
    confirming: Mapping[int, TrialOutcome] | None = None,
) -> FinishedTrial:
    """Return a finalist with its rounds; a limit that one of them broke is broken."""
    confirming = confirming or {}
    violations = dict(trial.violations)
    for outcome in (*rounds.values(), *confirming.values()):
        for name, excess in limits.violations(outcome).items():
            violations[name] = max(excess, violations.get(name, excess))
    return replace(trial, rounds=_measured(rounds), confirming=_measured(confirming), violations=violations)


def _measured(rounds: Mapping[int, TrialOutcome]) -> dict[int, Measured]:
    return {number: outcome for number, outcome in rounds.items() if isinstance(outcome, Measured)}
