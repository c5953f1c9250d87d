"""What the files and cache types of a study cost in quality, known before its first trial."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layertune.config import ModelConfig, StudyConfig, dimension_values
from layertune.config.objective import SCORE
from layertune.devices.cores import this_cores
from layertune.errors import ConfigError, Interrupted
from layertune.models import cached_shape
from layertune.quality import (
    FileQuality,
    Quality,
    QualityReport,
    Scoring,
    Text,
    best_file,
    own_text,
    quality_of_files,
    shipped_texts,
)
from layertune.quality.texts import KINDS
from layertune.results.study_info import QualityInfo
from layertune.study.facts import StudyFacts
from layertune.study.quality_objectives import Qualities
from layertune.study.quality_progress import QualityProgress

NOT_MEASURED = "it was not measured, since quality.measure is false"


def measure_files(study: StudyFacts) -> Qualities:
    """Return by model the quality of each file and pair of cache types, for models that have several to search.

    What was measured before is read from the cache. The user's own scores are added.

    Raises:
        ModelFileError: a file is missing or damaged.
        DeviceError: llama.cpp cannot be started.
        ConfigError: see `check_quality`; or `quality.text` has too few tokens.
        Interrupted: Ctrl-C; what was measured is in the cache.
    """
    for words in (*unchecked_floors(study.config), *coarse_caches(study.config)):
        study.notify(f"warning: {words}")
    try:
        return _measured(study)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            "interrupted while quality was measured: the .env is not measured yet", remedy="run the same command again"
        ) from interrupt


def _measured(study: StudyFacts) -> Qualities:
    config, found = study.config, dict[str, Sequence[QualityInfo]]()
    for name, model in config.models.items():
        why = why_unmeasured(config, name)
        if why is not None:
            if why == NOT_MEASURED:
                study.notify(f"{name}: quality is unknown: {why}")
                best = best_file([cached_shape(path) for path in model.paths.values()])
                found[name] = unmeasured(model, model.reference or best, why)
            elif model.quality:
                found[name] = scores_of(model)
            continue
        types = model.cache_types
        study.notify(f"{name}: measuring the quality of {len(model.paths) * len(types)} choices, once")
        report = QualityProgress(study.notify)
        files = list(model.paths.values())
        measured = quality_of_files(
            files, types, scoring_of(study, name), texts_of(config, name), reference=model.reference, on_progress=report
        )
        found[name] = [_info(each, measured, model) for each in measured.qualities]
    return found


def scoring_of(study: StudyFacts, name: str) -> Scoring:
    """Return how the files of a model are scored."""
    flash_attn = dimension_values(study.config.models[name].space.flash_attn)[0]
    return Scoring(n_threads=this_cores().n_compute, target=study.target, flash_attn=flash_attn)


def texts_of(config: StudyConfig, name: str) -> Sequence[Text]:
    """Return the texts that the files of a model are scored on, with their weights.

    Raises:
        ConfigError: `quality.text` cannot be read, or is too short.
    """
    own, written = config.quality.text, config.models[name].texts
    if own is not None:
        return [own_text(own)]
    if written is not None:
        return shipped_texts({str(kind): weight for kind, weight in written.items()})
    return shipped_texts(dict.fromkeys(KINDS, 1.0) | ({name: len(KINDS) - 1.0} if name in KINDS else {}))


def measured_models(config: StudyConfig) -> list[str]:
    """Return the models whose quality a search measures."""
    return [name for name in config.models if why_unmeasured(config, name) is None]


def reference_files(config: StudyConfig, qualities: Qualities) -> dict[str, dict[str, str]]:
    """Return by model the settings of the file and the cache types that quality was measured against."""
    found = {}
    for name, measured in qualities.items():
        file, paths = measured[0].reference, config.models[name].paths
        is_only = [path.name for path in paths.values()] == [file]
        found[name] = {"file": "" if is_only else file, "type_k": "f16", "type_v": "f16"}
    return found


def unchecked_floors(config: StudyConfig) -> Iterator[str]:
    """Yield a sentence for each floor of quality that nothing is measured for."""
    for floor in config.named_quality_floors():
        why = _why_unknown(config, floor.objective.subject, floor.objective.quantity)
        if why is not None:
            yield f"the floor {floor.objective.name} is not checked: {why}"


def coarse_caches(config: StudyConfig) -> Iterator[str]:
    """Yield a sentence for each model with a q4_0 K cache; docs/quality.md has the values."""
    for name, model in config.models.items():
        if any(type_k == "q4_0" for type_k, _ in model.cache_types):
            yield (
                f"{name}: a K cache of q4_0 loses several times as much quality as a V cache of q4_0; "
                "q8_0/q4_0 takes 44 % more memory and loses little"
            )


def check_quality(config: StudyConfig) -> None:
    """Check what can be checked before anything is loaded.

    Raises:
        ConfigError: `quality.text` cannot be read or is too short, or an objective is a quality that is not measured.
    """
    for name in measured_models(config):
        texts_of(config, name)
    for objective in config.resolved_objectives():
        why = _why_unknown(config, objective.subject, objective.quantity) if objective.is_quality else None
        if why is not None:
            raise ConfigError(f"objectives: {objective.name} is not known: {why}", remedy="leave out the objective")


def _why_unknown(config: StudyConfig, name: str, quantity: str) -> str | None:
    if quantity == SCORE:
        return None if config.models[name].quality else f"there is no models.{name}.quality"
    return why_unmeasured(config, name)


def why_unmeasured(config: StudyConfig, name: str) -> str | None:
    """Return why the files of a model are not measured, None if they are."""
    model = config.models[name]
    if model.pooling:
        return "it generates no text"
    if len(model.paths) * len(model.cache_types) < 2:
        return "it has one file and one cache type"
    named = [*config.resolved_objectives(), *(floor.objective for floor in config.named_quality_floors())]
    measures = any(each.is_quality and each.quantity != SCORE and each.subject == name for each in named)
    if model.quality and len(model.cache_types) == 1 and not measures:
        return "your own scores replace it"
    return None if config.quality.measure else NOT_MEASURED


def scores_of(model: ModelConfig) -> list[QualityInfo]:
    """Return what is known of files with scores alone."""
    return unmeasured(model, max(model.paths.values(), key=lambda path: model.quality[path.name]), None)


def unmeasured(model: ModelConfig, reference: Path, why: str | None) -> list[QualityInfo]:
    """Return what is known of a model's choices without a measurement; `why` says why it is unknown, None if scores
    replace it."""
    return [
        QualityInfo(
            file=path.name,
            reference=reference.name,
            reference_is_named=reference == model.reference,
            type_k=type_k,
            type_v=type_v,
            unknown=why,
            score=model.quality.get(path.name),
        )
        for path in model.paths.values()
        for type_k, type_v in model.cache_types
    ]


def _info(quality: Quality, report: QualityReport, model: ModelConfig) -> QualityInfo:
    candidate, reference = quality.candidate, report.reference.candidate
    named: dict[str, Any] = {
        "file": candidate.path.name,
        "reference": reference.path.name,
        "reference_is_named": model.reference is not None,
        "type_k": candidate.type_k,
        "type_v": candidate.type_v,
        "text_sha256": dict(report.text_sha256),
        "text_weights": dict(report.weights) if len(set(report.weights.values())) > 1 else {},
        "score": model.quality.get(candidate.path.name),
    }
    if not isinstance(quality, FileQuality):
        return QualityInfo(**named, unknown=quality.reason)
    total, divergence = quality.total, quality.total.divergence
    measured: dict[str, Any] = {
        "bits_per_byte": total.bits_per_byte,
        "is_visible": quality.is_visible,
        "not_comparable": quality.not_comparable,
    }
    if divergence is not None:
        measured |= {
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
    return QualityInfo(**named, **measured)
