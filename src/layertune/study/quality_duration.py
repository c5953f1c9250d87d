"""How long the quality of files and cache types takes to measure, before anything is measured."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from layertune.quality import Candidate, Scoring
from layertune.quality.pieces import n_each_kind
from layertune.study.bandwidth_model import MachineRates
from layertune.study.facts import StudyFacts
from layertune.study.file_quality import measured_models, scoring_of, texts_of
from layertune.units import format_duration

# Seconds that the comparison of one logit takes in quality/reference_rows.py: a guess for one core; no benchmark of the
# repository measures it.
_LOGIT_S = 2e-8


@dataclass(frozen=True, slots=True)
class QualityDuration:
    """How long the quality of all models takes, if nothing of it is in the cache.

    Attributes:
        n_choices: The files with their cache types.
        seconds: The least and the most that is expected.
    """

    n_choices: int
    seconds: tuple[float, float]

    def __str__(self) -> str:
        least_s, most_s = map(format_duration, self.seconds)
        return f"the quality of {self.n_choices} choices in {least_s} to {most_s}, unless it was measured before"


def quality_duration(study: StudyFacts, rates: MachineRates, ratio: tuple[float, float]) -> QualityDuration | None:
    """Return how long quality takes; None if a search measures none.

    Every choice is scored once, and the reference once more for the floor. At the most, every standard error needs all
    tokens. The reference counts as the slowest of the files.

    Args:
        study: The study.
        rates: How fast the machine is.
        ratio: The least and the largest ratio of measured to expected seconds.
    """
    if not (names := measured_models(study.config)):
        return None
    least_s = most_s = 0.0
    n_choices = 0
    for name in names:
        n_kinds = len(texts_of(study.config, name))
        model, scoring = study.config.models[name], scoring_of(study, name)
        n_types = len(model.cache_types)
        is_among = model.reference is None or model.reference in model.paths.values()
        n_more = 1 if is_among and ("f16", "f16") in model.cache_types else 2
        piece_s = list(_piece_s(study, name, scoring, rates))
        all_s = n_types * sum(piece_s) + n_more * max(piece_s)
        n_first, n_all = n_each_kind(scoring, n_kinds)
        least_s += ratio[0] * n_kinds * n_first * all_s
        most_s += ratio[1] * n_kinds * n_all * all_s
        n_choices += n_types * len(model.paths)
    return QualityDuration(n_choices, (least_s, most_s))


def _piece_s(study: StudyFacts, name: str, scoring: Scoring, rates: MachineRates) -> Iterator[float]:
    """Yield the expected seconds of one piece of text with each file of a model. A GPU's arithmetic counts as free."""
    work = study.models.memories()[name]
    for file, path in study.config.models[name].paths.items():
        engine = replace(scoring.engine(Candidate(path)), file=file)
        used = work.weights_used(engine).values()
        shape, compute_s = study.models.shape(name, engine), 0.0
        n_vocab = sum(tensor.shape[-1] for tensor in shape.tensors if tensor.name == "token_embd.weight")
        if engine.n_gpu_layers == 0 or shape.file_bytes > (study.target.vram_bytes or 0):
            n_values = sum(weights.n_values + weights.output_values for weights in used)
            compute_s = 2 * n_values * scoring.n_ctx / rates.host.computes(scoring.n_threads)
        yield compute_s + scoring.n_scored * n_vocab * _LOGIT_S
