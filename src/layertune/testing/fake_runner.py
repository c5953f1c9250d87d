"""A trial runner without models. Memory and speed are linear in layers; noise, drift and failures are options."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp

from layertune.memory.buffers import BufferBytes
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import Infeasible, Measured, ModelReport, ModelSamples, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.units import MIB
from layertune.vram.vram_report import VramReport

_BYTES_PER_LAYER = 10 * MIB
_BYTES_PER_TOKEN_OF_CONTEXT = 1024


def needed_bytes(engine: EngineSettings) -> int:
    return engine.n_gpu_layers * _BYTES_PER_LAYER + engine.n_ctx * _BYTES_PER_TOKEN_OF_CONTEXT


def true_tokens_per_s(settings: SplitSettings, model: str) -> float:
    """Return a model's speed without noise: a layer on the card makes it faster, the others a little slower."""
    engine = settings[model]
    n_others = sum(each.n_gpu_layers for name, each in settings.items() if name != model)
    return max(1.0, 10.0 + engine.n_gpu_layers + engine.n_batch / 1024 - 0.1 * n_others)


def measured(settings: SplitSettings) -> Measured:
    """Return the outcome on a quiet card without a cap, with three repetitions."""
    speeds = {name: true_tokens_per_s(settings, name) for name in settings}
    return _measured(settings, {name: _samples((speed,) * 3, (speed / 2,) * 3) for name, speed in speeds.items()})


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative standard deviations between loads of one setting, and between repetitions of one load.

    The same seed and run number give the same noise.
    """

    load: float = 0.0
    repeat: float = 0.0
    seed: int = 0

    def generator(self, n_run: int) -> random.Random:
        return random.Random(f"{self.seed} noise {n_run}")


@dataclass(slots=True)
class FakeRunner:
    """Runs settings on a card of `cap_bytes`. Runs are numbered from 0.

    Attributes:
        before: Called with each setting first; may raise or kill.
        machine_speed: The relative speed of the machine in a run.
        disturbances: Disturbances, by run.
        outcomes: Outcomes that replace a measurement, by run.
        ran: The settings of every run that began.
        efforts: The efforts of every run that began.
        prepared: The settings that were run without timing.
    """

    cap_bytes: int = 400 * MIB
    before: Callable[[SplitSettings], None] = lambda _settings: None
    noise: Noise = field(default_factory=Noise)
    machine_speed: Callable[[int], float] = lambda _n_run: 1.0
    disturbances: Mapping[int, str] = field(default_factory=dict)
    outcomes: Mapping[int, TrialOutcome] = field(default_factory=dict)
    ran: list[SplitSettings] = field(default_factory=list)
    efforts: list[Effort] = field(default_factory=list)
    prepared: list[SplitSettings] = field(default_factory=list)

    def prepare(self, settings: SplitSettings) -> None:
        self.prepared.append(settings)

    def close(self) -> None:
        """Does nothing: a fake holds no resources."""

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        n_run = len(self.ran)
        self.ran.append(settings)
        self.efforts.append(effort)
        self.before(settings)
        if n_run in self.outcomes:
            return self.outcomes[n_run]
        excess_bytes = _peak_bytes(settings) - self.cap_bytes
        if excess_bytes > 0:
            return Infeasible("load", list(settings)[-1], "unable to allocate card buffer", excess_bytes, 0.01)
        outcome = self._measure(settings, effort, give_up, n_run)
        return replace(outcome, disturbances=(self.disturbances[n_run],)) if n_run in self.disturbances else outcome

    def _measure(self, settings: SplitSettings, effort: Effort, give_up: GiveUp, n_run: int) -> Measured:
        generator = self.noise.generator(n_run)
        machine_speed = self.machine_speed(n_run)
        speeds = {
            name: true_tokens_per_s(settings, name) * machine_speed * _jitter(generator, self.noise.load)
            for name in settings
        }

        def repeat(name: str) -> float:
            return speeds[name] * _jitter(generator, self.noise.repeat)

        alone: dict[str, list[float]] = {name: [] for name in settings}
        stopped = None
        for n_repeats in range(1, effort.max_repeats + 1):
            for name, samples in alone.items():
                samples.append(repeat(name))
            if n_repeats < effort.min_repeats:
                continue
            if effort.enough(alone.values()):
                break
            so_far = {name: _samples(samples) for name, samples in alone.items()}
            stopped = give_up(Progress(so_far, _peak_bytes(settings)))
            if stopped is not None:
                break
        once = stopped is not None or not effort.repeat_together
        n_together = 0 if not effort.together else 1 if once else n_repeats
        together = {name: samples[:n_together] for name, samples in alone.items()}
        n_beside = effort.n_beside_prefill if len(alone) > 1 else 0
        found = {
            name: _samples(alone[name], [each / 2 for each in together[name]], [repeat(name) for _ in range(n_beside)])
            for name in settings
        }
        found |= {name: _with_depth(found[name], repeat(name)) for name in effort.at_depth}
        return replace(_measured(settings, found), stopped=stopped)


def _measured(settings: SplitSettings, samples: Mapping[str, ModelSamples]) -> Measured:
    reports = {
        name: ModelReport(
            samples[name],
            {"gpu0": BufferBytes(weights_bytes=needed_bytes(engine)), "host": BufferBytes(weights_bytes=MIB)},
            load_s=0.1,
            flash_attn=True,
        )
        for name, engine in settings.items()
    }
    vram = VramReport(_peak_bytes(settings), 0, "card", "ledger")
    return Measured(reports, vram, peak_rss_bytes=MIB, duration_s=0.01)


def _samples(alone: Sequence[float], together: Sequence[float] = (), beside: Sequence[float] = ()) -> ModelSamples:
    """Return samples for these tokens/s: alone, with all models at once, and during long prompts of others.

    A prompt takes almost no time, so that a workload's tokens/s equal those of its generation.
    """
    return ModelSamples(
        pp_tokens_per_s=tuple(speed * 10_000 for speed in alone),
        tg_tokens_per_s=tuple(alone),
        ttft_s=tuple(1 / speed for speed in alone),
        tokens_per_s=tuple(alone),
        tokens_per_s_together=tuple(together),
        ttft_s_beside_prefill=tuple(4 / speed for speed in beside),
        tpot_s_beside_prefill=tuple(4 / speed for speed in beside),
    )


def _with_depth(samples: ModelSamples, speed: float) -> ModelSamples:
    """Add samples at depth: a token takes twice as long at full context, and half as long again at half of it."""
    half, full = speed / 1.5, speed / 2
    return replace(
        samples,
        pp_tokens_per_s_half=(half * 10_000,),
        tg_tokens_per_s_half=(half,),
        turn_s=(10 / half,),
        pp_tokens_per_s_full=(full * 10_000,),
        tg_tokens_per_s_full=(full,),
        fill_s=(20 / full,),
    )


def _peak_bytes(settings: SplitSettings) -> int:
    return sum(needed_bytes(engine) for _, engine in settings.items())


def _jitter(generator: random.Random, spread: float) -> float:
    """Return a factor with median 1, whose logarithm has the standard deviation `spread`."""
    return exp(generator.gauss(0, spread))
