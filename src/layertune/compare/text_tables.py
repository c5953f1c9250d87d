"""The tables and sentences of `layertune compare`, as text without any formatting."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace

from layertune.compare.cost import Cost, ModelCost
from layertune.compare.studies import PairComparison, StudyComparison
from layertune.compare.study_summary import ModelPick, Pick, PickedQuality, Speed, StudySummary
from layertune.results.qualities import SHOWN_QUALITIES
from layertune.results.trial_info import MeasuredIn
from layertune.settings import EngineSettings
from layertune.tables import Table
from layertune.units import format_bytes

_NONE = "–"
# The settings that a pick's column always shows; others only if they are not the default.
_SHOWN = {"n_gpu_layers": "layers", "n_ctx": "-c", "n_batch": "-b", "n_ubatch": "-ub", "n_threads": "-t"}
_STAGES: dict[MeasuredIn, str] = {
    "search": "the search's speeds",
    "finals": "the finals' speeds",
    "confirming": "the speeds of the validation runs",
}
_DEFAULTS = {field.name: field.default for field in fields(EngineSettings)}


def study_table(compared: StudyComparison) -> Table:
    """Return one row per study: its device, its budget and its front."""
    table = _table("Studies", ("study", "device", "memory", "budget", "speeds", "front", "hypervolume"))
    table.rows.extend(
        (
            each.label,
            f"{each.device}{' (EMULATED)' if each.emulated else ''}",
            _bytes(each.vram_bytes),
            _bytes(each.capacity_bytes),
            _speeds(each),
            f"{each.n_front} PREDICTED" if each.predicted else f"{each.n_front} of {each.n_measured} measured",
            _share(compared.hypervolumes.get(each.label)),
        )
        for each in compared.studies
    )
    return table


def pick_table(compared: StudyComparison, pick: str) -> Table:
    """Return one row per study: the settings, speeds and memory of this pick."""
    models = [name for study in compared.studies for each in study.picks.values() for name in each.models]
    names = tuple(dict.fromkeys(models))
    heads = [head for name in names for head in (name, f"{name} tokens/s alone", "together")]
    with_files = {name for study in compared.studies for name in names if _has_files(study, name)}
    table = _table(f"Pick: {pick}", ("study", "trial", *heads, "peak VRAM"))
    table.rows.extend(_pick_row(study, study.picks.get(pick), names, with_files) for study in compared.studies)
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title)
    for heading in headings:
        table.column(heading, wraps=True)
    return table


def text_tables(compared: StudyComparison) -> list[Table]:
    picks = dict.fromkeys(name for study in compared.studies for name in study.picks)
    return [study_table(compared), *(pick_table(compared, pick) for pick in picks)]


def remarks(compared: StudyComparison) -> list[str]:
    """Return the notes that apply to all tables."""
    found = []
    if compared.reference is not None:
        parts = [
            f"{name} {_figure(name, worst)} to {_figure(name, best)}"
            for name, worst, best in zip(
                compared.reference.objectives, compared.reference.worst, compared.reference.best, strict=True
            )
        ]
        found.append(f"Hypervolume: share of the box between the worst and the best value of {', '.join(parts)}.")
    else:
        found.append("No hypervolume: the studies have no objectives, or no front, in common.")
    found.append("± is the 95 % interval of the median.")
    if any(study.emulated for study in compared.studies):
        found.append("EMULATED: bytes are exact; speeds are of the processor that emulated the card, not of a GPU.")
    if any(study.predicted for study in compared.studies):
        found.append(
            "PREDICTED: computed by layertune predict from another card's trials, not measured; ± is half the "
            "predicted interval. Predictions have no hypervolume and are not compared in sentences."
        )
    if any(study.screening_only for study in compared.studies):
        found.append(
            "SCREENING ONLY: without finals the speeds were measured once, so those of the picks are biased upwards."
        )
    return found


def pair_lines(pair: PairComparison) -> Iterator[str]:
    """Yield the comparison of one study with the first, as sentences."""
    if pair.hardware:
        changes = "; ".join(f"{each.what} {each.first} → {each.other}" for each in pair.hardware)
        yield f"Hardware differs: {changes}."
    else:
        yield "Same hardware and same llama.cpp."
    shared = pair.overlap
    threads = "" if shared.threads_count else ", threads ignored since the numbers of cores differ"
    yield (
        f"Fronts share {shared.n_shared} settings: {_part(shared.n_shared, shared.n_first)} of {pair.first}'s, "
        f"{_part(shared.n_shared, shared.n_other)} of {pair.other}'s{threads}."
    )
    if pair.flips.knobs:
        knobs = "; ".join(f"{each.model} {each.knob} {each.first} → {each.other}" for each in pair.flips.knobs)
        yield f"Balanced pick: {knobs}."
    yield f"Why ({pair.flips.why}): {pair.flips.reason}."
    if pair.cost is not None:
        yield cost_line(pair.cost)


def cost_line(cost: Cost) -> str:
    parts = ", ".join(f"{model} {_percent(each)}" for model, each in cost.models.items())
    whose = "with an equal budget" if cost.equal_budgets else "under the smaller budget"
    return f"{cost.smaller} compared with {cost.larger}, {whose}, by {_STAGES[cost.measured_in]}: {parts}."


def _has_files(study: StudySummary, name: str) -> bool:
    return any(pick.models[name].settings.file for pick in study.picks.values() if name in pick.models)


def _pick_row(
    study: StudySummary, pick: Pick | None, names: Sequence[str], with_files: Collection[str]
) -> tuple[str, ...]:
    label = f"{study.label} (PREDICTED)" if study.predicted else study.label
    if pick is None:
        return (label, *[_NONE] * (1 + 3 * len(names)), _NONE)
    cells = [label, _NONE if pick.trial is None else str(pick.trial)]
    for name in names:
        model = pick.models[name]
        cells += [_settings(model, with_file=name in with_files), speed_words(model.alone), speed_words(model.together)]
    return (*cells, f"{_bytes(pick.planned_bytes)} planned" if study.predicted else _bytes(pick.peak_bytes))


def _settings(model: ModelPick, *, with_file: bool) -> str:
    """Return the settings of `_SHOWN`, the others that are not the default, and what is known of quality."""
    engine = replace(model.settings, file=model.file if with_file else "")
    shown = [f"{words} {getattr(engine, name)}" for name, words in _SHOWN.items()]
    others = [name for name in _DEFAULTS if name not in _SHOWN and getattr(engine, name) != _DEFAULTS[name]]
    quality = [] if model.quality is None else [quality_words(model.quality)]
    return " ".join([*shown, *(f"{name} {engine.written(name)}" for name in others), *quality])


def quality_words(quality: PickedQuality) -> str:
    shown = next(each for each in SHOWN_QUALITIES if each.quantity == quality.quantity)
    return f"{shown.name} {shown.value_text(quality.value)}"


def _percent(cost: ModelCost) -> str:
    if cost.low is None or cost.high is None:
        return f"{cost.percent:+.1f} % (no interval)"
    unclear = "" if cost.clear else ", no clear difference"
    return f"{cost.percent:+.1f} % ({cost.low:+.1f} to {cost.high:+.1f} %{unclear})"


def _speeds(study: StudySummary) -> str:
    if study.predicted:
        return "PREDICTED"
    if study.screening_only:
        return "SCREENING ONLY"
    return "validation runs" if study.confirmed else "finals"


def speed_words(speed: Speed | None) -> str:
    if speed is None:
        return _NONE
    if speed.low is None or speed.high is None:
        return f"{speed.tokens_per_s:.1f}"
    return f"{speed.tokens_per_s:.1f} ±{(speed.high - speed.low) / 2:.1f}"


def _figure(objective: str, value: float) -> str:
    return format_bytes(round(value)) if objective.endswith("_bytes") else f"{value:.4g}"


def _bytes(size_bytes: int | None) -> str:
    return _NONE if size_bytes is None else format_bytes(size_bytes)


def _share(volume: float | None) -> str:
    return _NONE if volume is None else f"{volume:.1%}"


def _part(n_shared: int, n_all: int) -> str:
    return f"{n_shared / n_all:.0%}" if n_all else "none"
