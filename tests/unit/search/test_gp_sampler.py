"""What of gp can be told without torch."""

import inspect

from optuna.samplers import GPSampler


def test_optuna_still_has_the_method_that_is_overridden() -> None:
    assert list(inspect.signature(GPSampler._optimize_acqf).parameters) == ["self", "acqf", "best_params"]
