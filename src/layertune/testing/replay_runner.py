"""A trial runner that replays a recorded table with its measured noise. A search of an hour takes a second."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from random import Random
from typing import Protocol

from layertune.memory.buffers import BufferBytes
from layertune.settings import Placement, SplitSettings
from layertune.testing.recorded_noise import RecordedNoise
from layertune.testing.recorded_table import RecordedTable, Speed
from layertune.trial.effort import Effort
from layertune.trial.messages import Progress
from layertune.trial.outcome import Infeasible, Measured, ModelReport, ModelSamples, TrialOutcome
from layertune.trial.runners import GiveUp, never
from layertune.trial.time_spent import TimeSpent
from layertune.vram.vram_report import VramReport


class ReplayNoise(Protocol):
    """The noise of a machine."""

    def load(self, speed: Speed, generator: Random) -> Speed:
        """Return what a model of this true speed does after one load."""
        ...

    def repeat(self, speed: Speed, generator: Random) -> Speed:
        """Return one repetition of a loaded model."""
        ...


class ReplayRunner:
    """Runs settings of the table's space on a card of `cap_bytes`. The same seed and run number give the same noise.

    The table has no speeds of models that run at the same time. Each model then gets an equal share of the machine, and
    during long prompts of others a share of that share. Speeds at depth are not in it either: they are the same here.
    Times are simulated, and `spent` is their sum, as in the real runner. `ran` has every run that began.
    """

    def __init__(self, table: RecordedTable, cap_bytes: int, seed: int = 0) -> None:
        self.ran: list[SplitSettings] = []
        self.spent = TimeSpent()
        self._table = table
        self._cap_bytes = cap_bytes
        self._seed = seed
        self._noise: dict[str, ReplayNoise] = {name: RecordedNoise.of(table, name) for name in table.models}
        self._share = 1 / len(table.models)
        self._loaded: dict[str, tuple[str, Placement]] = {}

    def use_noise(self, noise: "ReplayNoise") -> None:
        """Replace the table's own noise, for every model."""
        self._noise = dict.fromkeys(self._noise, noise)

    def prepare(self, settings: SplitSettings) -> None:
        self.spent += TimeSpent(load_s=self._load(settings))

    def close(self) -> None:
        self._loaded = {}

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        """Raises KeyError if the table has no cell of an engine."""
        generator = Random(f"{self._seed} replay {len(self.ran)}")
        self.ran.append(settings)
        load_s = self._load(settings)
        excess_bytes = self._table.peak_bytes(settings) - self._cap_bytes
        if excess_bytes > 0:
            self.close()  # a refusal ends the worker
            self.spent += TimeSpent(load_s=load_s)
            evidence = "the table's plan exceeds the card"
            return Infeasible("load", self._refused(settings), evidence, excess_bytes, load_s)
        outcome = self._measure(settings, effort, give_up, generator, load_s)
        self.spent += outcome.clock
        return outcome

    def _load(self, settings: SplitSettings) -> float:
        """Load the models whose file or placement changed, and return how long that takes."""
        splits = {name: (engine.file, engine.placement) for name, engine in settings.items()}
        changed = [name for name, split in splits.items() if self._loaded.get(name) != split]
        self._loaded = splits
        return sum(self._table.true_load_s(name, settings[name]) for name in changed)

    def _refused(self, settings: SplitSettings) -> str:
        """Return the first model that does not fit, in the order of loading."""
        free_bytes = self._cap_bytes
        for name, engine in settings.items():
            free_bytes -= self._table.peak_bytes(SplitSettings.of({name: engine}))
            if free_bytes < 0:
                return name
        raise ValueError("these settings fit")

    def _measure(
        self, settings: SplitSettings, effort: Effort, give_up: GiveUp, generator: Random, load_s: float
    ) -> Measured:
        speeds = {
            name: self._noise[name].load(self._table.true_speed(name, engine), generator)
            for name, engine in settings.items()
        }
        peak_bytes = self._table.peak_bytes(settings)
        alone: dict[str, list[Speed]] = {name: [] for name in speeds}
        stopped = None
        for n_repeats in range(1, effort.max_repeats + 1):
            for name, speed in speeds.items():
                alone[name].append(self._noise[name].repeat(speed, generator))
            if n_repeats < effort.min_repeats:
                continue
            rates = [[each.tokens_per_s for each in of_model] for of_model in alone.values()]
            if effort.enough(rates, _seconds(alone)):
                break
            so_far = {name: _samples(of_model) for name, of_model in alone.items()}
            stopped = give_up(Progress(so_far, peak_bytes))
            if stopped is not None:
                break
        once = stopped is not None or not effort.repeat_together
        n_together = 0 if not effort.together else 1 if once else n_repeats
        n_beside = effort.n_beside_prefill if len(alone) > 1 else 0
        fill_s = {name: settings[name].n_ctx_slot / speeds[name].pp_tokens_per_s for name in effort.at_depth}
        clock = self._clock(alone, n_together, effort, load_s)
        clock = replace(clock, measure_s=clock.measure_s + sum(fill_s.values()))
        return Measured(
            {
                name: ModelReport(
                    _with_depth(
                        _samples(of_model, of_model[:n_together], of_model[:1] * n_beside, self._share),
                        of_model[0],
                        fill_s.get(name),
                    ),
                    self._buffers(settings, name),
                    self._table.true_load_s(name, settings[name]),
                    self._table.planner.models[name].plan(settings[name]).flash_attn,
                )
                for name, of_model in alone.items()
            },
            VramReport(peak_bytes, 0, "card", "ledger"),
            peak_rss_bytes=self._table.planner.plan(settings).host_bytes or 0,
            duration_s=clock.total_s,
            clock=clock,
            stopped=stopped,
        )

    def _buffers(self, settings: SplitSettings, name: str) -> dict[str, BufferBytes]:
        planned = self._table.planner.models[name].plan(settings[name]).devices
        return {device: held for device, each in planned.items() if (held := each.buffers()) is not None}

    def _clock(self, alone: Mapping[str, Sequence[Speed]], n_together: int, effort: Effort, load_s: float) -> TimeSpent:
        """Return the times of the phases, as in the real runner (trial/worker_trial.py).

        Latencies are left out, and the physical batches at the start count as a round of the workloads.
        """
        round_s = sum(speeds[0].duration_s for speeds in alone.values())
        together_s = max(speeds[0].duration_s for speeds in alone.values()) / self._share
        return TimeSpent(
            load_s=load_s,
            warm_up_s=round_s * max(1, ceil(effort.warm_up_s / round_s)),
            measure_s=_seconds(alone) + n_together * together_s,
        )


def _seconds(alone: Mapping[str, Sequence[Speed]]) -> float:
    """Return the total time of these repetitions."""
    return sum(each.duration_s for speeds in alone.values() for each in speeds)


def _samples(
    alone: Sequence[Speed], together: Sequence[Speed] = (), beside: Sequence[Speed] = (), share: float = 1.0
) -> ModelSamples:
    """Return samples for these speeds; next to other models each has a `share` of the machine."""
    return ModelSamples(
        pp_tokens_per_s=tuple(each.pp_tokens_per_s for each in alone),
        tg_tokens_per_s=tuple(each.tg_tokens_per_s for each in alone),
        ttft_s=tuple(each.ttft_s for each in alone),
        tokens_per_s=tuple(each.tokens_per_s for each in alone),
        tokens_per_s_together=tuple(each.tokens_per_s * share for each in together),
        ttft_s_beside_prefill=tuple(each.ttft_s / share**2 for each in beside),
        tpot_s_beside_prefill=tuple(1 / each.tg_tokens_per_s / share**2 for each in beside),
    )


def _with_depth(samples: ModelSamples, speed: Speed, fill_s: float | None) -> ModelSamples:
    """Add samples at depth, where `fill_s` is how long filling the context takes; None to add none."""
    if fill_s is None:
        return samples
    return replace(
        samples,
        pp_tokens_per_s_half=(speed.pp_tokens_per_s,),
        tg_tokens_per_s_half=(speed.tg_tokens_per_s,),
        turn_s=(speed.duration_s,),
        pp_tokens_per_s_full=(speed.pp_tokens_per_s,),
        tg_tokens_per_s_full=(speed.tg_tokens_per_s,),
        fill_s=(fill_s,),
    )
