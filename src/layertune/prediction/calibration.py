"""A study's models of speed, applied to another card, and how far off they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from layertune.config import Floor, Objective
from layertune.errors import NothingFits, UsageError
from layertune.memory import Planner
from layertune.prediction.device_change import DeviceChange, Offload, ScaledSpeeds, offload_of, scaled, unchanged
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
from layertune.prediction.prediction_file import ErrorInfo, HeldBackInfo, Interval, PredictedEngine, PredictedSetting
from layertune.sampler.posterior import ModelEngines, measured_rows
from layertune.sampler.speeds import Speeds
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import ModelSamples

_LEAST_SPLITS = 5


@dataclass(frozen=True, slots=True)
class MeasuredStudy:
    """What a study measured, and its search space.

    Attributes:
        n_layers: The number of repeating layers, by model.
        trials: Settings in canonical form, with their samples by model.
        session: The spread of a speed from session to session (`session_spread`); 0 to predict the same session.
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
    """The expected front of a card; `picks` are places in it.

    If it is not `whole`, it is an evenly spaced part of a larger front.
    """

    front: tuple[PredictedSetting, ...]
    picks: Mapping[str, int]
    whole: bool


class Calibration:
    """A study's models of speed, fitted to all trials, and again without each split in turn."""

    def __init__(self, study: MeasuredStudy) -> None:
        """Raises UsageError if there are too few trials to estimate the error of a prediction."""
        self.study = study
        measured = measured_rows(study.models, study.trials)
        for name, rows in measured.items():
            if not rows:
                raise UsageError(
                    f"the study has no measurement of {name}", remedy="give a study that measured all models"
                )
        self.measured = measured
        self.speeds = {name: model.learn(measured[name]) for name, model in study.models.items()}
        self._beyond = {name: beyond(model, [row for row, _ in measured[name]]) for name, model in study.models.items()}
        self.held_back = [
            each for name, model in study.models.items() for each in hold_back(name, model, measured[name])
        ]
        n_splits = len(self.held_back)
        if n_splits < _LEAST_SPLITS:
            raise UsageError(
                f"the study has too few splits to estimate the error of a prediction: {n_splits} can be held back, "
                f"and {_LEAST_SPLITS} are needed",
                remedy="search with more trials",
            )
        self._factors = {
            quantity: bar_factor([each.score(quantity) for each in self.held_back]) for quantity in QUANTITIES
        }
        self._most_layers = {
            name: max(model.engines[row].n_gpu_layers for row, _ in measured[name])
            for name, model in study.models.items()
        }
        self._offloads: dict[str, Offload] = {}

    def error(self, capacity_bytes: int, changes: Mapping[str, DeviceChange]) -> ErrorInfo:
        """Return how well the study's own splits are predicted, and how far the layers of the picks vary.

        The picks are those of a card whose buffers may take `capacity_bytes`.
        """
        checked = check_splits(self.study.models, self.measured)
        larger = check_larger(self.study.models, self.measured)
        held_back = []
        for check in checked:
            for each in check.split.of("tokens_per_s"):
                low, high = reaches(each.expected, check.factor * each.spread)
                held_back.append(
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
            level=level_of(len(self.held_back)),
            n_splits=len(checked),
            median=median(abs(each.expected / each.measured - 1) for each in held_back),
            coverage=sum(each.is_inside for each in checked) / len(checked),
            n_larger=len(larger),
            coverage_larger=sum(each.is_inside for each in larger) / len(larger) if larger else None,
            session=self.study.session,
            layers=self._layers(capacity_bytes, changes),
            held_back=held_back,
        )

    def _layers(
        self, capacity_bytes: int, changes: Mapping[str, DeviceChange]
    ) -> dict[str, dict[str, tuple[int, int]]]:
        """Return the fewest and the most layers of each pick, by model, with each split left out in turn.

        They are far apart if several settings are about equally good. A pick is left out if, without some split, no
        setting is predicted to reach the floors.
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
        """Raises UsageError if the space never has all of the model on the device."""
        if name not in self._offloads:
            study = self.study
            offload = offload_of(study.models[name], study.planner.models[name], study.n_layers[name])
            if offload is None:
                raise UsageError(
                    f"the study's space never has all layers of {name} on the device, so the device's and the host's "
                    "parts of its time cannot be separated",
                    remedy="predict a card of the same speed, or search with n_gpu_layers up to all",
                )
            self._offloads[name] = offload
        return self._offloads[name]

    def all_on_device_s(self, name: str) -> float:
        """Return the longest time of a token on the study's device with all layers of the model there."""
        return float(self.speeds[name].token.mean_s[self.offload(name).whole].max())

    def expect(self, capacity_bytes: int, changes: Mapping[str, DeviceChange]) -> Expected:
        """Return the front of a card whose buffers may take `capacity_bytes`.

        Raises:
            NothingFits: no setting that fits is expected to reach the study's floors.
        """
        study, by_model = self.study, self._scaled(self.speeds, changes)
        expected = {name: speeds.expected for name, speeds in by_model.items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, capacity_bytes)
        if len(front.rows) == 0:
            raise NothingFits(
                f"no setting that fits is predicted to reach {' and '.join(map(str, study.floors))}",
                remedy="lower the floor in the study's study.toml, or predict a larger card",
            )
        engines = {name: self._engines(name, speeds) for name, speeds in by_model.items()}
        settings = [
            {name: engines[name][row] for name, row in zip(study.models, rows, strict=True)}
            for rows in front.rows.tolist()
        ]
        return Expected(
            tuple(PredictedSetting(models=each, planned_bytes=self._planned_bytes(each)) for each in settings),
            expected_picks(front.rows, study.models, expected, study.weights),
            front.whole,
        )

    def engines(self, changes: Mapping[str, DeviceChange]) -> dict[str, dict[EngineSettings, PredictedEngine]]:
        """Return the prediction of every engine of every model, by the engine's canonical form."""
        by_model = self._scaled(self.speeds, changes)
        return {
            name: {each.settings: each for each in self._engines(name, speeds)} for name, speeds in by_model.items()
        }

    def _engines(self, name: str, speeds: ScaledSpeeds) -> list[PredictedEngine]:
        intervals = {quantity: self._intervals(name, speeds, quantity) for quantity in QUANTITIES}
        return [
            PredictedEngine(
                settings=engine,
                beyond=engine.n_gpu_layers > self._most_layers[name],
                **{quantity: intervals[quantity][row] for quantity in QUANTITIES},
            )
            for row, engine in enumerate(self.study.models[name].rows)
        ]

    def _intervals(self, name: str, speeds: ScaledSpeeds, quantity: str) -> list[Interval]:
        """Return intervals from the low end of the slowest device time to the high end of the fastest."""
        spread = spreads(speeds.expected, self._beyond[name], quantity)
        half = np.hypot(self._factors[quantity] * spread, NORMAL * self.study.session)
        slowest, expected, fastest = (
            rates(each, quantity) for each in (speeds.slowest, speeds.expected, speeds.fastest)
        )
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
        """Return the speeds of all models, once for each split left out of its model's trials."""
        return [{**self.speeds, each.model: each.speeds} for each in self.held_back]

    def _picks(
        self, speeds: Mapping[str, Speeds], capacity_bytes: int, changes: Mapping[str, DeviceChange]
    ) -> dict[str, SplitSettings]:
        study = self.study
        expected = {name: speeds.expected for name, speeds in self._scaled(speeds, changes).items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, capacity_bytes).rows
        return {
            pick: SplitSettings.of(
                {name: study.models[name].engines[row] for name, row in zip(study.models, front[place], strict=True)}
            )
            for pick, place in expected_picks(front, study.models, expected, study.weights).items()
        }

    def _scaled(self, speeds: Mapping[str, Speeds], changes: Mapping[str, DeviceChange]) -> dict[str, ScaledSpeeds]:
        """Return the speeds on a card; a model without a change is as fast as in the study."""
        return {
            name: scaled(each, self.offload(name), changes[name]) if name in changes else unchanged(each)
            for name, each in speeds.items()
        }


def _range(layers: Sequence[int]) -> tuple[int, int]:
    return min(layers), max(layers)
