import pytest

from compared import engine
from explained import pair, study
from layertune.explain.modelled import ModelledSpeeds, RecordedWeights
from layertune.memory import GPU, HOST
from layertune.results.result import Result
from layertune.results.trial_info import BufferInfo


def modelled(result: Result, *wanted: int, **changes: int) -> ModelledSpeeds:
    return ModelledSpeeds(result, "chat", [engine(layers, **changes) for layers in wanted])


def test_a_step_between_measured_layers_is_modelled_from_them() -> None:
    result = study([pair(engine(layers)) for layers in (0, 8, 16, 24, 32, 37)])
    speeds = modelled(result, 20, 21)
    assert speeds.missing(engine(20), engine(21)) is None
    change = speeds.change(engine(20), engine(21))
    assert change.source == "modelled"
    assert change.tokens_per_s == pytest.approx(1.0, rel=0.3)  # the fake card's layer
    assert change.before == pytest.approx(29.25, rel=0.03)
    assert change.low is not None
    assert change.high is not None
    assert change.low < 1.0 < change.high


def test_a_step_has_a_smaller_uncertainty_than_the_speeds_of_its_ends() -> None:
    result = study([pair(engine(layers)) for layers in (0, 30, 37)])
    near, far = modelled(result, 14, 15), modelled(result, 1, 15)
    near_change, far_change = near.change(engine(14), engine(15)), far.change(engine(1), engine(15))
    assert near_change.high is not None
    assert far_change.high is not None
    assert near_change.high - near_change.tokens_per_s < far_change.high - far_change.tokens_per_s


def test_too_few_settings_give_no_model() -> None:
    speeds = modelled(study([pair(engine(20)), pair(engine(10))]), 20, 19)
    assert speeds.missing(engine(20), engine(19)) == "too few settings measured to model its speed: 2"


def test_a_setting_that_never_changed_alone_is_not_modelled() -> None:
    splits = [pair(engine(layers, n_ctx=n_ctx, n_batch=n_batch)) for layers, n_ctx, n_batch in
              ((20, 1024, 256), (10, 2048, 512), (0, 1024, 256))]  # fmt: skip
    speeds = modelled(study(splits), 20)
    wider, longer = engine(20, n_batch=512), engine(20, n_ctx=2048)
    assert speeds.missing(engine(20), wider) == "no two trials differ in n_batch alone"
    assert speeds.missing(engine(20), longer) == "no two trials differ in n_ctx alone"
    both = engine(20, n_ctx=2048, n_batch=512)
    assert speeds.missing(engine(20), both) is None


def test_a_setting_that_changed_only_with_the_layers_is_modelled() -> None:
    splits = [pair(engine(20)), pair(engine(10, n_batch=512)), pair(engine(0))]
    assert modelled(study(splits), 20).missing(engine(20), engine(20, n_batch=512)) is None


def test_disturbed_trials_are_not_used_by_the_model() -> None:
    whole = study([pair(engine(layers)) for layers in (20, 10, 0)])
    disturbed = whole.trials[2].model_copy(update={"warnings": ["disturbed: another program"]})
    result = whole.model_copy(update={"trials": [*whole.trials[:2], disturbed]})
    assert modelled(result, 20, 19).missing(engine(20), engine(19)) is not None


def on_device(result: Result, layers: int) -> float:
    """Return the weights of chat's layers on the device, as a share of those with all 36 and the output there."""
    held = RecordedWeights(result, "chat")
    there, whole = (held.plan(engine(each)).devices[GPU].weights_bytes for each in (layers, 37))
    return there / whole


def test_weights_are_recorded_interpolated_or_counted_in_layers() -> None:
    assert [on_device(study(), layers) for layers in (0, 37)] == [0, 1]
    whole = study([pair(engine(20)), pair(engine(10))])
    trials = [
        trial.model_copy(update={"planned": {"chat": {HOST: buffers(1), GPU: buffers(n_bytes)}}})
        for trial, n_bytes in zip(whole.trials, (6000, 4000), strict=True)
    ]
    planned = whole.model_copy(update={"trials": trials})
    shares = [on_device(planned, layers) for layers in (0, 10, 15, 20, 30, 37)]
    assert shares == pytest.approx([each / 9400 for each in (2000, 4000, 5000, 6000, 8000, 9400)])


def buffers(weights_bytes: int) -> BufferInfo:
    return BufferInfo(weights_bytes=weights_bytes, kv_bytes=0, compute_bytes=0, output_bytes=0)
