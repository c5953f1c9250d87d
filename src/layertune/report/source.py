"""A trial and its place in result.json."""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields

from layertune.report.markup import NOT_RECORDED, Html, count, escape, join, number, pointer, rate, size
from layertune.results.qualities import shown_quality
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.settings import EngineSettings

# The settings that are always shown, in this order and with these short names. Others are shown if not the default.
_ALWAYS = {"n_gpu_layers": "ngl", "n_ctx": "c", "n_batch": "b", "n_ubatch": "ub", "n_threads": "t"}


@dataclass(frozen=True, slots=True)
class Source:
    """`at` is the trial's JSON pointer."""

    trial: TrialInfo
    at: str

    def metric(self, model: str, quantity: str) -> MetricInfo | None:
        return (self.trial.metrics or {}).get(model, {}).get(quantity)

    def searched(self, model: str, quantity: str) -> MetricInfo | None:
        """Return what the search measured, the only stage that all trials have."""
        return (self.trial.metrics_of("search") or {}).get(model, {}).get(quantity)

    def speed(self, model: str, quantity: str) -> Html:
        """Return the median, and its 95 % interval if there is one."""
        metric = self.metric(model, quantity)
        if metric is None:
            return NOT_RECORDED
        at = self.at + pointer("metrics", model, quantity)
        median = rate(metric.median, at + "/median")
        if metric.low is None or metric.high is None:
            return median
        return Html(f"{median} <small>({rate(metric.low, at + '/low')}–{rate(metric.high, at + '/high')})</small>")

    def peak(self) -> Html:
        vram = self.trial.vram
        return NOT_RECORDED if vram is None else size(vram.peak_bytes, self.at + "/vram/peak_bytes")

    def settings(self, model: str) -> Html:
        parts = [
            Html(f"{escape(short)}\xa0{setting_value(value, self.at + pointer('settings', model, field))}")
            for field, short, value in shown_settings(self.trial.settings[model])
            if field != "file"  # has a column
        ]
        return join(parts, "\xa0· ")

    def number(self) -> Html:
        """Return the trial's number, linked to its row in the table of all trials."""
        return Html(f'<a href="#trial-{self.trial.number}">{count(self.trial.number, self.at + "/number")}</a>')


def sources(result: Result) -> list[Source]:
    return [Source(trial, pointer("trials", at)) for at, trial in enumerate(result.trials)]


def chosen(result: Result, numbers: Iterable[int]) -> list[Source]:
    by_number = {source.trial.number: source for source in sources(result)}
    return [by_number[number] for number in numbers]


def measured(result: Result) -> list[Source]:
    return [source for source in sources(result) if source.trial.state == "measured"]


def distinct_picks(result: Result) -> list[tuple[str, Source]]:
    """Return each picked trial once, with the names of all its picks."""
    names: dict[int, list[str]] = {}
    for pick, picked in result.picks.items():
        names.setdefault(picked, []).append(pick)
    return [(", ".join(names[source.trial.number]), source) for source in chosen(result, names)]


def pick_names(result: Result, number: int) -> list[str]:
    return [pick for pick, picked in result.picks.items() if picked == number]


def shown_settings(engine: EngineSettings) -> Iterator[tuple[str, str, int | str]]:
    """Yield each setting's name, short name and value."""
    for field, short in _ALWAYS.items():
        yield field, short, getattr(engine, field)
    for each in fields(engine):
        value = getattr(engine, each.name)
        if each.name not in _ALWAYS and each.default is not MISSING and value != each.default:
            yield each.name, each.name, engine.written(each.name)


def speed_unit(result: Result) -> str:
    return "tokens/s EMULATED" if result.hardware.device.kind == "emulated" else "tokens/s"


def model_headings(result: Result) -> list[str]:
    """Return the columns that every table of trials has for each model."""
    unit, headings = speed_unit(result), list[str]()
    for name in result.models:
        headings += [f"{name} file"] if name in result.files else []
        shown = shown_quality(result, name)
        headings += [] if shown is None else [f"{name} {shown.name}"]
        headings += [f"{name} settings", f"{name} alone, {unit}", f"{name} together, {unit}"]
    return headings


def model_cells(result: Result, source: Source) -> list[Html]:
    cells: list[Html] = []
    for name in result.models:
        engine = source.trial.settings[name]
        cells += [escape(engine.file)] if name in result.files else []
        cells += _quality(result, name, engine)
        cells.append(source.settings(name))
        for quantity in ("tokens_per_s", "tokens_per_s_together"):
            metric = source.metric(name, quantity)  # not every trial runs all models at once
            cells.append(escape("–") if metric is None else source.speed(name, quantity))
    return cells


def _quality(result: Result, model: str, engine: EngineSettings) -> list[Html]:
    """Return the cell of the quality that is shown, none where no quality of the model is known."""
    shown, quality = shown_quality(result, model), result.quality_of(model, engine)
    if shown is None:
        return []
    value = None if quality is None else quality.value(shown.quantity)
    if quality is None or value is None:
        return [escape(shown.text(quality))]
    at = pointer("quality", model, result.quality[model].index(quality), shown.field)
    return [number(value, shown.text(quality), at)]


def setting_value(value: int | str, at: str) -> Html:
    return escape(value) if isinstance(value, str) else count(value, at)
