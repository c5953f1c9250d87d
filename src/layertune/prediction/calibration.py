"""What a study's trials teach of its models' speeds on any card, and how far off that is where nothing was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from layertune.config import Floor, Objective
from layertune.errors import NothingFits, UsageError
from layertune.memory import Planner
from layertune.prediction.curves import Curve, Offload, elsewhere, most_layers, offload_of, unchanged
from layertune.prediction.device_change import DeviceChange
from layertune.prediction.fronts import expected_front, expected_picks
from layertune.prediction.held_back import (
    QUANTITIES,
    HeldBack,
    Without,
    bar_factor,
    hold_back,
    quantile,
    rates,
    reaches,
    spreads,
)
from layertune.prediction.prediction import Interval, PredictedEngine, PredictedSetting
from layertune.search.speeds import ModelEngines, Speeds, measured_rows
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import ModelSamples

LEVEL = 0.9

_LEAST_HELD_BACK = 5


@dataclass(frozen=True, slots=True)
class Study:
    """What a study measured, and what it chose from.

    `n_layers` are the repeating layers by model; `room_bytes` is what buffers could take of the study's own card;
    `trials` and `picks` are in the canonical form.
    """

    models: Mapping[str, ModelEngines]
    n_layers: Mapping[str, int]
    planner: Planner
    objectives: Sequence[Objective]
    room_bytes: int
    trials: Sequence[tuple[SplitSettings, Mapping[str, ModelSamples]]]
    picks: Mapping[str, SplitSettings]
    floors: Sequence[Floor] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What fits a card and no other setting is expected to beat; `picks` are places in `front`."""

    front: tuple[PredictedSetting, ...]
    picks: Mapping[str, int]


class Calibration:
    """A study's models, fitted to all of its trials, and held against each of its splits in turn."""

    def __init__(self, study: Study) -> None:
        """Raises UsageError where the trials are too few to say how far off a prediction is."""
        self.study = study
        measured = measured_rows(study.models, study.trials)
        for name, rows in measured.items():
            if not rows:
                raise UsageError(f"the study measured nothing of {name}", remedy="give one that measured all models")
        self.speeds = {name: model.learn(measured[name]) for name, model in study.models.items()}
        self._without = [
            each for name, model in study.models.items() for each in hold_back(name, model, measured[name])
        ]
        self.held_back = [each for without in self._without for each in without.held_back]
        n_held_back = len(self.held_back) // len(QUANTITIES)
        if n_held_back < _LEAST_HELD_BACK:
            raise UsageError(
                f"the study measured too little to say how far off a prediction is: {n_held_back} engines can be held "
                f"back and predicted from the others, and {_LEAST_HELD_BACK} are needed",
                remedy="search with more trials",
            )
        self._factors = {
            quantity: bar_factor([each.score for each in self.of_quantity(quantity)], LEVEL) for quantity in QUANTITIES
        }
        self._most_layers = most_layers(
            {name: [study.models[name].engines[row] for row, _ in rows] for name, rows in measured.items()}
        )
        self._offloads: dict[str, Offload] = {}

    def of_quantity(self, quantity: str) -> list[HeldBack]:
        return [each for each in self.held_back if each.quantity == quantity]

    def layers_off(self) -> dict[str, dict[str, int]]:
        """Return by how many layers each pick is predicted off with probability 1 − LEVEL at most, by model.

        Predicted for the study's own card, every time without one split, and held against what the study picked.
        """
        found: dict[str, dict[str, list[int]]] = {}
        for without in self._without:
            for pick, settings in self._picks(without).items():
                for name, engine in settings.items():
                    off = abs(engine.n_gpu_layers - self.study.picks[pick][name].n_gpu_layers)
                    found.setdefault(pick, {}).setdefault(name, []).append(off)
        return {
            pick: {name: int(quantile(off, LEVEL)) for name, off in by_model.items()}
            for pick, by_model in found.items()
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
        return unchanged(self.speeds[name]).all_on_device_s(self.offload(name))

    def curves(self, changes: Mapping[str, DeviceChange]) -> dict[str, Curve]:
        """Return every model's speeds; a model without a change is as fast as on the study's own device."""
        return {
            name: elsewhere(speeds, self.offload(name), changes[name]) if name in changes else unchanged(speeds)
            for name, speeds in self.speeds.items()
        }

    def expect(self, room_bytes: int, changes: Mapping[str, DeviceChange]) -> Expected:
        """Return the front of a card whose buffers may take `room_bytes`.

        Raises:
            NothingFits: no setting that fits is expected to reach the study's floors.
        """
        study, curves = self.study, self.curves(changes)
        expected = {name: curve.expected for name, curve in curves.items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, room_bytes)
        if len(front) == 0:
            raise NothingFits(
                f"nothing that fits is predicted to reach {' and '.join(map(str, study.floors))}",
                remedy="lower the floor in the study's study.toml, or predict a larger card",
            )
        told = {name: self._engines(name, curve) for name, curve in curves.items()}
        settings = [
            {name: told[name][row] for name, row in zip(study.models, rows, strict=True)} for rows in front.tolist()
        ]
        return Expected(
            tuple(PredictedSetting(models=each, planned_bytes=self._planned_bytes(each)) for each in settings),
            expected_picks(front, study.models, expected, study.weights),
        )

    def engines(self, changes: Mapping[str, DeviceChange]) -> dict[str, dict[EngineSettings, PredictedEngine]]:
        """Return what is predicted of every engine of every model, by its canonical form."""
        curves = self.curves(changes)
        return {name: {each.settings: each for each in self._engines(name, curve)} for name, curve in curves.items()}

    def _engines(self, name: str, curve: Curve) -> list[PredictedEngine]:
        intervals = {quantity: self._intervals(curve, quantity) for quantity in QUANTITIES}
        return [
            PredictedEngine(
                settings=engine,
                beyond=engine.n_gpu_layers > self._most_layers[name],
                **{quantity: intervals[quantity][row] for quantity in QUANTITIES},
            )
            for row, engine in enumerate(self.study.models[name].rows)
        ]

    def _intervals(self, curve: Curve, quantity: str) -> list[Interval]:
        """The interval reaches from the slow end of what is not known of the device to the fast one's."""
        factor, spread = self._factors[quantity], spreads(curve.expected, quantity)
        slowest, expected, fastest = (rates(each, quantity) for each in (curve.slowest, curve.expected, curve.fastest))
        return [
            Interval(
                expected=float(expected[row]),
                low=reaches(float(slowest[row]), float(spread[row]), factor)[0],
                high=reaches(float(fastest[row]), float(spread[row]), factor)[1],
            )
            for row in range(len(spread))
        ]

    def _planned_bytes(self, models: Mapping[str, PredictedEngine]) -> int:
        plan = self.study.planner.plan(SplitSettings.of({name: each.settings for name, each in models.items()}))
        return plan.device_bytes or 0

    def _picks(self, without: Without) -> dict[str, SplitSettings]:
        study = self.study
        speeds: dict[str, Speeds] = {**self.speeds, without.model: without.speeds}
        front = expected_front(study.models, speeds, study.objectives, study.floors, study.room_bytes)
        found = {}
        for pick, place in expected_picks(front, study.models, speeds, study.weights).items():
            engines = zip(study.models, front[place], strict=True)
            if pick in study.picks:
                found[pick] = SplitSettings.of({name: study.models[name].engines[row] for name, row in engines})
        return found
