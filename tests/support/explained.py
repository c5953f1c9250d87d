"""Studies to explain: what the fake card would measure of chosen engines, the first trial being the balanced pick."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import finished_study
from compared import engine
from finalists import in_rounds
from layertune.config import Objective
from layertune.results.result import Result
from layertune.results.trials import FinishedTrial
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import measured
from layertune.trial.outcome import Measured, ModelSamples

# A pick, one layer fewer, ten fewer, and trials that change both models or more than one setting.
SPLITS = ((20, 10), (19, 10), (10, 10), (15, 8), (0, 0), (37, 10))


def pair(chat: EngineSettings, code: EngineSettings | None = None) -> SplitSettings:
    return SplitSettings.of({"chat": chat, "code": code or engine(10)})


def study(
    trials: Sequence[SplitSettings] | None = None,
    *,
    excess_bytes: float = -1.0,
    speeds: Mapping[int, Mapping[str, float]] | None = None,
    rounds: Mapping[int, Sequence[float]] | None = None,
    confirming: Mapping[int, Sequence[float]] | None = None,
    **changes: Any,
) -> Result:
    """Return a study of these trials, by default of `SPLITS`. `speeds` replace the fake card's by trial and model;
    `rounds` make finalists, whose speeds are these many times as high as in the search, round by round; `confirming`
    does the same for validation runs."""
    chosen = trials or [pair(engine(chat), engine(code)) for chat, code in SPLITS]
    finished = []
    for number, settings in enumerate(chosen):
        outcome = _at(measured(settings), (speeds or {}).get(number, {}))
        trial = FinishedTrial.of(number, settings, outcome, {"vram": excess_bytes})
        for stage, factors in (("finals", rounds), ("validation", confirming)):
            measured_again = {at: _times(outcome, each) for at, each in enumerate((factors or {}).get(number, ()))}
            trial = in_rounds(trial, stage, measured_again)
        finished.append(trial)
    objectives = [Objective("chat.tokens_per_s", "maximize"), Objective("vram.peak_bytes", "minimize")]
    made = finished_study.result(trials=finished, **{"objectives": objectives} | changes)
    return made.model_copy(update={"picks": {"balanced": 0}, "pareto": [0]})


def _at(outcome: Measured, speeds: Mapping[str, float]) -> Measured:
    reports = {
        name: replace(report, samples=_scaled(report.samples, speeds[name] / report.samples.tokens_per_s[0]))
        if name in speeds
        else report
        for name, report in outcome.models.items()
    }
    return replace(outcome, models=reports)


def _times(outcome: Measured, factor: float) -> Measured:
    reports = {
        name: replace(report, samples=_scaled(report.samples, factor)) for name, report in outcome.models.items()
    }
    return replace(outcome, models=reports)


def _scaled(samples: ModelSamples, factor: float) -> ModelSamples:
    """Return samples of a machine that is `factor` times as fast."""
    return ModelSamples(
        pp_tokens_per_s=tuple(each * factor for each in samples.pp_tokens_per_s),
        tg_tokens_per_s=tuple(each * factor for each in samples.tg_tokens_per_s),
        ttft_s=tuple(each / factor for each in samples.ttft_s),
        tokens_per_s=tuple(each * factor for each in samples.tokens_per_s),
        tokens_per_s_together=tuple(each * factor for each in samples.tokens_per_s_together),
    )
