"""A trial beside the place that result.json has it at."""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields

from layertune.report.markup import Html, escape, join
from layertune.report.numbers import NOT_RECORDED, count, pointer, rate, rate_text, size
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MetricInfo
from layertune.settings import EngineSettings

# In what order and under which short name a setting is told; the others are told where they are not the default.
_ALWAYS = {"n_gpu_layers": "ngl", "n_ctx": "c", "n_batch": "b", "n_ubatch": "ub", "n_threads": "t"}


@dataclass(frozen=True, slots=True)
class Source:
    trial: TrialInfo
    at: str

    def metric(self, model: str, quantity: str) -> MetricInfo | None:
        return (self.trial.metrics or {}).get(model, {}).get(quantity)

    def searched(self, model: str, quantity: str) -> MetricInfo | None:
        """Return what the search itself measured: the one stage that all trials have in common."""
        return (self.trial.metrics_of("search") or {}).get(model, {}).get(quantity)

    def speed(self, model: str, quantity: str) -> Html:
        """Return a median and its 95 % interval, where it has one."""
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
            Html(f"{escape(short)}\xa0{_value(value, self.at + pointer('settings', model, field))}")
            for field, short, value in shown_settings(self.trial.settings[model])
        ]
        return join(parts, "\xa0· ")

    def number(self) -> Html:
        """Return the trial's number, as a link to all that is known of it."""
        return Html(f'<a href="#trial-{self.trial.number}">{count(self.trial.number, self.at + "/number")}</a>')


def sources(result: Result) -> list[Source]:
    return [Source(trial, pointer("trials", at)) for at, trial in enumerate(result.trials)]


def chosen(result: Result, numbers: Iterable[int]) -> list[Source]:
    by_number = {source.trial.number: source for source in sources(result)}
    return [by_number[number] for number in numbers]


def measured(result: Result) -> list[Source]:
    return [source for source in sources(result) if source.trial.state == "measured"]


def shown_settings(engine: EngineSettings) -> Iterator[tuple[str, str, int | str]]:
    """Give each setting's name, short name and value."""
    for field, short in _ALWAYS.items():
        yield field, short, getattr(engine, field)
    for each in fields(engine):
        value = getattr(engine, each.name)
        if each.name not in _ALWAYS and each.default is not MISSING and value != each.default:
            yield each.name, each.name, engine.written(each.name)


def settings_text(engine: EngineSettings) -> str:
    return " ".join(f"{short}={value}" for _, short, value in shown_settings(engine))


def speed_text(metric: MetricInfo, unit: str) -> str:
    interval = (
        "" if metric.low is None or metric.high is None else f" ({rate_text(metric.low)}–{rate_text(metric.high)})"
    )
    return f"{rate_text(metric.median)}{interval} {unit}"


def pick_names(result: Result, number: int) -> list[str]:
    return [pick for pick, picked in result.picks.items() if picked == number]


def speed_unit(result: Result) -> str:
    """Return the unit of a speed; an emulated card's says so wherever it stands."""
    return "tokens/s EMULATED" if result.hardware.device.kind == "emulated" else "tokens/s"


def _value(value: int | str, at: str) -> Html:
    return escape(value) if isinstance(value, str) else count(value, at)
