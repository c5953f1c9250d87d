"""What may be set, and which of it fits: dimensions, limits, the feasible set, baselines."""
