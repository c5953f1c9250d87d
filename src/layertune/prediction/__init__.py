"""Predictions for another card: which of a study's settings fit it, and how fast they would be. No model is run."""

from layertune.prediction.calibration import Calibration, MeasuredStudy
from layertune.prediction.device_change import DeviceChange, between_cards, between_threads
from layertune.prediction.held_back import session_spread
from layertune.prediction.prediction_file import Prediction, load_prediction

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
