"""The search space, its limits, the settings that fit them, and the baselines."""
