"""What a search is given, and the events that it reports while it runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from layertune.config import Floor, Objective
from layertune.config.model_config import Workload
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
    """What a search is given.

    Attributes:
        name: of the study.
        space: all settings that may be tried.
        objectives: what is optimised.
        limits: what the models may take of the devices and of the host.
        identity: everything that must be the same for two trials of the study to be comparable.
        sampler: the name or the import path of the sampler.
        seed: of everything random.
        n_trials: the search stops after so many trials.
        early_stop: whether it may stop before that, by the stopping rule.
        timeout_s: the search stops after so many seconds, its finals included.
        initial_design: the settings that are measured before the sampler chooses.
        feasible: the settings that fit; None if memory cannot be planned.
        baselines: canonical settings that take part in the finals in any case.
        workloads: by model, how many tokens are read and generated.
        floors: the least speeds that a setting of the front must have.
        weights: by model, how much its speed counts in the pick `balanced`.
        reference_files: by model, the settings (`file`, `type_k`, `type_v`) that quality was measured against.
        prior: by model, what another study measured, for a warm start.
        schedule: how trials, reference and finals are measured.
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
    reference_files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prior: Mapping[str, Sequence[Observation]] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True, slots=True)
class SearchOpened:
    """The search was opened; `finished` are the trials that a resumed study has already."""

    task: SearchTask
    finished: tuple[FinishedTrial, ...]


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial begins, after `n_finished` others."""

    number: int
    settings: SplitSettings
    n_finished: int


@dataclass(frozen=True, slots=True)
class TrialSlow:
    """The trial that runs takes long; `words` say for how long, and why if that is known."""

    words: str


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial has ended and is stored.

    `n_finished` includes it, `picks` are the picks so far, and the finals would measure `n_contenders` settings now.
    `noise` is the relative noise of one measurement, as far as the search knows it.
    """

    trial: FinishedTrial
    n_finished: int
    picks: Mapping[str, int] = field(default_factory=dict)
    n_contenders: int = 0
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class ReferenceMeasured:
    """The reference was measured again.

    `drift` is the speed relative to the first reference measurement, of the measurement that differs most; None if none
    clearly differs.
    """

    drift: float | None


@dataclass(frozen=True, slots=True)
class DeviceAwaited:
    """The search waits for the device, which the process `owner` uses."""

    owner: str


@dataclass(frozen=True, slots=True)
class SearchStopped:
    """The search has ended, with its finals; `why` is why the trials stopped."""

    why: str


Event = (
    SearchOpened
    | TrialStarted
    | Stage
    | TrialSlow
    | TrialFinished
    | ReferenceMeasured
    | RoundMeasured
    | DeviceAwaited
    | SearchStopped
)
