"""The protocol between a search and its worker process: orders and messages, one JSON value per line."""

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
    """One model of a trial: its file, its settings, and the workload to time (prompt and generated tokens)."""

    name: str
    path: str
    settings: EngineSettings
    n_prompt: int
    n_generate: int


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """Everything a worker needs for a trial.

    Attributes:
        models: The models, in the order in which they are loaded.
        target: The devices. A worker opens them for its first trial and keeps them for the next ones.
        ledger_descriptors: The inherited file descriptors of the emulated cards' ledgers.
        seed: Seed of the workloads' random tokens.
        effort: How often to repeat; None to load the models and run them once without timing.
    """

    models: tuple[ModelTask, ...]
    target: Target
    ledger_descriptors: tuple[int, ...]
    seed: int
    effort: Effort | None
    kind: Literal["trial"] = "trial"


@dataclass(frozen=True, slots=True)
class GoOn:
    """The answer to `Progress`. `stop` is the reason to end the trial early, None to go on."""

    stop: str | None
    kind: Literal["go_on"] = "go_on"


@dataclass(frozen=True, slots=True)
class Stage:
    """The worker begins a stage. If it dies, the last one is where it died."""

    name: Literal["open", "load", "kv_cache", "decode", "solo", "together", "beside_prefill", "at_depth", "unload"]
    model: str | None = None
    kind: Literal["stage"] = "stage"

    def words(self) -> str:
        """Return the stage for people."""
        return self.name if self.model is None else f"{self.name} {self.model}"


@dataclass(frozen=True, slots=True)
class Progress:
    """The samples so far, of each model alone, and the bytes in use on the device. The worker then waits for `GoOn`."""

    models: dict[str, ModelSamples]
    used_bytes: int | None
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a trial.

    Attributes:
        outcome: The outcome, None for a trial without timing.
        clock: How the trial's time is divided.
        stays: Whether the worker can run the next trial. Otherwise it must be replaced, because its memory could not
            be separated from the next trial's.
    """

    outcome: Annotated[TrialOutcome | None, Field(discriminator="state")]
    clock: TimeSpent
    stays: bool
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Stale:
    """The worker did not begin the trial, since memory that it freed was not returned. A new worker must run it."""

    why: str
    kind: Literal["stale"] = "stale"


Message = Stage | Progress | Done | Stale
Order = TrialRequest | GoOn

ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
