"""What the files and cache types of a study cost in quality, measured before its first trial."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from layertune.config import ModelConfig, StudyConfig, dimension_values
from layertune.errors import Interrupted, listed
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
        Interrupted: Ctrl-C; what was measured is in the cache.
    """
    for words in unchecked_floors(study.config):
        study.notify(f"warning: {words}")
    try:
        return _measured(study)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            "interrupted while quality was measured: the .env is not measured yet", remedy="run the same command again"
        ) from interrupt


def _measured(study: StudyFacts) -> Qualities:
    config, found = study.config, dict[str, Sequence[QualityInfo]]()
    text = config.quality.text
    texts = None if text is None else [own_text(text)]
    for name in measured_models(config):
        model = config.models[name]
        types = _cache_types(model)
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


def measured_models(config: StudyConfig) -> list[str]:
    """Return the models whose quality a search measures."""
    return [name for name in config.models if _why_unmeasured(config, name) is None]


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
    for name in config.quality_floors():
        why = _why_unmeasured(config, name)
        if why is not None:
            yield f"the floor {name}.kl_divergence is not checked: {why}"


def _why_unmeasured(config: StudyConfig, name: str) -> str | None:
    if not config.quality.measure:
        return "quality.measure is false"
    model = config.models[name]
    return "it has one file and one cache type" if len(model.paths) * len(_cache_types(model)) < 2 else None


def without_worse(config: StudyConfig, qualities: Qualities, notify: Callable[[str], None]) -> StudyConfig:
    """Return the config without the files and cache types that are over the limit of quality, alone or together.

    Of a file and a cache type that are over the limit only together, the one is left out that is more often over it.
    """
    models, limits = dict(config.models), config.most_kl_divergence()
    for name, measured in qualities.items():
        limit = limits[name]
        there = {choice: list(dict.fromkeys(getattr(each, choice) for each in measured)) for choice in _CHOICES}
        kept = _within(measured, there, limit)
        changes = {choice: values for choice, values in kept.items() if len(values) < len(there[choice])}
        worse = [value for choice in changes for value in there[choice] if value not in kept[choice]]
        if worse:
            notify(f"{name}: not searched, KL divergence over {limit:g}: {listed(worse)}")
            space = models[name].space.model_copy(update=changes)
            models[name] = models[name].model_copy(update={"space": space})
        if _over(_among(measured, kept), limit):
            rest = ", ".join(value for choice in _CHOICES for value in kept[choice])
            notify(f"warning: {name}: every choice has a KL divergence over {limit:g}; {rest} is searched")
    return config if models == config.models else config.model_copy(update={"models": models})


def _within(measured: Sequence[QualityInfo], there: Mapping[str, Sequence[str]], limit: float) -> dict[str, list[str]]:
    """Return the values of each choice of which no combination is over the limit, and at least one value of each."""
    kept = {choice: list(values) for choice, values in there.items()}
    while True:
        left = _among(measured, kept)
        over = _over(left, limit)
        values = [(choice, value) for choice, values in kept.items() for value in values if len(values) > 1]
        if not over or not values:
            return kept

        choice, value = max(values, key=partial(_badness, left, over))
        kept[choice].remove(value)


def _badness(
    left: Sequence[QualityInfo], over: Sequence[QualityInfo], choice_and_value: tuple[str, str]
) -> tuple[float, float]:
    """Return the share of a value's combinations that are over the limit, and the largest KL divergence of these."""
    choice, value = choice_and_value
    mine = [each.kl_divergence for each in over if getattr(each, choice) == value and each.kl_divergence is not None]
    n_all = sum(getattr(each, choice) == value for each in left)
    return len(mine) / n_all, max(mine, default=0.0)


def _among(measured: Sequence[QualityInfo], kept: Mapping[str, Sequence[str]]) -> list[QualityInfo]:
    return [each for each in measured if all(getattr(each, choice) in values for choice, values in kept.items())]


def _over(measured: Sequence[QualityInfo], limit: float) -> list[QualityInfo]:
    return [each for each in measured if each.kl_divergence is not None and each.kl_divergence > limit]


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
    measured: dict[str, Any] = {"bits_per_byte": total.bits_per_byte, "is_visible": quality.is_visible}
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
