import pytest

from layertune.prediction import Prediction
from layertune.prediction.caveats import remarks
from layertune.prediction.prediction_file import ErrorInfo, Interval, PredictedEngine, PredictedSetting
from layertune.settings import EngineSettings
from predicted import prediction

SPEED = Interval(expected=10.0, low=9.0, high=11.0)


def engine(n_gpu_layers: int) -> PredictedEngine:
    settings = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=128, n_ubatch=128, n_threads=1)
    return PredictedEngine(
        settings=settings, beyond=False, tokens_per_s=SPEED, pp_tokens_per_s=SPEED, tg_tokens_per_s=SPEED
    )


def picked(layers: tuple[int, int], **error: float) -> Prediction:
    setting = PredictedSetting(models={"chat": engine(24), "code": engine(0)}, planned_bytes=1)
    values = {"level": 0.9, "n_splits": 9, "median": 0.1, "coverage": 5 / 9, "session": 0.05} | error
    info = ErrorInfo(layers={"balanced": {"chat": layers, "code": (0, 0)}}, held_back=[], **values)
    return prediction("a.gguf").model_copy(update={"front": [setting], "picks": {"balanced": 0}, "error": info})


def test_a_pick_is_a_choice_of_layers_and_the_other_choices_are_a_range_of_whole_numbers() -> None:
    assert "Pick balanced: n_gpu_layers chat 24, code 0." in remarks(picked((24, 24)))
    ranged = "Pick balanced: n_gpu_layers chat 24 (20 to 26), code 0; in brackets, what would be picked without one of"
    assert any(line.startswith(ranged) for line in remarks(picked((20, 26))))
    assert not any("±" in line for line in remarks(picked((20, 26))))


@pytest.mark.parametrize(("n_larger", "told"), [(4, "larger card: 1 of 4 are inside"), (0, None)])
def test_what_is_inside_is_counted_and_what_was_not_checked_is_not_told(n_larger: int, told: str | None) -> None:
    checked = {"n_larger": n_larger, "coverage_larger": 0.25} if n_larger else {}
    text = " ".join(remarks(picked((24, 24), **checked)))
    assert "and 5 of 9 are inside their interval" in text
    assert "5.0% (standard deviation) is for the other session" in text
    assert told is None or told in text
    assert ("larger card" in text) == (told is not None)
