"""What a study's trials teach of its models' speeds on any card, and how far off that is where nothing was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from layertune.config import Floor, Objective
from layertune.errors import NothingFits, UsageError
from layertune.memory import Planner
from layertune.prediction.curves import Curve, Offload, elsewhere, offload_of, unchanged
from layertune.prediction.device_change import DeviceChange
from layertune.prediction.fronts import expected_front, expected_picks
from layertune.prediction.held_back import (
    QUANTITIES,
    HeldBack,
    bar_factor,
    coverage,
    hold_back,
    level_of,
    quantile,
    rates,
    reaches,
    spreads,
)
from layertune.prediction.prediction import ErrorInfo, HeldBackInfo, Interval, PredictedEngine, PredictedSetting
from layertune.search.speeds import ModelEngines, Speeds, measured_rows
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import ModelSamples

_LEAST_SPLITS = 5


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
    """What fits a card and no other setting is expected to beat; `picks` are places in `front`, which is an even part
    of it where it is not `whole`."""

    front: tuple[PredictedSetting, ...]
    picks: Mapping[str, int]
    whole: bool


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
        self.without = [each for name, model in study.models.items() for each in hold_back(name, model, measured[name])]
        self.held_back = [each for without in self.without for each in without.held_back]
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

    def of_quantity(self, quantity: str) -> list[HeldBack]:
        return [each for each in self.held_back if each.quantity == quantity]

    def error(self, room_bytes: int, changes: Mapping[str, DeviceChange]) -> ErrorInfo:
        """Return how well the study's own splits are predicted, each from all others; and how far off the picks of a
        card may be whose buffers may take `room_bytes`."""
        held_back = self.of_quantity("tokens_per_s")
        told = []
        for each in held_back:
            low, high = reaches(each.expected, each.spread, self._factors["tokens_per_s"])
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
            n_splits=len(self.without),
            median=median(abs(each.error) for each in held_back),
            coverage=coverage([each.score("tokens_per_s") for each in self.without]),
            layers_off=self.layers_off(room_bytes, changes),
            held_back=told,
        )

    def layers_off(self, room_bytes: int, changes: Mapping[str, DeviceChange]) -> dict[str, dict[str, int]]:
        """Return by how many layers each pick may be off, by model: the larger of two quantiles over held-back splits.

        One is of how far the study's own pick is from that predicted for its card without a split; the other of how far
        this card's predicted pick moves without one, which is far where two picks are about as good. A pick is left
        out where without some split nothing would be predicted to reach the floors.
        """
        study, without = self.study, self._speeds_without()
        here, own = self._picks(self.speeds, room_bytes, changes), study.picks
        moved = [self._picks(each, room_bytes, changes) for each in without]
        missed = [self._picks(each, study.room_bytes, {}) for each in without] if own else []
        return {
            pick: {
                name: max(
                    _most_off(settings[name], [each[pick][name] for each in moved]),
                    _most_off(own[pick][name], [each[pick][name] for each in missed]) if pick in own else 0,
                )
                for name in settings
            }
            for pick, settings in here.items()
            if all(pick in each for each in (*moved, *missed))
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

    def expect(self, room_bytes: int, changes: Mapping[str, DeviceChange]) -> Expected:
        """Return the front of a card whose buffers may take `room_bytes`.

        Raises:
            NothingFits: no setting that fits is expected to reach the study's floors.
        """
        study, curves = self.study, self._curves(self.speeds, changes)
        expected = {name: curve.expected for name, curve in curves.items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, room_bytes)
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

    def _speeds_without(self) -> list[dict[str, Speeds]]:
        """Return all models' speeds, every time without one split of one of them."""
        return [{**self.speeds, each.model: each.speeds} for each in self.without]

    def _picks(
        self, speeds: Mapping[str, Speeds], room_bytes: int, changes: Mapping[str, DeviceChange]
    ) -> dict[str, SplitSettings]:
        study = self.study
        expected = {name: curve.expected for name, curve in self._curves(speeds, changes).items()}
        front = expected_front(study.models, expected, study.objectives, study.floors, room_bytes).rows
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


def _most_off(pick: EngineSettings, others: Sequence[EngineSettings]) -> int:
    return int(quantile([abs(each.n_gpu_layers - pick.n_gpu_layers) for each in others]))
