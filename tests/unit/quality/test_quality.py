"""What is measured, what comes from the cache, and what a report says; the worker is a function here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.models import ModelShape
from layertune.quality import Candidate, FileQuality, QualityReport, Scoring, Text, UnknownQuality, measure_quality
from layertune.quality import quality as module
from layertune.quality.blocks import Against, Block
from layertune.quality.scoring import Job, Progress, Refused, Scored
from layertune.quality.scoring_process import Answer
from layertune.quality.texts import shipped_texts
from small_shapes import shape

TEXTS = (Text("code", "x = 1"),)
SCORING = Scoring(n_threads=2)
DIVERGENCES = {"best": 0.004, "small": 0.007, "large": 0.05}


class Worker:
    """Answers in place of the child process and remembers what it was asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.asked: list[str] = []
        monkeypatch.setattr(module, "cached_shape", self._shape)
        monkeypatch.setattr(module, "score", self._score)

    def candidate(self, name: str) -> Candidate:
        path = self._folder / name
        if not path.exists():
            path.write_text(name, encoding="utf-8")
        return Candidate(path)

    def measure(self, *names: str, scoring: Scoring = SCORING, texts: tuple[Text, ...] = TEXTS) -> QualityReport:
        self.asked.clear()
        candidates = [self.candidate(name) for name in names]
        return measure_quality(self.candidate("best"), candidates, scoring, texts, cache=self._folder / "cache")

    def _shape(self, path: Path) -> ModelShape:
        metadata = {"layertune.standin": True} if path.name.startswith("standin") else {}
        return replace(shape(), files=(path,), metadata=metadata)

    def _score(self, job: Job, _: Callable[[Progress], None], keep: Callable[[int, Answer], None]) -> None:
        for number, item in enumerate(job.items):
            name = item.candidate.path.name
            self.asked.append(name)
            if name == "dead":
                keep(number, Refused(number, "llama.cpp ended with signal SIGABRT"))
                continue
            against = Against(32 * DIVERGENCES[name], 30, 32 * 1.5)
            keep(number, Scored(number, (Block("code", True, 32, 100, 50.0, against),) * 2, None, 1.0))


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(tmp_path, monkeypatch)


def known(report: QualityReport, index: int) -> FileQuality:
    found = report.qualities[index]
    assert isinstance(found, FileQuality)
    return found


def test_a_divergence_below_twice_the_floor_is_not_visible(worker: Worker) -> None:
    report = worker.measure("small", "large")
    assert report.floor is not None
    assert report.floor.mean == pytest.approx(0.004)
    assert [known(report, index).is_visible for index in (0, 1)] == [False, True]
    difference = report.difference(known(report, 1), known(report, 0))
    assert difference is not None
    assert difference.mean == pytest.approx(0.043)


def test_the_reference_does_not_differ_from_itself(worker: Worker) -> None:
    report = worker.measure("best")
    assert worker.asked == ["best"]  # for the floor, with another batch
    own = known(report, 0).total
    assert own.divergence is not None
    assert (own.divergence.mean, own.divergence.top1_agreement, own.divergence.ln_ppl_change) == (0, 1, 0)
    assert own.ln_ppl == pytest.approx(1.5)
    assert report.reference == known(report, 0)
    assert known(report, 0).is_visible is False


def test_what_was_measured_once_is_read_from_the_cache(worker: Worker) -> None:
    first = worker.measure("small")
    assert worker.measure("small", scoring=Scoring(n_threads=1)) == first
    assert worker.asked == []
    worker.measure("small", "large")
    assert worker.asked == ["large"]


def test_another_text_setting_or_file_is_measured_again(worker: Worker, tmp_path: Path) -> None:
    worker.measure("small")
    for change in (
        lambda: worker.measure("small", texts=(Text("code", "x = 2"),)),
        lambda: worker.measure("small", scoring=replace(SCORING, flash_attn="off")),
    ):
        change()
        assert worker.asked == ["best", "small"]
    (tmp_path / "small").write_text("other weights", encoding="utf-8")
    worker.measure("small")
    assert worker.asked == ["small"]


def test_a_candidate_without_an_answer_is_unknown_and_tried_again(worker: Worker) -> None:
    for _ in range(2):
        report = worker.measure("dead", "small")
        assert report.qualities[0] == UnknownQuality(worker.candidate("dead"), "llama.cpp ended with signal SIGABRT")
        assert "dead" in worker.asked
        assert known(report, 1).total.divergence is not None


def test_random_weights_and_impossible_caches_are_not_even_loaded(worker: Worker, tmp_path: Path) -> None:
    report = worker.measure("standin.gguf")
    (standin,) = report.qualities
    assert isinstance(standin, UnknownQuality)
    assert "random" in standin.reason
    assert worker.asked == ["best"]
    quantized = replace(worker.candidate("small"), type_v="q8_0")
    off = replace(SCORING, flash_attn="off")
    (impossible,) = measure_quality(worker.candidate("best"), [quantized], off, TEXTS, cache=tmp_path).qualities
    assert isinstance(impossible, UnknownQuality)
    assert "flash attention" in impossible.reason


def test_three_texts_of_about_10_kb_are_shipped() -> None:
    texts = shipped_texts()
    assert [text.kind for text in texts] == ["english", "korean", "code"]
    assert all(9000 < len(text.content.encode()) < 11_000 for text in texts)
    assert [text.kind for text in shipped_texts({"code": 2.0})] == ["code"]
