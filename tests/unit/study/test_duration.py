from layertune.study.duration import Duration
from layertune.study.quality_duration import QualityDuration


def test_the_least_and_the_most_of_everything_are_added_up_within_the_time_limit() -> None:
    duration = Duration((8, 12), (5.0, 20.0), (8, 18), limit_s=300.0)
    assert duration.seconds == (16 * 5.0, 300.0)
    assert str(duration) == (
        "about 1m 20s to 5m 00s (time limit: 5m 00s): 8 to 12 trials of 5.0 s to 20.0 s, then 8 to 18 measurements of "
        "the finals and validation runs"
    )


def test_without_a_limit_and_with_one_number_of_trials() -> None:
    duration = Duration((12, 12), (5.0, 10.0), (0, 0), limit_s=None)
    assert duration.seconds == (60.0, 120.0)
    assert str(duration).startswith("about 1m 00s to 2m 00s: 12 trials of 5.0 s to 10.0 s")


def test_quality_is_measured_before_the_time_limit_begins() -> None:
    quality = QualityDuration(6, (30.0, 240.0))
    duration = Duration((12, 12), (5.0, 10.0), (0, 0), limit_s=100.0, quality=quality)
    assert duration.seconds == (90.0, 340.0)
    assert duration.as_json()["quality"] == {"n_choices": 6, "seconds": (30.0, 240.0)}
    assert str(duration) == (
        "about 1m 30s to 5m 40s (time limit: 1m 40s): the quality of 6 choices in 30.0 s to 4m 00s, unless it was "
        "measured before; then 12 trials of 5.0 s to 10.0 s, then 0 measurements of the finals and validation runs"
    )


def test_the_time_to_fill_contexts_is_added_and_named() -> None:
    duration = Duration((12, 12), (5.0, 10.0), (4, 4), limit_s=None, fill_s=(7.0, 30.0))
    assert duration.seconds == (87.0, 190.0)
    assert str(duration).endswith(
        "measurements of the finals and validation runs, with 7.0 s to 30.0 s to fill contexts"
    )
