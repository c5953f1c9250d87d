"""How well does a study choose, and with how many loads? Whole searches on recorded tables, whose truth is known.

    python benchmarks/choosing/simulate.py [--seeds 200] [--cards 1 2 …] [--noises 0.01 0.03 0.07] [--jobs 2]

Runs the real search with its finals and validation runs. Trials are replayed from the tables of
benchmarks/search_efficiency, with normal noise between loads of the size that is asked for, and a third of it between
repetitions. A machine that becomes slower and faster is simulated, too: each load is scaled by a random walk. Prints
Markdown, and writes choosing.md and choosing.json beside this file.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import exp, log
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import fmean, median

from optuna.storages import InMemoryStorage

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "search_efficiency"))

from race import EFFORT, Field, Race, cap_bytes, opened, task  # noqa: E402

from layertune.config.measurement import FinalsConfig  # noqa: E402
from layertune.results.statistics import compare  # noqa: E402
from layertune.results.trials import FinishedTrial  # noqa: E402
from layertune.search.schedule import Schedule  # noqa: E402
from layertune.search.search import Search  # noqa: E402
from layertune.space.baselines import baselines  # noqa: E402
from layertune.testing import ReplayRunner  # noqa: E402

NOISES = (0.01, 0.03, 0.07)

# The share of a load's noise that repetitions of one load have, and the step of the machine's random walk.
_REPEATS, _DRIFT = 1 / 3, 0.005

FIELDS = [
    Field("smollm2-gemma3", 1, 0.75, with_vram=False),
    Field("smollm2-gemma3", 1, 0.9, with_vram=False),
    Field("smollm2-gemma3", None, 0.75, with_vram=False),
    Field("gemma3-qwen05b", None, 0.5, with_vram=False),
]


@dataclass(frozen=True)
class Case:
    """One search: the card, the noise between two loads (relative), and the seed."""

    card: int
    noise: float
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What one search came to.

    Attributes:
        case: the search.
        n_trials: the search's own trials.
        n_finals: loads of the finals.
        n_validation: loads of the validation runs.
        regret: by how much the balanced pick is truly slower than the best setting there is.
        decided: whether the study says that noise could no longer change a pick.
        wrong: whether some pick is truly slower than another contender by more than the target spread.
        overstated: the claimed ratio of the pick to the best baseline over the true one, minus 1; None without a claim.
        covered: whether the claim's intervals hold the true ratios, by model; empty without a claim.
    """

    case: Case
    n_trials: int
    n_finals: int
    n_validation: int
    regret: float
    decided: bool
    wrong: bool
    overstated: float | None
    covered: tuple[bool, ...]


def simulate(case: Case) -> Outcome:
    """Run one search."""
    field = FIELDS[case.card - 1]
    table, truth = opened(field)
    runner = _runner(case)
    race = Race(field, "layer-split", planned=True, seed=case.seed, n_trials=40)
    finals = FinalsConfig()
    again = replace(
        EFFORT, min_repeats=finals.n_repeats, max_repeats=finals.n_repeats, target_spread=finals.target_spread
    )
    schedule = Schedule(
        EFFORT,
        n_rounds=finals.max_rounds,
        n_finalists=finals.max_finalists,
        n_confirming=finals.confirming_rounds,
        finals_effort=again,
    )
    capacity_bytes = cap_bytes(table, field.cap)
    rules = baselines(table.space, table.planner, capacity_bytes, capacity_bytes)
    known = {table.space.canonical(each.settings) for each in rules if each.settings is not None}
    whole = replace(task(table, race), early_stop=True, schedule=schedule, baselines=frozenset(known))
    with tempfile.TemporaryDirectory() as folder:
        search = Search(whole, InMemoryStorage(), Path(folder))
        search.run(runner, lambda _event: None)
        trials, choice = search.concluded()
    by_number = {each.number: each for each in trials}
    pick = by_number[choice.picks["balanced"]]
    compared = next((each for each in trials if each.rounds("validation") and each is not pick), None)
    n_finals, n_validation = (sum(len(each.rounds(stage)) for each in trials) for stage in ("finals", "validation"))
    again_measured = [each for each in trials if each.rounds("finals")]
    speed = {
        each.number: {name: table.true_speed(name, engine).tokens_per_s for name, engine in each.settings.items()}
        for each in trials
    }
    return Outcome(
        case,
        len(trials),
        n_finals,
        n_validation,
        1 - truth.score(pick.settings) / truth.best_score,
        choice.decided is True,
        _is_wrong(choice.picks, again_measured, speed, finals.target_spread),
        *_claim(pick, compared, speed),
    )


def _is_wrong(picks, finalists: Sequence[FinishedTrial], speed, margin: float) -> bool:
    def score(number: int, names) -> float:
        return exp(fmean(log(speed[number][name]) for name in names))

    for name, number in picks.items():
        names = [name] if name in speed[number] else list(speed[number]) if name == "balanced" else []
        if names and any(score(each.number, names) > score(number, names) * (1 + margin) for each in finalists):
            return True
    return False


def _claim(pick: FinishedTrial, baseline: FinishedTrial | None, speed) -> tuple[float | None, tuple[bool, ...]]:
    if baseline is None or not pick.rounds("validation"):
        return None, ()
    over, covered = [], []
    for name in pick.settings:
        found = compare(*(each.by_round(name, "tokens_per_s", "validation") for each in (pick, baseline)))
        true = speed[pick.number][name] / speed[baseline.number][name]
        if found is None or found.low is None or found.high is None:
            continue
        over.append(log(found.ratio / true))
        covered.append(found.low <= true <= found.high)
    return exp(fmean(over)) - 1, tuple(covered)


def _runner(case: Case) -> ReplayRunner:
    field = FIELDS[case.card - 1]
    table, _ = opened(field)
    runner = ReplayRunner(table, cap_bytes(table, field.cap), case.seed)
    generator = Random(f"{case.seed} noise")
    wander = [0.0]

    class Normal:
        def load(self, speed, given: Random):
            wander[0] += generator.gauss(0, _DRIFT)
            return _scaled(speed, wander[0] + given.gauss(0, case.noise))

        def repeat(self, speed, given: Random):
            return _scaled(speed, given.gauss(0, case.noise * _REPEATS))

    runner._noise = dict.fromkeys(table.n_layers, Normal())
    return runner


def _scaled(speed, logarithm: float):
    factor = exp(logarithm)
    return replace(
        speed, pp_tokens_per_s=speed.pp_tokens_per_s * factor, tg_tokens_per_s=speed.tg_tokens_per_s * factor
    )


def report(found):
    for card in sorted({each.case.card for each in found}):
        for noise in sorted({each.case.noise for each in found}):
            here = [each for each in found if (each.case.card, each.case.noise) == (card, noise)]
            if not here:
                continue
            q = lambda values, share: sorted(values)[min(len(values) - 1, int(share * len(values)))]
            over = [each.overstated for each in here if each.overstated is not None]
            cov = [c for each in here for c in each.covered]
            dec = [each for each in here if each.decided]
            loads = [each.n_finals + each.n_validation for each in here]
            reg = [each.regret for each in here]
            print(
                card,
                noise,
                "n",
                len(here),
                "trials",
                median(e.n_trials for e in here),
                "loads",
                median(loads),
                q(loads, 0.95),
                "regret %.4f %.4f" % (median(reg), q(reg, 0.95)),
                "decided %.2f wrong %d" % (len(dec) / len(here), sum(e.wrong for e in dec)),
                "over %.4f (%d)" % (median(over) if over else 0, len(over)),
                "cover %.3f" % (sum(cov) / max(1, len(cov))),
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--cards", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--noises", type=float, nargs="+", default=list(NOISES))
    parser.add_argument("--jobs", type=int, default=2)
    o = parser.parse_args()
    cases = [Case(c, n, s) for c in o.cards for n in o.noises for s in range(o.seeds)]
    with ProcessPoolExecutor(o.jobs, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(simulate, cases, chunksize=4))
    report(found)


if __name__ == "__main__":
    main()
