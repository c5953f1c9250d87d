"""What a search and its worker process say to each other: one JSON value per line."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from layertune.devices.target import Target
from layertune.settings import EngineSettings
from layertune.trial.outcome import TrialOutcome


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
    """Everything a worker needs. `ledger_descriptor` is the inherited file descriptor of an emulated card's ledger."""

    models: tuple[ModelTask, ...]
    target: Target
    ledger_descriptor: int | None
    seed: int
    n_repeats: int


@dataclass(frozen=True, slots=True)
class Stage:
    """The worker has begun something; if it dies, this is where."""

    name: Literal["open", "load", "kv_cache", "decode", "solo", "together", "unload"]
    model: str | None = None
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class Done:
    outcome: Annotated[TrialOutcome, Field(discriminator="state")]
    kind: Literal["done"] = "done"


Message = Stage | Done

REQUEST: TypeAdapter[TrialRequest] = TypeAdapter(TrialRequest)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
