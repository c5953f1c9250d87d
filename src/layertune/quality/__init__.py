"""How much a file or a cache type changes what a model generates, compared with a reference file."""

from layertune.quality.divergence import Difference, Divergence, Summary, difference
from layertune.quality.model_files import best_file, quality_of_files
from layertune.quality.quality import FileQuality, Quality, QualityReport, UnknownQuality, measure_quality
from layertune.quality.scoring import Candidate, Scoring
from layertune.quality.texts import Text, own_text, shipped_texts

__all__ = [
    "Candidate",
    "Difference",
    "Divergence",
    "FileQuality",
    "Quality",
    "QualityReport",
    "Scoring",
    "Summary",
    "Text",
    "UnknownQuality",
    "best_file",
    "difference",
    "measure_quality",
    "own_text",
    "quality_of_files",
    "shipped_texts",
]
