"""A prediction's file. Its fields are named so that it cannot be read as a result.json."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from layertune.errors import ResultFileError
from layertune.regular_files import RESULT_BYTES, read_text
from layertune.results.figures import Bytes, Count, Engine, Figure, NotNegative
from layertune.results.result import BudgetInfo, HardwareInfo, ModelInfo, StudyInfo, WorkloadInfo
from layertune.results.trial_info import Part

_REMEDY = "give a file that layertune predict --json has written"


class Interval(Part):
    """Expected tokens/s, and the interval for a measurement in another session."""

    expected: NotNegative
    low: Figure
    high: Figure


class PredictedEngine(Part):
    """One model alone. `beyond` marks an extrapolation: more layers on the device than any trial had."""

    settings: Engine
    beyond: bool
    tokens_per_s: Interval
    pp_tokens_per_s: Interval
    tg_tokens_per_s: Interval


class PredictedSetting(Part):
    """`planned_bytes` are the planned buffers of all models on the device, without the driver's overhead."""

    models: dict[str, PredictedEngine]
    planned_bytes: Bytes


class FactorInfo(Part):
    least: NotNegative
    most: NotNegative


class ChangeInfo(Part):
    """How many times as long the device's part of a model's time takes on the other card."""

    prompt: FactorInfo
    token: FactorInfo


class CardInfo(Part):
    """The predicted card. `n_threads` is for an emulated card only."""

    profile: str
    kind: Literal["gpu", "emulated"]
    name: str
    vram_bytes: Bytes
    n_threads: Count | None


class HeldBackInfo(Part):
    """One engine of the study, predicted from the other splits, in tokens/s of the workload.

    The interval is for a measurement in the same session.
    """

    model: str
    settings: Engine
    expected: float
    low: float
    high: float
    measured: float


class ErrorInfo(Part):
    """How well the study's own splits are predicted, each from all others, within one session.

    Attributes:
        level: The level that the intervals aim at: 0.9, or less with few splits. It is not guaranteed.
        n_splits: The number of splits that were held back.
        median: The median of the absolute relative error of tokens_per_s.
        coverage: The share of these splits with every tokens_per_s inside its interval.
        n_larger: The number of splits that were predicted from splits with less of the model on the device.
        coverage_larger: The share of these, likewise.
        session: The relative spread from session to session, which intervals of a prediction include.
        layers: By pick and model, the fewest and the most layers of the pick with each split left out in turn.
        held_back: Every engine, predicted without its split.
    """

    level: float
    n_splits: int
    median: float
    coverage: float
    n_larger: int = 0
    coverage_larger: float | None = None
    session: float = 0.0
    layers: dict[str, dict[str, tuple[int, int]]] = Field(default_factory=dict)
    held_back: list[HeldBackInfo]


class Prediction(Part):
    """`study` and `hardware` are those of the measured study; `picks` are places in `front`."""

    schema_version: Literal[1] = 1
    predicted: Literal[True] = True
    layertune_version: str
    study: StudyInfo
    hardware: HardwareInfo
    card: CardInfo
    models: dict[str, ModelInfo]
    workload: dict[str, WorkloadInfo]
    budget: BudgetInfo
    changes: dict[str, ChangeInfo]
    scaled: str
    error: ErrorInfo
    front: list[PredictedSetting]
    picks: dict[str, int]
    limits: list[str]

    @model_validator(mode="after")
    def _check_whole(self) -> "Prediction":
        named = [self.workload.keys(), *(each.models.keys() for each in self.front)]
        if any(each != self.models.keys() for each in named):
            raise ValueError("models, workload and front do not name the same models")
        for place in self.picks.values():
            if not 0 <= place < len(self.front):
                raise ValueError(f"picks names place {place} of {len(self.front)} in the front")
        return self

    @property
    def emulated(self) -> bool:
        return self.card.kind == "emulated"


def prediction_json(prediction: Prediction) -> str:
    """Return the file's text, in ASCII: a file name that is not UTF-8 can only be written escaped."""
    return json.dumps(prediction.model_dump(mode="json"), indent=1) + "\n"


def is_prediction(path: Path) -> bool:
    """Return whether a file is marked as a prediction; False if it cannot be read."""
    try:
        data = _read(path)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("predicted") is True


def load_prediction(path: Path) -> Prediction:
    """Raises ResultFileError if the file is missing or is not a prediction."""
    try:
        return Prediction.model_validate(_read(path))
    except OSError as error:
        raise ResultFileError(f"cannot read {path}: {error.strerror}", remedy=_REMEDY) from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        words = [".".join(str(part) for part in problem["loc"]), problem["msg"]]
        why = ": ".join(word for word in words if word)
        raise ResultFileError(f"{path} is not a prediction: {why}", remedy=_REMEDY) from error
    except (ValueError, RecursionError) as error:  # the decoder recurses once per bracket
        raise ResultFileError(f"{path} is not JSON: {error}", remedy=_REMEDY) from error


def _read(path: Path) -> Any:
    return json.loads(read_text(path, RESULT_BYTES))
