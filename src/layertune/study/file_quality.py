"""What the files and cache types of a study cost in quality, measured before its first trial."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from layertune.config import ModelConfig, StudyConfig, dimension_values
from layertune.errors import listed
from layertune.quality import Candidate, FileQuality, Quality, QualityReport, Scoring, own_text, quality_of_files
from layertune.results.result import QualityInfo
from layertune.settings import CacheType
from layertune.study.facts import StudyFacts

Qualities = Mapping[str, Sequence[QualityInfo]]

# The settings that quality depends on.
_CHOICES = ("file", "type_k", "type_v")


def measure_files(study: StudyFacts) -> Qualities:
    """Return by model the quality of each file and pair of cache types, for models that have several to search.

    What was measured before is read from the cache.

    Raises:
        ModelFileError: a file is missing or damaged.
        DeviceError: llama.cpp cannot be started.
        ConfigError: `quality.text` cannot be read.
    """
    config, found = study.config, dict[str, Sequence[QualityInfo]]()
    text = config.quality.text
    texts = None if text is None else [own_text(text)]
    for name, model in config.models.items():
        types = _cache_types(model)
        if not config.quality.measure or len(model.paths) * len(types) < 2:
            if name in config.quality_floors():
                why = "quality.measure is false" if not config.quality.measure else "it has one file and one cache type"
                study.notify(f"warning: the floor {name}.kl_divergence is not checked: {why}")
            continue
        study.notify(f"{name}: measuring the quality of {len(model.paths) * len(types)} choices, once")
        flash_attn = dimension_values(model.space.flash_attn)[0]
        scoring = Scoring(n_threads=study.machine.n_cores, target=study.target, flash_attn=flash_attn)
        said: set[Candidate] = set()

        def report(candidate: Candidate, _n_tokens: int, said: set[Candidate] = said) -> None:
            if candidate not in said:
                said.add(candidate)
                study.notify(f"  {candidate.path.name}, K/V {candidate.type_k}/{candidate.type_v}")

        measured = quality_of_files(list(model.paths.values()), types, scoring, texts, on_progress=report)
        found[name] = _infos(measured)
    return found


def without_worse(study: StudyFacts, qualities: Qualities) -> StudyConfig:
    """Return the config without the files and cache types that are over the limit of quality, alone or together.

    Of a file and a cache type that are over the limit only together, the one is left out that is more often over it.
    """
    models = dict(study.config.models)
    for name, measured in qualities.items():
        limit = study.config.most_kl_divergence()[name]
        there = {choice: list(dict.fromkeys(getattr(each, choice) for each in measured)) for choice in _CHOICES}
        kept = _within(measured, there, limit)
        changes = {choice: values for choice, values in kept.items() if len(values) < len(there[choice])}
        worse = [value for choice in changes for value in there[choice] if value not in kept[choice]]
        if worse:
            study.notify(f"{name}: not searched, KL divergence over {limit:g}: {listed(worse)}")
            space = models[name].space.model_copy(update=changes)
            models[name] = models[name].model_copy(update={"space": space})
    return study.config if models == study.config.models else study.config.model_copy(update={"models": models})


def _within(measured: Sequence[QualityInfo], there: Mapping[str, Sequence[str]], limit: float) -> dict[str, list[str]]:
    """Return the values of each choice of which no combination is over the limit, and at least one value of each."""
    kept = {choice: list(values) for choice, values in there.items()}
    while True:
        left = [each for each in measured if all(getattr(each, choice) in kept[choice] for choice in kept)]
        over = [each for each in left if each.kl_divergence is not None and each.kl_divergence > limit]
        shares = {
            (choice, value): sum(getattr(each, choice) == value for each in over)
            / sum(getattr(each, choice) == value for each in left)
            for choice, values in kept.items()
            for value in values
            if len(values) > 1
        }
        if not over or not shares:
            return kept
        choice, value = max(shares, key=lambda each: shares[each])
        kept[choice].remove(value)


def _cache_types(model: ModelConfig) -> list[tuple[CacheType, CacheType]]:
    return list(product(dimension_values(model.space.type_k), dimension_values(model.space.type_v)))


def _infos(report: QualityReport) -> list[QualityInfo]:
    return [_info(each, report) for each in report.qualities]


def _info(quality: Quality, report: QualityReport) -> QualityInfo:
    candidate, reference = quality.candidate, report.reference.candidate
    named: dict[str, Any] = {
        "file": candidate.path.name,
        "reference": reference.path.name,
        "type_k": candidate.type_k,
        "type_v": candidate.type_v,
        "text_sha256": dict(report.text_sha256),
    }
    if not isinstance(quality, FileQuality):
        return QualityInfo(**named, unknown=quality.reason)
    total, divergence = quality.total, quality.total.divergence
    figures: dict[str, Any] = {"bits_per_byte": total.bits_per_byte, "is_visible": quality.is_visible}
    if divergence is not None:
        figures |= {
            "kl_divergence": max(0.0, divergence.mean),
            "standard_error": divergence.standard_error,
            "top1_agreement": divergence.top1_agreement,
            "ln_ppl_change": divergence.ln_ppl_change,
            "by_kind": {
                kind: max(0.0, each.divergence.mean)
                for kind, each in quality.by_kind.items()
                if each.divergence is not None
            },
        }
    return QualityInfo(**named, **figures)
