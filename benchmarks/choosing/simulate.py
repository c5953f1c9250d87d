"""How well does a study choose, and with how many loads? Whole searches on recorded tables, whose truth is known.

    python benchmarks/choosing/simulate.py [--seeds 200] [--cards 1 2 …] [--noises 0.01 0.03 0.07] [--max-rounds 6]

Runs the real search with its finals and validation runs. Trials are replayed from the tables of
benchmarks/search_efficiency, with normal noise between loads of the size that is asked for, and a third of it between
repetitions. A machine that becomes slower and faster is simulated, too: each load is scaled by a random walk. Prints
Markdown, and writes choosing.md and choosing.json next to this file.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import exp, log
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import fmean, median

from optuna.storages import InMemoryStorage

from layertune.config.measurement import FinalsConfig
from layertune.results.picks import contested
from layertune.results.statistics import compare
from layertune.results.trials import FinishedTrial
from layertune.search.schedule import Schedule
from layertune.search.search import Search
from layertune.search.task import Event, TrialFinished
from layertune.search.time_left import loads_of_finals
from layertune.space.baselines import baselines
from layertune.testing import ReplayRunner
from layertune.testing.recorded_table import Speed

sys.path.append(str(Path(__file__).resolve().parent.parent / "search_efficiency"))

from race import EFFORT, Field, Race, cap_bytes, opened, task

HERE = Path(__file__).resolve().parent
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
    """One search: the card, the noise between two loads (relative), the seed, and the finals' rounds at most."""

    card: int
    noise: float
    seed: int
    max_rounds: int


@dataclass(frozen=True)
class Outcome:
    """What one search came to.

    Attributes:
        case: the search.
        n_trials: the search's own trials.
        n_finals: loads of the finals.
        n_validation: loads of the validation runs.
        n_contenders: settings in the first round of the finals.
        search_noise: the relative noise of a measurement, as the search knew it before the finals.
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
    n_contenders: int
    search_noise: float
    regret: float
    decided: bool
    wrong: bool
    overstated: float | None
    covered: tuple[bool, ...]


def simulate(case: Case) -> Outcome:
    """Run one search."""
    field = FIELDS[case.card - 1]
    table, truth = opened(field)
    runner = ReplayRunner(table, cap_bytes(table, field.cap), case.seed)
    runner.use_noise(SimulatedNoise(case.noise, case.seed))
    race = Race(field, "layer-split", planned=True, seed=case.seed, n_trials=40)
    finals = FinalsConfig()
    again = replace(
        EFFORT, min_repeats=finals.n_repeats, max_repeats=finals.n_repeats, target_spread=finals.target_spread
    )
    schedule = Schedule(
        EFFORT,
        n_rounds=case.max_rounds,
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
        events: list[Event] = []
        search.run(runner, events.append)
        trials, choice = search.concluded()
    ended = [each for each in events if isinstance(each, TrialFinished)]
    by_number = {each.number: each for each in trials}
    pick = by_number[choice.picks["balanced"]]
    compared = next((each for each in trials if each.rounds("validation") and each is not pick), None)
    n_finals, n_validation = (sum(len(each.rounds(stage)) for each in trials) for stage in ("finals", "validation"))
    again_measured = [each for each in trials if each.rounds("finals")]
    true = {
        each.number: {name: table.true_speed(name, engine).tokens_per_s for name, engine in each.settings.items()}
        for each in trials
    }
    return Outcome(
        case,
        len(trials),
        n_finals,
        n_validation,
        ended[-1].n_contenders,
        ended[-1].noise,
        1 - truth.score(pick.settings) / truth.best_score,
        choice.decided is True,
        _is_wrong(choice.picks, again_measured, true, finals.target_spread),
        *_claim(pick, compared, true),
    )


def _is_wrong(
    picks: Mapping[str, int], finalists: Sequence[FinishedTrial], true: Mapping[int, Mapping[str, float]], margin: float
) -> bool:
    """Return whether a contested pick is truly slower than another contender by more than the margin."""
    for pick, weights in contested(next(iter(true.values()))).items():
        scores = {number: fmean(log(speeds[name]) for name in weights) for number, speeds in true.items()}
        best = max((scores[each.number] for each in finalists), default=scores[picks[pick]])
        if best > scores[picks[pick]] + log(1 + margin):
            return True
    return False


def _claim(
    pick: FinishedTrial, baseline: FinishedTrial | None, true: Mapping[int, Mapping[str, float]]
) -> tuple[float | None, tuple[bool, ...]]:
    """Return by how much the claim overstates the gain, and whether each model's interval holds the true ratio."""
    if baseline is None or not pick.rounds("validation"):
        return None, ()
    over, covered = [], []
    for name in pick.settings:
        found = compare(*(each.by_round(name, "tokens_per_s", "validation") for each in (pick, baseline)))
        ratio = true[pick.number][name] / true[baseline.number][name]
        if found is not None and found.low is not None and found.high is not None:
            over.append(log(found.ratio / ratio))
            covered.append(found.low <= ratio <= found.high)
    return (exp(fmean(over)) - 1, tuple(covered)) if over else (None, ())


class SimulatedNoise:
    """Normal noise between loads and repetitions, on a machine whose speed wanders from load to load."""

    def __init__(self, size: float, seed: int) -> None:
        self._size = size
        self._generator = Random(f"{seed} drift")
        self._wander = 0.0

    def load(self, speed: Speed, generator: Random) -> Speed:
        """Return what a model of this true speed does after one load."""
        self._wander += self._generator.gauss(0, _DRIFT)
        return _scaled(speed, self._wander + generator.gauss(0, self._size))

    def repeat(self, speed: Speed, generator: Random) -> Speed:
        """Return one repetition of a loaded model."""
        return _scaled(speed, generator.gauss(0, self._size * _REPEATS))


def _scaled(speed: Speed, logarithm: float) -> Speed:
    factor = exp(logarithm)
    return replace(
        speed, pp_tokens_per_s=speed.pp_tokens_per_s * factor, tg_tokens_per_s=speed.tg_tokens_per_s * factor
    )


def report(found: Sequence[Outcome]) -> str:
    """Return the Markdown."""
    n_seeds = len({each.case.seed for each in found})
    lines = [
        f"{n_seeds} searches for each line, EMULATED (replayed from recorded tables). Noise is between two loads",
        "of one setting. Loads are those of the finals and validation runs: median, 95th percentile in brackets.",
        "Each is the mean of the finals' loads for each contender of the first round, and what the time left expects.",
        "Regret is how much slower the balanced pick truly is than the best setting there is: median, 95th percentile.",
        "Decided is how many studies are called so; wrong, in how many of these a pick is truly more than the target",
        "spread slower than another contender. Overstated is the median of the claimed gain over the true one; covered",
        "is the share of the claims' 95 % intervals that hold the true ratio.",
        "",
        "| card | noise | trials | loads | each | regret | decided | wrong | overstated | covered |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    noises = sorted({each.case.noise for each in found})
    for card in sorted({each.case.card for each in found}):
        lines += [
            _line(_name(FIELDS[card - 1]), [each for each in _with(noise, found) if each.case.card == card])
            for noise in noises
        ]
    lines += [_line("all", _with(noise, found)) for noise in noises]
    return "\n".join(lines) + "\n"


def _with(noise: float, found: Sequence[Outcome]) -> list[Outcome]:
    return [each for each in found if each.case.noise == noise]


def _name(field: Field) -> str:
    return f"{field.table}, {field.cap:.0%}{f', {field.n_threads} thread' if field.n_threads else ''}"


def _line(name: str, here: Sequence[Outcome]) -> str:
    loads = [each.n_finals + each.n_validation for each in here]
    regrets = [each.regret for each in here]
    decided = [each for each in here if each.decided]
    over = [each.overstated for each in here if each.overstated is not None]
    covered = [each for outcome in here for each in outcome.covered]
    cells = (
        name,
        f"{here[0].case.noise:.0%}",
        f"{median(each.n_trials for each in here):g}",
        f"{median(loads):g} ({_percentile(loads):g})",
        _each(here),
        f"{median(regrets):.1%}, {_percentile(regrets):.1%}",
        f"{len(decided)}",
        f"{sum(each.wrong for each in decided)}",
        f"{median(over):+.1%}" if over else "–",
        f"{fmean(covered):.1%} of {len(covered)}" if covered else "–",
    )
    return f"| {' | '.join(cells)} |"


def _each(here: Sequence[Outcome]) -> str:
    """Return the loads for each contender in the finals: the mean, and the mean of what was expected."""
    held = [each for each in here if each.n_finals > 0]
    if not held:
        return "–"
    n_contenders = sum(each.n_contenders for each in held)
    schedule = Schedule(EFFORT, n_rounds=held[0].case.max_rounds)
    expected = sum(loads_of_finals(schedule, each.n_contenders, each.search_noise) for each in held)
    return f"{sum(each.n_finals for each in held) / n_contenders:.1f}, {expected / n_contenders:.1f}"


def _percentile(values: Sequence[float], share: float = 0.95) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--cards", type=int, nargs="+", choices=range(1, len(FIELDS) + 1), default=[1, 2, 3, 4])
    parser.add_argument("--noises", type=float, nargs="+", default=list(NOISES))
    parser.add_argument("--max-rounds", type=int, default=FinalsConfig().max_rounds)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--into", type=Path, default=HERE)
    options = parser.parse_args()
    cases = [
        Case(card, noise, seed, options.max_rounds)
        for card in options.cards
        for noise in options.noises
        for seed in range(options.seeds)
    ]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(simulate, cases, chunksize=4))
    print(report(found))
    (options.into / "choosing.md").write_text(report(found), encoding="utf-8")
    lines = ",\n".join(json.dumps(asdict(each)) for each in found)
    (options.into / "choosing.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
