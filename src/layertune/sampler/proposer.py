"""Which setting to measure next: the one that is expected to add most to the front per second of measurement.

Which settings fit is known from the memory plan, and peak memory is the sum of the models' bytes. Only the speeds are
uncertain. So the expected improvement is computed over the posterior of the speeds alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from layertune.config import Floor, Objective
from layertune.config.objective import VRAM_PEAK
from layertune.results.trials import FinishedTrial
from layertune.sampler.acquisition import Acquisition
from layertune.sampler.candidates import Rows, combinations, possibly_on_front
from layertune.sampler.improvement import ObjectivePosterior
from layertune.sampler.posterior import ModelEngines, measured_rows
from layertune.sampler.speeds import Speeds
from layertune.sampler.stopping import StoppingValue
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured, ModelSamples

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A setting to measure; without a stopping value if some model was not measured yet."""

    settings: SplitSettings
    stopping_value: StoppingValue | None


class Proposer:
    """Proposes the next setting to measure, from the engines of each model and the objectives of one study."""

    def __init__(
        self, models: Mapping[str, ModelEngines], objectives: Sequence[Objective], floors: Sequence[Floor] = ()
    ) -> None:
        self._models = models
        self._objectives = objectives
        self._floors = floors

    def propose(
        self,
        trials: Sequence[FinishedTrial],
        running: Sequence[SplitSettings],
        capacities: Sequence[int],
        generator: np.random.Generator,
    ) -> Proposal | None:
        """Return what to measure next; None if every setting that fits has been proposed.

        Args:
            trials: the finished trials, in order.
            running: what other machines measure at present, which is not proposed again.
            capacities: what llama.cpp's buffers may take of each device, in bytes.
            generator: the source of random choices.
        """
        rows = self._measured_rows(trials)
        seen = self._rows_of([each.settings for each in trials] + list(running))
        if not all(rows.values()):
            return self._random(seen, capacities, generator)
        speeds = {name: model.learn(rows[name]) for name, model in self._models.items()}
        return self._best(trials, seen, speeds, capacities, generator)

    def best_of(
        self, candidates: Collection[SplitSettings], trials: Sequence[FinishedTrial], weights: Mapping[str, float]
    ) -> SplitSettings | None:
        """Return the one of `candidates` that is fastest as far as the trials show, by the weighted geometric mean.

        It is None if some model was not measured yet, or no candidate is of this space.
        """
        measured, rows = self._measured_rows(trials), self._rows_of(list(candidates))
        if not all(measured.values()) or len(rows) == 0:
            return None
        costs = np.zeros(len(rows))
        for place, (name, model) in enumerate(self._models.items()):
            seconds = model.learn(measured[name]).workload_s()[rows[:, place]]
            costs += weights.get(name, 1.0) * np.log(seconds)
        return self._settings(rows[int(np.argmin(costs))])

    def slowest_s(self, settings: SplitSettings, trials: Sequence[FinishedTrial]) -> dict[str, float]:
        """Return by model the longest that one run of its workload may take: two standard deviations over the mean.

        A model that no trial has measured is left out.
        """
        found = {}
        for name, rows in self._measured_rows(trials).items():
            model = self._models[name]
            row = model.rows.get(settings[name])
            if rows and row is not None:
                found[name] = model.learn(rows).slowest_s(row)
        return found

    def _measured_rows(self, trials: Sequence[FinishedTrial]) -> dict[str, list[tuple[int, ModelSamples]]]:
        measured = [(each.settings, each.outcome) for each in trials if isinstance(each.outcome, Measured)]
        # A disturbed trial may be slow by any factor; it is used only if there is no other.
        quiet = [each for each in measured if not each[1].disturbances] or measured
        return measured_rows(
            self._models,
            [(settings, {name: each.samples for name, each in outcome.models.items()}) for settings, outcome in quiet],
        )

    def _best(
        self,
        trials: Sequence[FinishedTrial],
        seen: Rows,
        speeds: Mapping[str, Speeds],
        capacities: Sequence[int],
        generator: np.random.Generator,
    ) -> Proposal | None:
        candidates = self._combine(
            [self._candidate_rows(name, each) for name, each in speeds.items()], capacities, generator
        )
        candidates = candidates[~_among(candidates, seen)]
        if len(candidates) == 0:
            everything = self._combine(
                [np.arange(len(model)) for model in self._models.values()], capacities, generator
            )
            candidates = everything[~_among(everything, seen)]
        if len(candidates) == 0:
            return None
        measured = self._rows_of([each.settings for each in trials if each.feasible() is not None])
        both = np.concatenate([candidates, measured])
        log_probability, above = self._above_floors(both, speeds)
        n_candidates = len(candidates)
        acquisition_of = partial(
            Acquisition, probability=np.exp(log_probability), above_floors=above, n_candidates=n_candidates
        )
        acquisition, of_speeds = self._acquisition(self._posteriors(both, speeds), acquisition_of)
        if self._floors and not above[n_candidates:].any():
            # No measured setting is above the floors, so the most probable one is next.
            best = int(np.argmax(log_probability[:n_candidates]))
        else:
            best = int(np.argmax(acquisition.gains / self._seconds(candidates, trials, speeds)))
        value = acquisition.stopping_value(best)
        if value is not None:
            value = replace(value, of_speeds=of_speeds)
        return Proposal(self._settings(candidates[best]), value)

    def _acquisition(
        self, objectives: Sequence[ObjectivePosterior], acquisition_of: Callable[..., Acquisition]
    ) -> tuple[Acquisition, bool]:
        """Return the acquisition of the candidates, and whether it leaves memory out although memory is an objective.

        Nearly every setting is the fastest of those that need no more memory, and few of these are of use. So fast
        settings that fit are found first, and settings with less memory after them.
        """
        others = [each for each, what in zip(objectives, self._objectives, strict=True) if what.name != VRAM_PEAK]
        if not 0 < len(others) < len(objectives):
            return acquisition_of(objectives), False
        if not (fast := acquisition_of(others)).is_converged():
            return fast, True
        # Else the uncertain worst speed would give value to every setting with little memory that is as slow.
        return acquisition_of(objectives, worst_is_known=True), False

    def _random(self, seen: Rows, capacities: Sequence[int], generator: np.random.Generator) -> Proposal | None:
        """Return a random setting that fits, for when some model was not measured yet."""
        everything = [np.arange(len(model)) for model in self._models.values()]
        candidates = self._combine(everything, capacities, generator)
        left = candidates[~_among(candidates, seen)]
        if len(left) == 0:
            return None
        return Proposal(self._settings(left[generator.integers(len(left))]), None)

    def _combine(self, kept: Sequence[Rows], capacities: Sequence[int], generator: np.random.Generator) -> Rows:
        needed = [model.each_device_bytes for model in self._models.values()]
        return combinations(needed, kept, capacities, generator)

    def _candidate_rows(self, name: str, speeds: Speeds) -> Rows:
        wanted = [*self._objectives, *(floor.objective for floor in self._floors)]
        model = self._models[name]
        posteriors = [model.posterior(each, speeds) for each in wanted if each.subject == name]
        if not posteriors:
            return model.leanest
        return np.intersect1d(model.leanest, possibly_on_front(model.each_device_bytes, posteriors))

    def _posteriors(self, candidates: Rows, speeds: Mapping[str, Speeds]) -> list[ObjectivePosterior]:
        columns = {name: candidates[:, index] for index, name in enumerate(self._models)}
        found = []
        for objective in self._objectives:
            if objective.name == VRAM_PEAK:
                taken = sum(model.device_bytes[columns[name]] for name, model in self._models.items())
                bytes_, indices = np.unique(taken, return_inverse=True)
                found.append(ObjectivePosterior(bytes_.astype(float), np.zeros(len(bytes_)), indices))
            else:
                of_model = speeds[objective.subject]
                posterior = self._models[objective.subject].posterior(objective, of_model)
                noise = of_model.noise if objective.is_clocked else 0.0
                found.append(ObjectivePosterior(posterior.mean, posterior.std, columns[objective.subject], noise))
        return found

    def _above_floors(self, candidates: Rows, speeds: Mapping[str, Speeds]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return for each candidate the log probability that it is above all floors, and whether its means are.

        Two approximations: the probabilities of several floors are multiplied, although floors of one model depend on
        the same times; and the expected improvement includes speeds below a floor.
        """
        log_probability, above = np.zeros(len(candidates)), np.ones(len(candidates), dtype=bool)
        for floor in self._floors:
            model = floor.objective.subject
            posterior = self._models[model].posterior(floor.objective, speeds[model])
            at_most = -floor.value if floor.objective.direction == "maximize" else floor.value
            spread = np.where(posterior.std > 0, posterior.std, 1.0)
            known = np.where(posterior.mean <= at_most, 0.0, -np.inf)
            of_engines = np.where(posterior.std > 0, log_ndtr((at_most - posterior.mean) / spread), known)
            rows = candidates[:, list(self._models).index(model)]
            log_probability += of_engines[rows]
            above &= posterior.mean[rows] <= at_most
        return log_probability, above

    def _seconds(self, candidates: Rows, trials: Sequence[FinishedTrial], speeds: Mapping[str, Speeds]) -> Floats:
        """Return how long each candidate's trial would take, in seconds.

        It loads the models whose placement changes, and runs the workloads as often as the trials so far did.
        """
        outcomes = [each.outcome for each in trials if isinstance(each.outcome, Measured)]
        last = [each.settings for each in trials if isinstance(each.outcome, Measured)][-1]
        loads = np.zeros(len(candidates))
        work = np.zeros(len(candidates))
        for index, (name, model) in enumerate(self._models.items()):
            before = last[name].file, last[name].placement
            changes = np.array([(engine.file, engine.placement) != before for engine in model.rows])
            load_s = median(outcome.models[name].load_s for outcome in outcomes)
            loads += load_s * changes[candidates[:, index]]
            work += speeds[name].workload_s()[candidates[:, index]]
        runs = median(
            (outcome.clock.warm_up_s + outcome.clock.measure_s)
            / sum(self._models[name].workload_s(report.samples) for name, report in outcome.models.items())
            for outcome in outcomes
        )
        seconds = loads + runs * work
        return seconds if seconds.min() > 0 else np.ones(len(candidates))

    def _rows_of(self, settings: Sequence[SplitSettings]) -> Rows:
        found = [
            [model.rows[each[name]] for name, model in self._models.items()]
            for each in settings
            if all(each[name] in model.rows for name, model in self._models.items())
        ]
        return np.array(found, dtype=np.intp).reshape(len(found), len(self._models))

    def _settings(self, rows: Rows) -> SplitSettings:
        return SplitSettings.of(
            {name: model.engines[row] for (name, model), row in zip(self._models.items(), rows, strict=True)}
        )


def _among(candidates: Rows, seen: Rows) -> NDArray[np.bool_]:
    """Return which candidates are among the rows `seen`."""
    taken = set(map(tuple, seen.tolist()))
    return np.fromiter((tuple(row) in taken for row in candidates.tolist()), dtype=bool, count=len(candidates))
