"""A study's life: opened or resumed, asked and told until something stops it."""

import random
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from sqlalchemy.exc import SQLAlchemyError  # Optuna passes it on

from layertune.config import Objective
from layertune.config.study import SamplerName
from layertune.errors import Interrupted, NothingFits, StorageError, StudyMismatch
from layertune.results.summary import reason
from layertune.results.trials import FinishedTrial
from layertune.search.constraints import VRAM, Limits
from layertune.search.record import Recorder, finished_trials, mend_trials
from layertune.search.samplers import accepting_experimental, make_sampler
from layertune.search.space import SearchSpace
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured
from layertune.trial.runner import TrialRunner
from layertune.units import format_bytes

_IDENTITY = "identity"
_OWNER_FILE = "owner"

# A sampler that proposes known engines this often in a row has converged on them; an unseen setting comes next.
_MAX_REPEATS = 20
# Spaces up to this size are enumerated to find an unseen setting; larger ones are sampled.
_MAX_ENUMERATED = 200_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study is about. `identity` is all that must be the same for its figures to be comparable."""

    name: str
    space: SearchSpace
    objectives: Sequence[Objective]
    limits: Limits
    identity: Mapping[str, str]
    sampler: SamplerName
    seed: int
    n_trials: int
    timeout_s: float | None
    first: Sequence[SplitSettings] = ()


@dataclass(frozen=True, slots=True)
class TrialStarted:
    number: int
    settings: SplitSettings
    n_finished: int


@dataclass(frozen=True, slots=True)
class TrialFinished:
    trial: FinishedTrial
    n_finished: int


Event = TrialStarted | TrialFinished


class Search:
    """One study, opened by the process that holds its folder's lock."""

    def __init__(self, plan: Plan, storage: BaseStorage, folder: Path) -> None:
        """Create the study, or take up the one that the storage has.

        Raises:
            StudyMismatch: it was made on other hardware, models, settings or another llama.cpp.
            StorageError: the storage cannot be read.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._plan = plan
        self._owner = _owner(folder)
        self._study = _open_study(plan, storage)
        self._recorder = Recorder(self._study, storage, plan.objectives, plan.limits)
        mend_trials(self._study, self._recorder, self._owner)
        if not self._study.get_trials(deepcopy=False):
            for settings in dict.fromkeys(plan.first):
                self._study.enqueue_trial(plan.space.params(settings))

    def finished(self) -> list[FinishedTrial]:
        return finished_trials(self._study, self._plan.limits)

    def run(self, runner: TrialRunner, on_event: Callable[[Event], None]) -> str:
        """Run trials until a limit is reached or the space is exhausted; return why it stopped, in words.

        Raises:
            Interrupted: Ctrl-C; every finished trial is kept and the interrupted one is queued again.
            NothingFits: the smallest setting is over the budget.
        """
        known = {trial.settings: trial for trial in self.finished()}
        try:
            return self._run(known, runner, on_event)
        except KeyboardInterrupt as interrupt:
            mend_trials(self._study, self._recorder, self._owner)
            raise Interrupted(
                f"interrupted after {len(known)} trials; all of them are kept", remedy="go on with --resume"
            ) from interrupt

    def _run(
        self, known: dict[SplitSettings, FinishedTrial], runner: TrialRunner, on_event: Callable[[Event], None]
    ) -> str:
        plan = self._plan
        deadline_s = None if plan.timeout_s is None else time.monotonic() + plan.timeout_s
        n_repeats = 0
        while True:
            if len(known) >= plan.n_trials:
                return f"all {plan.n_trials} trials are done"
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return "the time is up"
            if n_repeats >= _MAX_REPEATS or len(known) >= plan.space.n_settings():
                unseen = self._unseen(known.keys())
                if unseen is None:
                    return "every setting of the space has been tried"
                self._study.enqueue_trial(plan.space.params(unseen))
            with _storing():
                trial = self._study.ask(plan.space.distributions())
                settings = plan.space.canonical(plan.space.settings(trial.params))
                self._recorder.begin(trial, settings, self._owner)
                same = known.get(settings)
                if same is not None:
                    n_repeats += 1
                    self._recorder.finish(trial.number, settings, same.outcome, same.number)
                    continue
            n_repeats = 0
            on_event(TrialStarted(trial.number, settings, len(known)))
            outcome = runner.run(settings)
            with _storing():
                known[settings] = finished = self._recorder.finish(trial.number, settings, outcome, None)
            on_event(TrialFinished(finished, len(known)))
            if settings == plan.space.canonical(plan.space.smallest()):
                _check_smallest(finished, plan.limits)

    def _unseen(self, seen: Collection[SplitSettings]) -> SplitSettings | None:
        """Return a random setting whose engine no trial has run, None where there is none (or none was found)."""
        space = self._plan.space
        generator = random.Random(f"{self._plan.seed} {len(seen)}")
        if space.n_settings() <= _MAX_ENUMERATED:
            unseen = [settings for settings in space.enumerate() if space.canonical(settings) not in seen]
            return generator.choice(unseen) if unseen else None
        for _ in range(_MAX_ENUMERATED):
            settings = space.settings({each.name: generator.choice(each.values) for each in space.dimensions})
            if space.canonical(settings) not in seen:
                return settings
        return None


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except (OSError, optuna.exceptions.OptunaError, SQLAlchemyError) as error:
        raise StorageError(
            f"the study cannot be written: {error}", remedy="mend that, then go on with --resume"
        ) from error


def _check_smallest(trial: FinishedTrial, limits: Limits) -> None:
    """Stop where even the smallest setting is over the device memory: every other needs at least as much."""
    if trial.violations.get(VRAM, 0) <= 0:
        return
    budget_bytes = (limits.vram_bytes or 0) - limits.margin_bytes
    if isinstance(trial.outcome, Measured) and trial.outcome.vram is not None:
        need = f"needs {format_bytes(trial.outcome.vram.peak_bytes)}"
    else:
        need = f"was refused: {reason(trial.outcome)}"
    raise NothingFits(
        f"nothing fits the budget of {format_bytes(budget_bytes)}: the smallest setting {need}",
        remedy="raise the budget, or let n_gpu_layers begin lower and n_ctx be smaller",
    )


def _open_study(plan: Plan, storage: BaseStorage) -> Study:
    try:
        with accepting_experimental():
            study = optuna.create_study(
                storage=storage,
                study_name=plan.name,
                sampler=make_sampler(plan.sampler, plan.space, plan.seed),
                directions=[objective.direction for objective in plan.objectives],
                load_if_exists=True,
            )
    except (KeyError, ValueError, optuna.exceptions.OptunaError) as error:
        raise StorageError(f"the study {plan.name} cannot be read: {error}", remedy="restore it from a copy") from error
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        with accepting_experimental():
            study.set_metric_names([objective.name for objective in plan.objectives])
        study.set_user_attr(_IDENTITY, dict(plan.identity))
    elif stored != plan.identity:
        raise StudyMismatch(_differences(stored, plan.identity), remedy="start another study with --study DIR")
    return study


def _differences(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [key for key in {**stored, **now} if stored.get(key) != now.get(key)]
    changes = "; ".join(f"{key} was {stored.get(key, 'not set')} and is {now.get(key, 'not set')}" for key in keys)
    return f"the study was made under other conditions: {changes}"


def _owner(folder: Path) -> str:
    """Return what marks this folder's trials in a storage that other machines write too."""
    file = folder / _OWNER_FILE
    if not file.exists():
        file.write_text(uuid.uuid4().hex, encoding="ascii")
    return file.read_text(encoding="ascii").strip()
