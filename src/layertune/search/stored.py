"""What a storage holds of a study, checked where it is read: it may be damaged, or written by something else.

What passes can be counted with, compared, and written into a result.json.
"""

import json
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from layertune.errors import StorageError
from layertune.results.trial_summary import trial_info
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.space.limits import Limits
from layertune.trial.outcome import OUTCOME, Measured, TrialOutcome

T = TypeVar("T")

_SETTINGS: TypeAdapter[dict[str, EngineSettings]] = TypeAdapter(dict[str, EngineSettings])
_ANY = EngineSettings(n_gpu_layers=0, n_ctx=1, n_batch=1, n_ubatch=1, n_threads=1)

# What figures beyond all bounds raise before they come to a bound.
_BEYOND = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


def foreign(what: str) -> StorageError:
    return StorageError(
        f"the study's storage has {what} that layertune has not written",
        remedy="restore it from a copy, or start another study with --study DIR",
    )


def stored(adapter: TypeAdapter[T], value: Any, what: str) -> T:
    """Raises StorageError where the value is not what `adapter` reads, or has a number that is none."""
    try:
        json.dumps(value, allow_nan=False)
        return adapter.validate_python(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise foreign(what) from error


def stored_settings(value: Any, what: str) -> SplitSettings:
    """Raises StorageError where these are no settings, or llama.cpp can be given none of them."""
    engines = stored(_SETTINGS, value, what)
    if any(engine.out_of_range() for engine in engines.values()):
        raise foreign(what)
    return SplitSettings.of(engines)


def stored_outcome(value: Any, what: str) -> TrialOutcome:
    """Raises StorageError where this is no outcome, or no result.json could hold it."""
    outcome = stored(OUTCOME, value, what)
    models = outcome.models if isinstance(outcome, Measured) else {}
    settings = {
        name: _ANY if report.samples.tg_tokens_per_s else replace(_ANY, pooling="mean")
        for name, report in models.items()
    }
    try:
        trial_info(FinishedTrial.of(0, SplitSettings.of(settings), outcome, {}), None, None)
    except _BEYOND as error:
        raise foreign(what) from error
    return outcome


def check_models(settings: SplitSettings, outcome: TrialOutcome, limits: Limits, what: str) -> None:
    """Raises StorageError where an outcome is of other models or devices than its trial's, or too large to count."""
    if isinstance(outcome, Measured):
        n_devices = len(outcome.vram.each) if outcome.vram is not None and limits.vram else 0
        if outcome.models.keys() != {*settings} or n_devices not in (0, len(limits.vram)):
            raise foreign(what)
    try:
        limits.violations(settings, outcome)
    except ArithmeticError as error:
        raise foreign(what) from error
