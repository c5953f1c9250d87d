"""What a study keeps beside its trials: the rounds of the finals and after them, and the reference measurements.

Each is one attribute of the Optuna study, durable before the next measurement begins.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.study import Study

from layertune.results.drift import Reference
from layertune.results.trial_summary import reason
from layertune.results.trials import FinishedTrial, RoundKind
from layertune.search.storage import storing
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, Measured, TrialOutcome

_ROUND = re.compile(r"(?P<key>final|confirming) (?P<of>\S+) (?P<n_round>\d+) (?P<number>\d+)")
_KEYS: dict[RoundKind, str] = {"finals": "final", "confirming": "confirming"}
_REFERENCE = re.compile(r"reference (?P<n_trials>\d+)")

# By finalist, then by round.
Rounds = dict[int, dict[int, TrialOutcome]]


class StudyRecord:
    """Finals belong to the trials they chose from: after further trials, by their number, new ones begin. Confirming
    rounds belong to what was chosen.

    In a storage that other machines write too, `owner` marks this one's: rounds and references say how machine and
    settings do in the same minutes, so those of two machines are no one's. Every method raises StorageError where the
    storage cannot be read or written.
    """

    def __init__(self, study: Study, owner: str | None = None) -> None:
        self._study = study
        self._mark = "" if owner is None else f"{owner} "

    def add_round(self, kind: RoundKind, of: str, n_round: int, number: int, outcome: TrialOutcome) -> None:
        self._add(f"{_KEYS[kind]} {of} {n_round} {number}", outcome)

    def add_reference(self, n_trials: int, outcome: Measured) -> None:
        self._add(f"reference {n_trials}", outcome)

    def add_disturbed(self, of: str, outcome: Measured) -> None:
        """Keep a measurement that is made again; `of` says of what."""
        n_kept = sum(key.startswith(f"disturbed {of} ") for key in self._attributes())
        self._add(f"disturbed {of} {n_kept}", outcome)

    def rounds(self, kind: RoundKind, of: str) -> Rounds:
        """Return the rounds of one kind, `of` the finals over so many trials, or of one choice of these."""
        found: Rounds = {}
        for key, value in self._attributes().items():
            match = _ROUND.fullmatch(key)
            if match and (match["key"], match["of"]) == (_KEYS[kind], of):
                of_finalist = found.setdefault(int(match["number"]), {})
                of_finalist[int(match["n_round"])] = OUTCOME.validate_python(value)
        return {number: dict(sorted(rounds.items())) for number, rounds in found.items()}

    def confirmations(self, n_trials: int) -> dict[int, list[TrialOutcome]]:
        """Return by trial every outcome of confirming rounds after the finals over `n_trials` trials, whatever was
        chosen when they were held."""
        found: dict[int, list[TrialOutcome]] = {}
        for key, value in self._attributes().items():
            match = _ROUND.fullmatch(key)
            if match and match["key"] == _KEYS["confirming"] and match["of"].startswith(f"{n_trials}:"):
                found.setdefault(int(match["number"]), []).append(OUTCOME.validate_python(value))
        return found

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
    after: Sequence[TrialOutcome] = (),
) -> FinishedTrial:
    """Return a finalist with its rounds; a limit that one of them broke, or an outcome `after` them, is broken."""
    violations = dict(trial.violations)
    for outcome in (*rounds.values(), *after):
        for name, excess in limits.violations(outcome).items():
            violations[name] = max(excess, violations.get(name, excess))
    failed = [f"finals, round {n_round + 1}: {why}" for n_round, each in rounds.items() if (why := reason(each))]
    failed += [f"confirming: {why}" for each in after if (why := reason(each))]
    return replace(trial, rounds=only_measured(rounds), violations=violations, failed_rounds=tuple(failed))


def only_measured(rounds: Mapping[int, TrialOutcome]) -> dict[int, Measured]:
    return {number: outcome for number, outcome in rounds.items() if isinstance(outcome, Measured)}
