import pytest
from pydantic import ValidationError

from layertune.memory.buffers import BufferBytes
from layertune.trial.outcome import OUTCOME, Failed, Infeasible, Measured, ModelReport, ModelSamples, TrialOutcome
from layertune.vram.vram_report import VramReport

SAMPLES = ModelSamples((100.0, 101.5), (20.0, 21.0), (0.5, 0.4), (10.0, 11.0), (8.0,))
MEASURED = Measured(
    {"chat": ModelReport(SAMPLES, {"gpu0": BufferBytes(1, 2, 3)}, 1.5, None)},
    VramReport(600, 10, "card", "ledger", {"load": 500}),
    peak_rss_bytes=77,
    duration_s=9.0,
)


@pytest.mark.parametrize(
    "outcome",
    [
        MEASURED,
        Infeasible("kv_cache", "chat", "failed to allocate buffer for kv cache", None, 1.0),
        Failed("hung", "no result after 5 s", ("last line",), 5.0),
    ],
)
def test_every_outcome_is_equal_after_a_round_trip_through_json(outcome: TrialOutcome) -> None:
    assert OUTCOME.validate_json(OUTCOME.dump_json(outcome)) == outcome


def test_json_that_is_not_an_outcome_is_refused() -> None:
    with pytest.raises(ValidationError):
        OUTCOME.validate_json('{"state": "splendid"}')
