"""Trials with chosen figures, of one or more models: speeds in tokens/s by model, memory in MiB."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from layertune.config import Objective
from layertune.results.trials import FinishedTrial, Measurement, RoundStage
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.outcome import Measured, ModelReport, ModelSamples, TrialOutcome
from layertune.units import MIB
from layertune.vram.vram_report import Scope, VramReport

# Speeds in tokens/s of one model, by the number of the round.
Rounds = Mapping[int, float]

CHAT, CODE = Objective("chat.tokens_per_s", "maximize"), Objective("code.tokens_per_s", "maximize")
VRAM = Objective("vram.peak_bytes", "minimize")


def split(n_gpu_layers: int, *names: str) -> SplitSettings:
    engine = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=256, n_ubatch=256, n_threads=1)
    return SplitSettings.of(dict.fromkeys(names, engine))


def outcome(speeds: Mapping[str, Sequence[float]], peak_mib: float = 0, scope: Scope = "card") -> Measured:
    reports = {}
    for name, alone in speeds.items():
        together = tuple(speed / 2 for speed in alone)
        samples = ModelSamples(tuple(alone), tuple(alone), tuple(1 / each for each in alone), tuple(alone), together)
        reports[name] = ModelReport(samples, {}, load_s=0.1, flash_attn=None)
    return Measured(reports, VramReport(round(peak_mib * MIB), 0, scope, "ledger"), peak_rss_bytes=1, duration_s=1.0)


def trial(
    number: int, speeds: Mapping[str, Sequence[float]], peak_mib: float = 0, *, excess: float = -1.0
) -> FinishedTrial:
    """Return a trial that was measured once."""
    return FinishedTrial.of(number, split(number, *speeds), outcome(speeds, peak_mib), {"vram": excess})


def finalist(
    number: int, peak_mib: float = 0, *, scope: Scope = "card", excess: float = -1.0, **speeds: Rounds
) -> FinishedTrial:
    """Return a trial that was measured again in rounds, and whose first figures were three times as good."""
    first = outcome(
        {name: [3 * speed for speed in rounds.values()] for name, rounds in speeds.items()}, peak_mib, scope
    )
    numbers = next(iter(speeds.values()), {})
    rounds = {
        n_round: outcome({name: [each[n_round]] for name, each in speeds.items()}, peak_mib, scope)
        for n_round in numbers
    }
    return in_rounds(FinishedTrial.of(number, split(number, *speeds), first, {"vram": excess}), "finals", rounds)


def in_rounds(trial: FinishedTrial, stage: RoundStage, rounds: Mapping[int, TrialOutcome]) -> FinishedTrial:
    """Return the trial with these rounds of a stage, in the place of those that it has."""
    others = tuple(each for each in trial.measurements if each.stage != stage)
    made = tuple(Measurement(stage, *each) for each in rounds.items())
    return replace(trial, measurements=(*others, *made))


def searched(trial: FinishedTrial, outcome: TrialOutcome) -> FinishedTrial:
    """Return the trial with another outcome in the search."""
    first, *others = trial.measurements
    return replace(trial, measurements=(replace(first, outcome=outcome), *others))


def outcomes(trial: FinishedTrial, stage: RoundStage = "finals") -> dict[int, Measured]:
    """Return what was measured in the rounds of a stage."""
    return {each.number: measured for each, measured in trial.rounds(stage).items()}


def rounds(*speeds: float) -> dict[int, float]:
    """Return speeds of rounds counted from 0."""
    return dict(enumerate(speeds))
