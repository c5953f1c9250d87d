"""layertune: measured auto-tuning of llama.cpp GPU layer splits for several models on one small GPU."""

__version__ = "0.1.0"
