"""What a search and its worker process say to each other, orders and messages: one JSON value per line."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from layertune.devices.target import Target
from layertune.settings import EngineSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import ModelSamples, TrialOutcome
from layertune.trial.time_spent import TimeSpent


@dataclass(frozen=True, slots=True)
class ModelTask:
    """One model of a trial: its file, its settings and the workload to clock, in tokens."""

    name: str
    path: str
    settings: EngineSettings
    n_prompt: int
    n_generate: int


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """Everything a worker needs for a trial; what it opened for its first one it keeps for the next.

    `ledger_descriptors` are the inherited file descriptors of the emulated cards' ledgers. Without an effort the models
    are loaded and run once, unclocked.
    """

    models: tuple[ModelTask, ...]
    target: Target
    ledger_descriptors: tuple[int, ...]
    seed: int
    effort: Effort | None
    kind: Literal["trial"] = "trial"


@dataclass(frozen=True, slots=True)
class GoOn:
    """The answer to `Progress`; `stop` is why no further repetition is needed, None where one is."""

    stop: str | None
    kind: Literal["go_on"] = "go_on"


@dataclass(frozen=True, slots=True)
class Stage:
    """The worker has begun something; if it dies, this is where."""

    name: Literal["open", "load", "kv_cache", "decode", "solo", "together", "beside_prefill", "unload"]
    model: str | None = None
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is measured so far, each model alone, and what is in use of the device; the worker waits for `GoOn`."""

    models: dict[str, ModelSamples]
    used_bytes: int | None
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a trial, None where it was not to be clocked. A worker that does not stay must be replaced: what it
    holds or counts can no longer be told from the next trial's."""

    outcome: Annotated[TrialOutcome | None, Field(discriminator="state")]
    clock: TimeSpent
    stays: bool
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Stale:
    """The worker has not begun: memory that it freed did not come back. A fresh one has to run the trial."""

    why: str
    kind: Literal["stale"] = "stale"


Message = Stage | Progress | Done | Stale
Order = TrialRequest | GoOn

ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
