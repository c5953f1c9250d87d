"""What a study stores besides its trials: rounds of the finals, validation runs, and reference measurements.

Each measurement is one attribute of the Optuna study, durable before the next measurement begins.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.study import Study

from layertune.results.drift import Reference
from layertune.results.trials import FinishedTrial, Measurement, RoundStage
from layertune.search.storage import storing
from layertune.search.stored import check_models, foreign, stored_outcome
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, Measured, TrialOutcome

# The attributes' names: "final OF ROUND NUMBER" and "confirming OF ROUND NUMBER", of a round of the trial NUMBER.
_ROUND = re.compile(r"(?P<key>final|confirming) (?P<of>\S+) (?P<n_round>\d{1,9}) (?P<number>\d{1,9})")
_KEYS: dict[RoundStage, str] = {"finals": "final", "validation": "confirming"}
_DISTURBED: dict[RoundStage, str] = {"finals": "finals", "validation": "confirming"}
_REFERENCE = re.compile(r"reference (?P<n_trials>\d{1,9})")

# Outcomes by the number of the trial, then by the round.
Rounds = dict[int, dict[int, TrialOutcome]]


class StudyRecord:
    """The stored measurements of one study.

    Finals are named by the number of trials that their finalists were chosen from: after further trials there are new
    finals. Validation runs are named by what was chosen, too.

    In a storage that other machines write to, `mark` precedes the names of this one's. Rounds and reference
    measurements of two machines cannot be compared, so each machine reads its own only. Every method raises
    StorageError where the storage cannot be read or written.
    """

    def __init__(self, study: Study, mark: str = "") -> None:
        self._study = study
        self._mark = mark

    def add_round(self, stage: RoundStage, of: str, n_round: int, number: int, outcome: TrialOutcome) -> None:
        self._add(f"{_KEYS[stage]} {of} {n_round} {number}", outcome)

    def add_reference(self, n_trials: int, outcome: Measured) -> None:
        self._add(f"reference {n_trials}", outcome)

    def add_disturbed(self, of: str, outcome: Measured) -> None:
        """Store a measurement that is made again because something disturbed it; `of` names what was measured."""
        n_kept = sum(key.startswith(f"disturbed {of} ") for key in self._attributes())
        self._add(f"disturbed {of} {n_kept}", outcome)

    def add_disturbed_round(self, stage: RoundStage, number: int, outcome: Measured) -> None:
        """Store the same of a round of the trial with that number."""
        self.add_disturbed(f"{_DISTURBED[stage]} {number}", outcome)

    def rounds(self, stage: RoundStage, of: str) -> Rounds:
        """Return the rounds of a stage. `of` is the number of trials for the finals, and for validation runs what
        `finals.validation_of` returns."""
        found: Rounds = {}
        for key, value in self._attributes().items():
            match = _ROUND.fullmatch(key)
            if match and (match["key"], match["of"]) == (_KEYS[stage], of):
                of_finalist = found.setdefault(int(match["number"]), {})
                of_finalist[int(match["n_round"])] = stored_outcome(value, f"an attribute {key}")
        return {number: dict(sorted(rounds.items())) for number, rounds in found.items()}

    def validations(self, n_trials: int) -> dict[int, list[Measurement]]:
        """Return every validation run after the finals over `n_trials` trials by the trial's number, also those of an
        earlier choice."""
        found: dict[int, list[Measurement]] = {}
        for key, value in self._attributes().items():
            match = _ROUND.fullmatch(key)
            if match and match["key"] == _KEYS["validation"] and match["of"].startswith(f"{n_trials}:"):
                outcome = stored_outcome(value, f"an attribute {key}")
                run = Measurement("validation", int(match["n_round"]), outcome)
                found.setdefault(int(match["number"]), []).append(run)
        return found

    def references(self) -> list[Reference]:
        """Return the reference measurements in their order."""
        found: list[Reference] = []
        for key, value in self._attributes().items():
            match = _REFERENCE.fullmatch(key)
            outcome = stored_outcome(value, f"an attribute {key}") if match else None
            if match and isinstance(outcome, Measured):
                if found and outcome.models.keys() != found[0].outcome.models.keys():
                    raise foreign(f"an attribute {key}")
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
    validations: Sequence[Measurement] = (),
) -> FinishedTrial:
    """Return a trial with its rounds of the finals, and with those of its `validations` that failed. A limit that any
    of these outcomes breaks is broken."""
    finals = tuple(Measurement("finals", n_round, outcome) for n_round, outcome in rounds.items())
    violations = dict(trial.violations)
    for each in (*finals, *validations):
        check_models(trial.settings, each.outcome, limits, f"rounds of trial {trial.number}")
        for name, excess in limits.violations(trial.settings, each.outcome).items():
            violations[name] = max(excess, violations.get(name, excess))
    failed = tuple(each for each in validations if not isinstance(each.outcome, Measured))
    return replace(trial, measurements=(*trial.measurements, *finals, *failed), violations=violations)


def with_validation(trial: FinishedTrial, rounds: Mapping[int, TrialOutcome]) -> FinishedTrial:
    """Return a finalist with its validation runs, without those that failed: `with_rounds` has added these."""
    runs = (Measurement("validation", *each) for each in rounds.items())
    measured = tuple(each for each in runs if isinstance(each.outcome, Measured))
    return replace(trial, measurements=(*trial.measurements, *measured))
