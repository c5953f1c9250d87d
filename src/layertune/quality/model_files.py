"""The quality of all files of one model of a study, with several cache types."""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

from layertune.models import ModelShape, cached_shape
from layertune.models.quantization import REQUANTIZED_KEY
from layertune.quality.quality import QualityReport, measure_quality
from layertune.quality.scoring import Candidate, Scoring
from layertune.quality.texts import Text
from layertune.settings import CacheType


def quality_of_files(
    files: Sequence[Path],
    cache_types: Sequence[tuple[CacheType, CacheType]],
    scoring: Scoring,
    texts: Sequence[Text] | None = None,
    *,
    reference: Path | None = None,
    on_progress: Callable[[Candidate, int, int], None] = lambda candidate, n_tokens, n_left: None,
) -> QualityReport:
    """Measure every file with every pair of types of the K and V cache.

    Args:
        files: The files of one model, or of several models that may take its place.
        cache_types: Pairs of (type_k, type_v).
        scoring: Where and how texts are scored.
        texts: As in `measure_quality`.
        reference: What all are compared with, with an f16 cache; by default the `best_file`.
        on_progress: As in `measure_quality`.
    """
    chosen = best_file([cached_shape(file) for file in files]) if reference is None else reference
    candidates = [Candidate(file, *types) for file in files for types in cache_types]
    return measure_quality(Candidate(chosen), candidates, scoring, texts, on_progress=on_progress)


def best_file(shapes: Sequence[ModelShape]) -> Path:
    """Return the file of the largest model, and of several of that size the one with most bits per weight.

    A file that was made from a quantized one is only chosen if all were: it has the errors of both.
    """

    def size(shape: ModelShape) -> tuple[int, bool, int]:
        n_weights = sum(prod(tensor.shape) for tensor in shape.tensors if tensor.name != "output.weight")
        return n_weights, REQUANTIZED_KEY not in shape.metadata, shape.file_bytes

    return max(shapes, key=size).files[0]
