"""What a study's trials teach of its models' speeds on any card, and how far off that is where nothing was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from layertune.config import Floor, Objective
from layertune.errors import NothingFits, UsageError
from layertune.memory import Planner
from layertune.prediction.device_change import DeviceChange
from layertune.prediction.expected_front import expected_front, expected_picks
from layertune.prediction.held_back import (
    NORMAL,
    QUANTITIES,
    bar_factor,
    beyond,
    hold_back,
    level_of,
    rates,
    reaches,
    spreads,
)
from layertune.prediction.interval_checks import check_larger, check_splits
from layertune.prediction.predicted_speeds import Curve, Offload, elsewhere, offload_of, unchanged
from layertune.prediction.prediction_file import ErrorInfo, HeldBackInfo, Interval, PredictedEngine, PredictedSetting
from layertune.sampler.posterior import ModelEngines, Speeds, measured_rows
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import ModelSamples

_LEAST_SPLITS = 5


@dataclass(frozen=True, slots=True)
class MeasuredStudy:
    """What a study measured, and what it chose from.

    `n_layers` are the repeating layers by model; `trials` are in the canonical form; `session` is how much a speed
    varies from session to session (session.py), 0 for a prediction of the same one.
    """

    models: Mapping[str, ModelEngines]
    n_layers: Mapping[str, int]
    planner: Planner
    objectives: Sequence[Objective]
    trials: Sequence[tuple[SplitSettings, Mapping[str, ModelSamples]]]
    session: float
    floors: Sequence[Floor] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What fits a card and no other setting is expected to beat; `picks` are places in `front`, which is an even part
    of it where it is not `whole`."""

    front: tuple[PredictedSetting, ...]
    picks: Mapping[str, int]
    whole: bool


class Calibration:
    """A study's models, fitted to all of its trials, and compared with each of its splits in turn."""

    def __init__(self, study: MeasuredStudy) -> None:
        """Raises UsageError where the trials are too few to say how far off a prediction is."""
        self.study = study
        measured = measured_rows(study.models, study.trials)
        for name, rows in measured.items():
            if not rows:
                raise UsageError(f"the study measured nothing of {name}", remedy="give one that measured all models")
        self.measured = measured
        self.speeds = {name: model.learn(measured[name]) for name, model in study.models.items()}
        self._beyond = {name: beyond(model, [row for row, _ in measured[name]]) for name, model in study.models.items()}
        self.without = [each for name, model in study.models.items() for each in hold_back(name, model, measured[name])]
        n_splits = len(self.without)
        if n_splits < _LEAST_SPLITS:
            raise UsageError(
                f"the study measured too little to say how far off a prediction is: {n_splits} splits can be held "
                f"back and predicted from the others, and {_LEAST_SPLITS} are needed",
                remedy="search with more trials",
            )
        self._factors = {
            quantity: bar_factor([each.score(quantity) for each in self.without]) for quantity in QUANTITIES
        }
        self._most_layers = {
            name: max(model.engines[row].n_gpu_layers for row, _ in measured[name])
            for name, model in study.models.items()
        }
        self._offloads: dict[str, Offload] = {}

    def error(self, capacity_bytes: int, changes: Mapping[str, DeviceChange]) -> ErrorInfo:
        """Return how well the study's own splits are predicted from others, and between which numbers of layers the
        picks are of a card whose buffers may take `capacity_bytes`."""
        judged = check_splits(self.study.models, self.measured)
        larger = check_larger(self.study.models, self.measured)
        told = []
        for split in judged:
            for each in split.without.of("tokens_per_s"):
                low, high = reaches(each.expected, split.factor * each.spread)
                told.append(
                    HeldBackInfo(
                        model=each.model,
                        settings=each.settings,
                        expected=each.expected,
                        low=low,
                        high=high,
                        measured=each.measured,
                    )
                )
        return ErrorInfo(
            level=level_of(len(self.without)),
            n_splits=len(judged),
            median=median(abs(each.expected / each.measured - 1) for each in told),
            coverage=sum(each.is_inside for each in judged) / len(judged),
            n_larger=len(larger),
            coverage_larger=sum(each.is_inside for each in larger) / len(larger) if larger else None,
            session=self.study.session,
            layers=self._layers(capacity_bytes, changes),
            held_back=told,
        )

    def _layers(
        self, capacity_bytes: int, changes: Mapping[str, DeviceChange]
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """Return the fewest and the most layers of each pick, by model: of all trials, and without each split in turn.

        They are far apart where settings are about as good. A pick is left out where without some split nothing would
        be predicted to reach the floors.
        """
        here = self._picks(self.speeds, capacity_bytes, changes)
        moved = [self._picks(each, capacity_bytes, changes) for each in self._speeds_without()]
        return {
            pick: {
                name: _range([each[pick][name].n_gpu_layers for each in (here, *moved)]) for name in self.study.models
            }
            for pick in here
            if all(pick in each for each in moved)
        }

    def offload(self, name: str) -> Offload:
        """Raises UsageError where the space never has all of the model on the device."""
        if name not in self._offloads:
            study = self.study
            offload = offload_of(study.models[name], study.planner.models[name], study.n_layers[name])
            if offload is None:
                raise UsageError(
                    f"the study's space never has all layers of {name} on the device, so the device's part of its time "
                    "cannot be told from the host's",
                    remedy="predict a card of the same speed, or search with n_gpu_layers up to all",
                )
            self._offloads[name] = offload
        return self._offloads[name]

    def all_on_device_s(self, name: str) -> float:
        """Return the longest that a token takes on the study's device with all layers of the model there."""
        return float(self.speeds[name].token.mean_s[self.offload(name).whole].max())

    def expect(self, capacity_bytes: int, changes: Mapping[str, DeviceChange]) -> Expected:
        """Return the front of a card whose buffers may take `capacity_bytes`.

        Raises:
            NothingFits: no setting that fits is expected to reach the study's floors.
        """
        study, curves = self.study, self._curves(self.speeds, changes)
        expected = {name: curve.expected for name, curve in curves.items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, capacity_bytes)
        if len(front.rows) == 0:
            raise NothingFits(
                f"nothing that fits is predicted to reach {' and '.join(map(str, study.floors))}",
                remedy="lower the floor in the study's study.toml, or predict a larger card",
            )
        told = {name: self._engines(name, curve) for name, curve in curves.items()}
        settings = [
            {name: told[name][row] for name, row in zip(study.models, rows, strict=True)}
            for rows in front.rows.tolist()
        ]
        return Expected(
            tuple(PredictedSetting(models=each, planned_bytes=self._planned_bytes(each)) for each in settings),
            expected_picks(front.rows, study.models, expected, study.weights),
            front.whole,
        )

    def engines(self, changes: Mapping[str, DeviceChange]) -> dict[str, dict[EngineSettings, PredictedEngine]]:
        """Return what is predicted of every engine of every model, by its canonical form."""
        curves = self._curves(self.speeds, changes)
        return {name: {each.settings: each for each in self._engines(name, curve)} for name, curve in curves.items()}

    def _engines(self, name: str, curve: Curve) -> list[PredictedEngine]:
        intervals = {quantity: self._intervals(name, curve, quantity) for quantity in QUANTITIES}
        return [
            PredictedEngine(
                settings=engine,
                beyond=engine.n_gpu_layers > self._most_layers[name],
                **{quantity: intervals[quantity][row] for quantity in QUANTITIES},
            )
            for row, engine in enumerate(self.study.models[name].rows)
        ]

    def _intervals(self, name: str, curve: Curve, quantity: str) -> list[Interval]:
        """The interval reaches from the slow end of what is not known of the device to the fast one's."""
        spread = spreads(curve.expected, self._beyond[name], quantity)
        half = np.hypot(self._factors[quantity] * spread, NORMAL * self.study.session)
        slowest, expected, fastest = (rates(each, quantity) for each in (curve.slowest, curve.expected, curve.fastest))
        return [
            Interval(
                expected=float(expected[row]),
                low=reaches(float(slowest[row]), float(half[row]))[0],
                high=reaches(float(fastest[row]), float(half[row]))[1],
            )
            for row in range(len(spread))
        ]

    def _planned_bytes(self, models: Mapping[str, PredictedEngine]) -> int:
        plan = self.study.planner.plan(SplitSettings.of({name: each.settings for name, each in models.items()}))
        return plan.device_bytes or 0

    def _speeds_without(self) -> list[dict[str, Speeds]]:
        """Return all models' speeds, every time without one split of one of them."""
        return [{**self.speeds, each.model: each.speeds} for each in self.without]

    def _picks(
        self, speeds: Mapping[str, Speeds], capacity_bytes: int, changes: Mapping[str, DeviceChange]
    ) -> dict[str, SplitSettings]:
        study = self.study
        expected = {name: curve.expected for name, curve in self._curves(speeds, changes).items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, capacity_bytes).rows
        return {
            pick: SplitSettings.of(
                {name: study.models[name].engines[row] for name, row in zip(study.models, front[place], strict=True)}
            )
            for pick, place in expected_picks(front, study.models, expected, study.weights).items()
        }

    def _curves(self, speeds: Mapping[str, Speeds], changes: Mapping[str, DeviceChange]) -> dict[str, Curve]:
        """Return the speeds on a card; a model without a change is as fast as on the study's own."""
        return {
            name: elsewhere(each, self.offload(name), changes[name]) if name in changes else unchanged(each)
            for name, each in speeds.items()
        }


def _range(layers: Sequence[int]) -> tuple[int, int]:
    return min(layers), max(layers)
