"""What is to be read with a predicted front, in sentences."""

from collections.abc import Iterator, Mapping

from layertune.prediction.prediction_file import ErrorInfo, Prediction


def remarks(prediction: Prediction) -> list[str]:
    """Return what is to be read with the front: its errors, its picks, its limits."""
    error, device = prediction.error, prediction.hardware.device
    lines = [
        f"PREDICTED from {prediction.study.name}, measured on {device.name}"
        f"{' (EMULATED)' if device.kind == 'emulated' else ''}: nothing of this was measured.",
        f"Intervals are made for {error.level:.0%} of what a trial of another session would measure, which is no "
        f"promise. {error.session:.1%} (standard deviation) is for the other session.",
        *_checks(error),
    ]
    lines += [_pick_line(prediction, pick, layers) for pick, layers in error.layers.items() if pick in prediction.picks]
    lines.append(f"Scaled: {prediction.scaled}.")
    if any(each.beyond for setting in prediction.front for each in setting.models.values()):
        lines.append("* more layers on the device than any trial measured: the curve is continued.")
    return lines + prediction.limits


def _checks(error: ErrorInfo) -> Iterator[str]:
    """Say what the study's own trials show of the intervals; all of them are of one session."""
    n_inside = round(error.coverage * error.n_splits)
    yield (
        "Checked on the study's own trials, without the share for another session: each number of layers predicted "
        f"from the trials of all others is off by {error.median:.1%} in the median, and {n_inside} of {error.n_splits} "
        "are inside their interval."
    )
    if error.coverage_larger is not None:
        n_inside = round(error.coverage_larger * error.n_larger)
        yield (
            "Predicted from trials with less of the model on the device only, as for a larger card: "
            f"{n_inside} of {error.n_larger} are inside."
        )


def _pick_line(prediction: Prediction, pick: str, layers: Mapping[str, tuple[int, int]]) -> str:
    chosen = prediction.front[prediction.picks[pick]].models
    of_models = [
        f"{name} {chosen[name].settings.n_gpu_layers}" + (f" ({least} to {most})" if least < most else "")
        for name, (least, most) in layers.items()
    ]
    varies = any(least < most for least, most in layers.values())
    meaning = "; in brackets, what would be picked without one of the measured splits" if varies else ""
    return f"Pick {pick}: n_gpu_layers {', '.join(of_models)}{meaning}."
