"""A study in which the model chat has two files. The large one is the reference and the first of the config."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from finalists import finalist, rounds
from finished_study import result
from layertune.results.choice import Choice
from layertune.results.result import ModelInfo, QualityInfo, Result
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings

SMALL, LARGE = (
    ModelInfo(file=name, sha256=name, architecture="qwen2", n_layer=n_layer, file_bytes=size, quantization=quantization)
    for name, n_layer, size, quantization in (("small.gguf", 24, 1, "Q3_K_M"), ("large.gguf", 36, 2, "Q8_0"))
)


def with_file(trial: FinishedTrial, file: str) -> FinishedTrial:
    engines = {name: replace(each, file=file) if name == "chat" else each for name, each in trial.settings.items()}
    return replace(trial, settings=SplitSettings.of(engines))


def two_files(trials: Sequence[FinishedTrial], **changes: Any) -> Result:
    found = result(trials=trials, files={"chat": {"large.gguf": LARGE, "small.gguf": SMALL}}, **changes)
    return found.model_copy(update={"models": {**found.models, "chat": LARGE}})


def priced(pick: FinishedTrial | None = None, **cost: Any) -> Result:
    """Return a study whose pick, trial 1, has the small file at the `cost` of a QualityInfo; trial 0 has the large one.

    Trial 0 was measured in rounds; without a `pick`, so was trial 1, in the same rounds and 1.4 times as fast.
    """
    reference = finalist(0, 200, chat=rounds(20.0, 20.1, 19.9, 20.0), code=rounds(9.0, 9.1, 9.0, 8.9))
    faster = finalist(1, 100, chat=rounds(28.2, 28.1, 27.7, 28.0), code=rounds(9.0, 9.0, 9.1, 8.9))
    trials = [with_file(reference, "large.gguf"), with_file(pick or faster, "small.gguf")]
    choice = Choice((trials[1],), {}, {"balanced": 1, "chat": 1}, None, reference_picks={"balanced": 0, "chat": 0})
    named: dict[str, Any] = {"reference": "large.gguf", "type_k": "f16", "type_v": "f16"}
    qualities = [
        QualityInfo(file="large.gguf", kl_divergence=0.0, top1_agreement=1.0, **named),
        QualityInfo(file="small.gguf", **named | {"kl_divergence": 0.05, "top1_agreement": 0.93} | cost),
    ]
    return two_files(trials, quality={"chat": qualities}, choice=choice)
