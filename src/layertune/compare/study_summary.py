"""Summary of one study for a comparison: device, budget, and picks with their speeds and memory."""

from collections.abc import Mapping
from dataclasses import dataclass

from layertune.prediction import Prediction
from layertune.prediction.prediction_file import PredictedSetting
from layertune.results.qualities import shown_quality
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MeasuredIn, MetricInfo
from layertune.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Speed:
    """A median in tokens/s with its 95 % interval, None if measured once; or a predicted speed with its interval."""

    tokens_per_s: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, metric: MetricInfo) -> "Speed":
        return cls(metric.median, metric.low, metric.high)

    def slower_than(self, other: "Speed") -> bool | None:
        """Return whether this is slower by intervals that do not overlap; None if an interval is missing."""
        if self.high is None or self.low is None or other.low is None or other.high is None:
            return None
        return self.high < other.low


@dataclass(frozen=True, slots=True)
class PickedQuality:
    """The quality of a pick's file and cache types: `quantity` as in the name of an objective, None if unknown."""

    quantity: str
    value: float | None


@dataclass(frozen=True, slots=True)
class ModelPick:
    """One model of a pick.

    `together` is None in a prediction, which covers each model alone only. `quality` is None if the study knows none.
    """

    settings: EngineSettings
    alone: Speed
    together: Speed | None
    file: str
    quality: PickedQuality | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """A pick. `trial` is None in a prediction; bytes are None on a device without its own memory."""

    trial: int | None
    models: Mapping[str, ModelPick]
    peak_bytes: int | None
    planned_bytes: int | None


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study or prediction.

    Attributes:
        capacity_bytes: the budget without its margin, None on the CPU.
        screening_only: the study has no finals, so its speeds were measured once and are biased upwards.
        confirmed: the speeds come from validation runs, which no pick was chosen by.
        predicted: nothing was measured; the intervals are those of the prediction.
    """

    label: str
    study: str
    created: str
    device: str
    emulated: bool
    vram_bytes: int | None
    capacity_bytes: int | None
    screening_only: bool
    confirmed: bool
    n_measured: int
    n_front: int
    picks: Mapping[str, Pick]
    predicted: bool = False


def summary(label: str, result: Result) -> StudySummary:
    device = result.hardware.device
    return StudySummary(
        label=label,
        study=result.study.name,
        created=result.study.created,
        device=device.name,
        emulated=device.kind == "emulated",
        vram_bytes=device.vram_bytes,
        capacity_bytes=result.budget.capacity_bytes(),
        screening_only=not any(trial.n_rounds for trial in result.trials),
        confirmed=any(trial.n_confirming for trial in result.trials),
        n_measured=sum(trial.state == "measured" for trial in result.trials),
        n_front=len(result.pareto),
        picks={name: _pick(result, result.trial(number)) for name, number in result.picks.items()},
    )


def predicted_summary(label: str, prediction: Prediction) -> StudySummary:
    card = prediction.card
    return StudySummary(
        label=label,
        study=prediction.study.name,
        created=prediction.study.created,
        device=card.name,
        emulated=prediction.emulated,
        vram_bytes=card.vram_bytes,
        capacity_bytes=prediction.budget.capacity_bytes(),
        screening_only=False,
        confirmed=False,
        n_measured=0,
        n_front=len(prediction.front),
        picks={name: _predicted_pick(prediction, prediction.front[place]) for name, place in prediction.picks.items()},
        predicted=True,
    )


def balanced(result: Result) -> TrialInfo | None:
    """Return the balanced pick, None if no trial is within the budget."""
    return result.trial(result.picks["balanced"]) if "balanced" in result.picks else None


def speed(trial: TrialInfo, model: str, measured_in: MeasuredIn) -> Speed | None:
    """Return a model's speed alone as measured in one stage; None if that stage did not measure it."""
    metrics = trial.metrics_of(measured_in)
    return None if metrics is None else Speed.of(metrics[model]["tokens_per_s"])


def _predicted_pick(prediction: Prediction, setting: PredictedSetting) -> Pick:
    models = {
        name: ModelPick(
            engine.settings,
            Speed(engine.tokens_per_s.expected, engine.tokens_per_s.low, engine.tokens_per_s.high),
            together=None,
            file=engine.settings.file or prediction.models[name].file,
        )
        for name, engine in setting.models.items()
    }
    return Pick(None, models, None, setting.planned_bytes)


def _pick(result: Result, trial: TrialInfo) -> Pick:
    models = {
        name: ModelPick(
            trial.settings[name],
            Speed.of(metrics["tokens_per_s"]),
            Speed.of(metrics["tokens_per_s_together"]) if "tokens_per_s_together" in metrics else None,
            result.model_of(name, trial.settings[name]).file,
            _quality(result, name, trial.settings[name]),
        )
        for name, metrics in (trial.metrics or {}).items()
    }
    if trial.vram is None:
        return Pick(trial.number, models, None, None)
    return Pick(trial.number, models, trial.vram.peak_bytes, trial.vram.planned_bytes)


def _quality(result: Result, name: str, engine: EngineSettings) -> PickedQuality | None:
    shown, quality = shown_quality(result, name), result.quality_of(name, engine)
    if shown is None:
        return None
    return PickedQuality(shown.quantity, None if quality is None else quality.value(shown.quantity))
