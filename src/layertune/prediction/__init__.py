"""A card one does not have: what of a study's settings fits it, and how fast that would be. No model is run."""

from layertune.prediction.calibration import Calibration, MeasuredStudy
from layertune.prediction.device_change import DeviceChange, between_cards, between_threads
from layertune.prediction.prediction_file import Prediction, load_prediction
from layertune.prediction.session import session_spread

__all__ = [
    "Calibration",
    "DeviceChange",
    "MeasuredStudy",
    "Prediction",
    "between_cards",
    "between_threads",
    "load_prediction",
    "session_spread",
]
