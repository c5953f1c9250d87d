"""Which setting to measure next: the one whose measurement is expected to add most to the front per second.

What is known makes few trials enough: which settings fit is exact, by plan; peak memory is their sum; and every trial
teaches each model's own curve. Only the curves are uncertain, so the expected improvement is over them alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from layertune.config import Floor, Objective
from layertune.config.objective import VRAM_PEAK
from layertune.results.trials import FinishedTrial
from layertune.sampler.acquisition import Prospects
from layertune.sampler.candidates import Rows, combinations, promising
from layertune.sampler.improvement import Expected
from layertune.sampler.posterior import ModelEngines, Speeds, measured_rows
from layertune.sampler.stopping import Outlook
from layertune.settings import SplitSettings
from layertune.trial.outcome import Measured

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A setting to measure; without an outlook where nothing is known yet."""

    settings: SplitSettings
    outlook: Outlook | None


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
        measured = [(each.settings, each.outcome) for each in trials if isinstance(each.outcome, Measured)]
        # What stayed disturbed may be slow by any factor; it teaches only where there is nothing better.
        quiet = [each for each in measured if not each[1].disturbances] or measured
        rows = measured_rows(
            self._models,
            [(settings, {name: each.samples for name, each in outcome.models.items()}) for settings, outcome in quiet],
        )
        seen = self._rows_of([each.settings for each in trials] + list(running))
        if not all(rows.values()):
            return self._any(seen, capacities, generator)
        speeds = {name: model.learn(rows[name]) for name, model in self._models.items()}
        return self._best(trials, seen, speeds, capacities, generator)

    def _best(
        self,
        trials: Sequence[FinishedTrial],
        seen: Rows,
        speeds: Mapping[str, Speeds],
        capacities: Sequence[int],
        generator: np.random.Generator,
    ) -> Proposal | None:
        candidates = self._combine(
            [self._promising(name, each) for name, each in speeds.items()], capacities, generator
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
        log_chance, reaches = self._above_floors(both, speeds)
        n_candidates = len(candidates)
        prospects_of = partial(Prospects, chance=np.exp(log_chance), reaches=reaches, n_candidates=n_candidates)
        prospects, of_speeds = self._sought(self._expected(both, speeds), prospects_of)
        if self._floors and not reaches[n_candidates:].any():
            # Nothing that was measured is above the floors: first of all, something has to be.
            best = int(np.argmax(log_chance[:n_candidates]))
        else:
            best = int(np.argmax(prospects.gains / self._seconds(candidates, trials, speeds)))
        outlook = prospects.outlook(best)
        return Proposal(
            self._settings(candidates[best]), None if outlook is None else replace(outlook, of_speeds=of_speeds)
        )

    def _sought(self, expected: Sequence[Expected], prospects_of: Callable[..., Prospects]) -> tuple[Prospects, bool]:
        """Return what the next trial is chosen by, and whether memory, which is an objective, is left aside in it.

        Nearly every setting is the best of those that take no more memory, and few of them are what anyone wants: what
        is fast under the limit is found first, and what is leaner after it.
        """
        others = [each for each, what in zip(expected, self._objectives, strict=True) if what.name != VRAM_PEAK]
        if not 0 < len(others) < len(expected):
            return prospects_of(expected), False
        if not (fast := prospects_of(others)).is_calm():
            return fast, True
        # By its uncertainty the worst speed would have every lean setting tried that leaves one model as slow as it is.
        return prospects_of(expected, worst_is_known=True), False

    def _any(self, seen: Rows, capacities: Sequence[int], generator: np.random.Generator) -> Proposal | None:
        """Return a random setting of those that fit: nothing is known of some model's speed."""
        everything = [np.arange(len(model)) for model in self._models.values()]
        candidates = self._combine(everything, capacities, generator)
        left = candidates[~_among(candidates, seen)]
        if len(left) == 0:
            return None
        return Proposal(self._settings(left[generator.integers(len(left))]), None)

    def _combine(self, kept: Sequence[Rows], capacities: Sequence[int], generator: np.random.Generator) -> Rows:
        needed = [model.each_device_bytes for model in self._models.values()]
        return combinations(needed, kept, capacities, generator)

    def _promising(self, name: str, speeds: Speeds) -> Rows:
        wanted = [*self._objectives, *(floor.objective for floor in self._floors)]
        figures = [speeds.figure(each.quantity) for each in wanted if each.subject == name]
        model = self._models[name]
        return np.intersect1d(model.leanest, promising(model.each_device_bytes, figures)) if figures else model.leanest

    def _expected(self, candidates: Rows, speeds: Mapping[str, Speeds]) -> list[Expected]:
        columns = {name: candidates[:, index] for index, name in enumerate(self._models)}
        expected = []
        for objective in self._objectives:
            if objective.name == VRAM_PEAK:
                taken = sum(model.device_bytes[columns[name]] for name, model in self._models.items())
                bytes_, places = np.unique(taken, return_inverse=True)
                expected.append(Expected(bytes_.astype(float), np.zeros(len(bytes_)), places))
            else:
                model = speeds[objective.subject]
                figure, noise = model.figure(objective.quantity), model.noise if objective.is_clocked else 0.0
                expected.append(Expected(figure.mean, figure.std, columns[objective.subject], noise))
        return expected

    def _above_floors(self, candidates: Rows, speeds: Mapping[str, Speeds]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the logarithm of how probable each candidate is above all floors, and whether it is by its means.

        The product over the floors is an approximation where two are of one model, or a floor and an objective are:
        they share what is unknown of its times, and the improvement is not cut off at the floor.
        """
        log_chance, reaches = np.zeros(len(candidates)), np.ones(len(candidates), dtype=bool)
        for floor in self._floors:
            model = floor.objective.subject
            figure = speeds[model].figure(floor.objective.quantity)
            at_most = -floor.value if floor.objective.direction == "maximize" else floor.value
            spread = np.where(figure.std > 0, figure.std, 1.0)
            known = np.where(figure.mean <= at_most, 0.0, -np.inf)
            of_engines = np.where(figure.std > 0, log_ndtr((at_most - figure.mean) / spread), known)
            rows = candidates[:, list(self._models).index(model)]
            log_chance += of_engines[rows]
            reaches &= figure.mean[rows] <= at_most
        return log_chance, reaches

    def _seconds(self, candidates: Rows, trials: Sequence[FinishedTrial], speeds: Mapping[str, Speeds]) -> Floats:
        """Return how long each candidate's trial would take: the loads of the models whose split changes, and the
        workloads as many times as a trial runs them."""
        outcomes = [each.outcome for each in trials if isinstance(each.outcome, Measured)]
        last = [each.settings for each in trials if isinstance(each.outcome, Measured)][-1]
        loads = np.zeros(len(candidates))
        work = np.zeros(len(candidates))
        for index, (name, model) in enumerate(self._models.items()):
            changes = np.array([engine.placement != last[name].placement for engine in model.rows])
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
