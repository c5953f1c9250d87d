"""Who wins a search was lucky, too: the finals claim for their pick what it really does.

The fastest of several noisy figures is an overestimate of the fastest setting (Smith and Winkler, The Optimizer's
Curse, Management Science 52, 2006).
"""

from statistics import mean

import optuna
import pytest

from finalists import CHAT, VRAM
from layertune.config import Objective
from layertune.results.picks import candidates, choose
from layertune.results.ties import without_ties
from layertune.results.trials import FinishedTrial, front
from layertune.search.constraints import Limits
from layertune.search.finals import Finals, finalists
from layertune.search.study_record import StudyRecord, with_rounds
from layertune.settings import EngineSettings, SplitSettings
from layertune.testing import FakeRunner
from layertune.testing.fakes import Noise, true_tokens_per_s
from layertune.trial.effort import Effort
from small_study import quiet, with_finals

OBJECTIVES: tuple[Objective, ...] = (CHAT, VRAM)
LIMITS = Limits((), 0, None, n_processes=1, file_bytes={"chat": 0})
N_STUDIES = 40


def settings(n_gpu_layers: int, n_batch: int) -> SplitSettings:
    engine = EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=n_batch, n_ubatch=64, n_threads=1)
    return SplitSettings.of({"chat": engine})


# True speeds from 26.06 to 27.75 tokens/s: most differ by less than the noise.
SPACE = [settings(n_gpu_layers, n_batch) for n_gpu_layers in (16, 17) for n_batch in (64, 128, 256, 384, 512, 768)]


def searched(runner: FakeRunner) -> list[FinishedTrial]:
    effort = Effort(3, 3, 0.02)
    outcomes = [runner.run(each, effort) for each in SPACE]
    return [
        FinishedTrial(number, SPACE[number], outcome, LIMITS.violations(outcome))
        for number, outcome in enumerate(outcomes)
    ]


def after_finals(trials: list[FinishedTrial], runner: FakeRunner) -> list[FinishedTrial]:
    record = StudyRecord(optuna.create_study())
    chosen = finalists(trials, OBJECTIVES, (), 8)
    Finals(with_finals(6), record, len(trials), seed=1).hold(chosen, runner, quiet, lambda: False)
    rounds = record.rounds(len(trials))
    return [with_rounds(trial, rounds.get(trial.number, {}), LIMITS) for trial in trials]


def claimed(trials: list[FinishedTrial]) -> float:
    """Return how many times its true speed the balanced pick is said to have."""
    kept, _ = without_ties(front(trials, OBJECTIVES), OBJECTIVES)
    pick = trials[choose(candidates(kept))["balanced"]]
    metric = pick.metric("chat", "tokens_per_s")
    assert metric is not None
    return metric.median / true_tokens_per_s(pick.settings, "chat")


@pytest.mark.parametrize("spread", [0.02, 0.05])
def test_what_the_finals_claim_for_their_pick_is_much_nearer_to_the_truth_than_the_searchs_best_figure(
    spread: float,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by_search, by_finals = [], []
    for seed in range(N_STUDIES):
        runner = FakeRunner(noise=Noise(load=spread, repeat=0.005, seed=seed))
        trials = searched(runner)
        by_search.append(claimed(trials) - 1)
        by_finals.append(claimed(after_finals(trials, runner)) - 1)
    assert mean(by_search) > 0.7 * spread
    assert abs(mean(by_finals)) < mean(by_search) / 2  # not 0: the finals' own best was lucky in them
