"""What a study is about, and what it tells while it runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from layertune.config import Floor, Objective
from layertune.config.study import Workload
from layertune.results.trials import FinishedTrial
from layertune.sampler.posterior import Observation
from layertune.search.finals import RoundMeasured
from layertune.search.schedule import Schedule
from layertune.settings import SplitSettings
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits
from layertune.space.search_space import SearchSpace
from layertune.trial.messages import Stage


@dataclass(frozen=True, slots=True)
class SearchTask:
    """What a study is about. `identity` is all that must be the same for its figures to be comparable.

    `baselines` are the canonical settings that the finals measure in any case. Without `feasible`, nobody knows what
    fits before it is loaded. `prior` is what another study measured of the same models, for a warm start.
    """

    name: str
    space: SearchSpace
    objectives: Sequence[Objective]
    limits: Limits
    identity: Mapping[str, str]
    sampler: str
    seed: int
    n_trials: int
    early_stop: bool
    timeout_s: float | None
    initial_design: Sequence[SplitSettings] = ()
    feasible: FeasibleSpace | None = None
    baselines: Collection[SplitSettings] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    floors: Sequence[Floor] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    prior: Mapping[str, Sequence[Observation]] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True, slots=True)
class SearchOpened:
    """The search begins; `finished` are the trials that a resumed study has already."""

    task: SearchTask
    finished: tuple[FinishedTrial, ...]


@dataclass(frozen=True, slots=True)
class TrialStarted:
    number: int
    settings: SplitSettings
    n_finished: int


@dataclass(frozen=True, slots=True)
class TrialFinished:
    trial: FinishedTrial
    n_finished: int


@dataclass(frozen=True, slots=True)
class ReferenceMeasured:
    """`drift` is the relative speed of the machine farthest from the first reference's, None where it is the same."""

    drift: float | None


@dataclass(frozen=True, slots=True)
class DeviceAwaited:
    """Another process, `owner`, measures on the device; the search waits for it."""

    owner: str


@dataclass(frozen=True, slots=True)
class SearchStopped:
    """The search has ended, all its measurements included; `why` says what ended the trials."""

    why: str


Event = (
    SearchOpened
    | TrialStarted
    | Stage
    | TrialFinished
    | ReferenceMeasured
    | RoundMeasured
    | DeviceAwaited
    | SearchStopped
)
