"""Which trial next, and when to stop: an Optuna study over the settings of all models."""
