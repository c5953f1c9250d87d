"""Statistics, the Pareto front, picks, and the portable result.json."""
