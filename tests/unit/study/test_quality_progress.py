"""The lines that are shown while quality is measured."""

from pathlib import Path

from layertune.quality import Candidate
from layertune.study.quality_progress import QualityProgress

BEST, GOOD, BAD = (Candidate(Path(name)) for name in ("best.gguf", "good.gguf", "bad.gguf"))


def test_each_pass_says_what_is_scored_how_much_is_done_and_the_time_left() -> None:
    said: list[str] = []
    clock_s = [100.0]
    progress = QualityProgress(said.append, lambda: clock_s[0])
    for candidate, n_left in ((BEST, 4), (BEST, 3), (GOOD, 2), (BAD, 1)):  # the second one is for the floor
        progress(candidate, 0, n_left)
        progress(candidate, 479, n_left)
        clock_s[0] += 10.0
    assert said == [
        "  best.gguf, K/V f16/f16",
        "  good.gguf, K/V f16/f16 (50% done, about 20.0 s left)",
        "  bad.gguf, K/V f16/f16 (75% done, about 10.0 s left)",
    ]


def test_passes_that_are_added_are_counted() -> None:
    said: list[str] = []
    clock_s = [0.0]
    progress = QualityProgress(said.append, lambda: clock_s[0])
    for candidate, n_left in ((BEST, 3), (BEST, 2), (GOOD, 1), (BEST, 2), (GOOD, 1)):
        progress(candidate, 0, n_left)
        clock_s[0] += 10.0
    assert said[-2:] == [
        "  best.gguf, K/V f16/f16 (60% done, about 20.0 s left)",
        "  good.gguf, K/V f16/f16 (80% done, about 10.0 s left)",
    ]
