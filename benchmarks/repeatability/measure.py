"""Do the figures that a search claims survive being measured again?

    python benchmarks/repeatability/measure.py [CONFIG] [--n 5] [--into benchmarks/repeatability] [--render]
    python benchmarks/repeatability/measure.py --study FOLDER --into FOLDER [--rounds 12]

Runs the search N times, with another seed each time. After each, the balanced pick and what choosing by the best single
trial would have picked are measured again, in fresh workers, in turns. The claimed tokens/s are compared with these.
What is claimed of the pick is of its validation runs. Its reference, the baseline that had the same validation runs, is
measured again, too: by how much it is off shows how much the machine itself changed until then, so the sheet has the
overstatement as claimed, and without that change. With --study a search that was made on this machine is measured
again, and none is run. Writes repeatability.json (every sample), searches.json (what each search printed, and when) and
repeatability.md; --render only writes the latter. On the demo's emulated card the speeds are this CPU's.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean, median, stdev

from layertune.config import load_config
from layertune.devices.target import find_target
from layertune.results.picks import Candidate, choose
from layertune.results.result import Result, TrialInfo, read_result
from layertune.results.statistics import Comparison, Metric, compare
from layertune.results.trial_info import MeasuredIn
from layertune.settings import SplitSettings
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext

sys.path.append(str(Path(__file__).parent.parent / "time_to_answer"))

from timed_search import Line, TimedSearch, time_left_words, timed_search

HERE = Path(__file__).parent
N_ROUNDS = 12
REFERENCE, CONFIRMED = "reference", "validation runs"
EFFORT = Effort(min_repeats=3, max_repeats=3, target_spread=0.01, warm_up_s=0.5, repeat_together=False)


@dataclass(frozen=True)
class Claim:
    """What one search claims of one model's tokens/s, and what the same settings gave afterwards."""

    run: int
    chosen_by: str
    trial: int
    model: str
    layers: str
    claimed: float
    rounds: list[list[float]]

    @property
    def measured(self) -> Metric:
        return Metric.of_rounds(self.rounds)

    @property
    def overstated(self) -> float:
        return self.claimed / self.measured.median - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/studies/demo.toml"))
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--study", type=Path, help="measure again what this study claims")
    parser.add_argument("--rounds", type=int, default=N_ROUNDS, help="how often each is measured again")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--render", action="store_true", help="measure nothing, render what was measured")
    options = parser.parse_args()
    if options.study is not None and options.into == HERE:
        parser.error("--study needs --into: the sheet here is of five searches")
    if options.rounds < 2:
        parser.error("a spread needs two rounds at least")
    config = options.config if options.study is None else options.study / "study.toml"
    if options.render:
        data = json.loads((options.into / "repeatability.json").read_text(encoding="utf-8"))
        write(options.into, config, [Claim(**each) for each in data], searches_in(options.into))
        return
    options.into.mkdir(parents=True, exist_ok=True)
    if options.study is not None:
        write(options.into, config, claims_of(0, read_result(options.study), config, options.rounds), [])
        return
    claims: list[Claim] = []
    searches: list[TimedSearch] = []
    for run in range(options.n):
        with tempfile.TemporaryDirectory() as folder:
            searches.append(timed_search(config, Path(folder) / "study", "--seed", str(run)))
            result = read_result(Path(folder) / "study")
        claims += claims_of(run, result, config, options.rounds)
        write(options.into, config, claims, searches)


def searches_in(folder: Path) -> list[TimedSearch]:
    if not (folder / "searches.json").exists():
        return []
    data = json.loads((folder / "searches.json").read_text(encoding="utf-8"))
    return [TimedSearch(**each | {"lines": [Line(**line) for line in each["lines"]]}) for each in data]


def claims_of(run: int, result: Result, config_path: Path, n_rounds: int) -> list[Claim]:
    """Measure the picks of a search again."""
    chosen: dict[str, tuple[TrialInfo, MeasuredIn]] = {
        CONFIRMED: (result.picked("balanced"), "confirming"),
        "best single trial": (best_single_trial(result), "search"),
    }
    if (reference := validated_baseline(result)) is not None:
        chosen[REFERENCE] = reference, "confirming"
    if chosen[CONFIRMED][0].last_measured_in() != "confirming":
        raise SystemExit(f"run {run}: the pick was not confirmed; give the search more time")
    again = measure_again(config_path, run, [trial for trial, _ in chosen.values()], n_rounds)
    return [
        Claim(run, chosen_by, trial.number, model, layers_of(trial), claimed(trial, model, measured_in), rounds)
        for chosen_by, (trial, measured_in) in chosen.items()
        for model, rounds in again[trial.number].items()
    ]


def best_single_trial(result: Result) -> TrialInfo:
    """Return the balanced pick among the figures of the search itself, as if there had been no finals."""
    feasible = [trial for trial in result.trials if trial.state == "measured" and not trial.exceeded()]
    candidates = [
        Candidate(trial.number, {model: claimed(trial, model, "search") for model in result.models}, 0)
        for trial in feasible
    ]
    return result.trial(choose(candidates)["balanced"])


def validated_baseline(result: Result) -> TrialInfo | None:
    """Return the baseline that had the pick's validation runs, too."""
    validated = [trial for trial in result.trials if trial.n_confirming > 0]
    return next((trial for trial in validated if trial.number != result.picks["balanced"]), None)


def claimed(trial: TrialInfo, model: str, measured_in: MeasuredIn) -> float:
    return (trial.metrics_of(measured_in) or {})[model]["tokens_per_s"].median


def layers_of(trial: TrialInfo) -> str:
    return ", ".join(f"{name} {engine.n_gpu_layers}" for name, engine in trial.settings.items())


def measure_again(
    config_path: Path, run: int, trials: Sequence[TrialInfo], n_rounds: int
) -> dict[int, dict[str, list[list[float]]]]:
    """Return the samples of each trial's models, round by round, each measured by a fresh worker."""
    config = load_config(config_path)
    context = TrialContext(
        target=find_target(config.resolved_device(), config.emulated.n_threads),
        paths={name: str(model.path) for name, model in config.models.items()},
        workloads={name: (each.workload.n_prompt, each.workload.n_generate) for name, each in config.models.items()},
        seed=1000 + run,
        trial_timeout_s=config.search.trial_timeout,
    )
    found: dict[int, dict[str, list[list[float]]]] = {}
    with closing(ProcessTrialRunner(context)) as runner:
        for n_round in range(n_rounds):
            different = {trial.number: trial for trial in trials}
            for trial in list(different.values())[:: 1 if n_round % 2 == 0 else -1]:
                runner.close()
                outcome = runner.run(SplitSettings.of(trial.settings), EFFORT)
                if not isinstance(outcome, Measured):
                    raise SystemExit(f"trial {trial.number} of run {run} was not measured again: {outcome}")
                for model, report in outcome.models.items():
                    rounds = found.setdefault(trial.number, {}).setdefault(model, [])
                    rounds.append(list(report.samples.tokens_per_s))
    return found


def write(into: Path, config_path: Path, claims: Sequence[Claim], searches: Sequence[TimedSearch]) -> None:
    timed = json.dumps([asdict(each) for each in searches], indent=0)
    (into / "searches.json").write_text(f"{timed}\n", encoding="utf-8")
    data = [asdict(claim) for claim in claims]
    (into / "repeatability.json").write_text(json.dumps(data, indent=0) + "\n", encoding="utf-8")
    text = report(config_path, claims, searches)
    (into / "repeatability.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


def report(config_path: Path, claims: Sequence[Claim], searches: Sequence[TimedSearch]) -> str:
    device = load_config(config_path).device
    lines = [
        f"{config_path.as_posix()}, {device}" + ("; EMULATED, the speeds are a CPU's" if "emulated" in device else ""),
        "",
        "| run | chosen by | trial | layers | model | claimed tokens/s | measured again | overstated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in claims:
        metric = each.measured
        interval = f"{metric.median:.2f} ({metric.low or 0:.2f} to {metric.high or 0:.2f})"
        lines.append(
            f"| {each.run + 1} | {each.chosen_by} | {each.trial} | {each.layers} | {each.model} | {each.claimed:.2f} | "
            f"{interval} | {each.overstated:+.1%} |"
        )
    references = [each for each in claims if each.chosen_by == REFERENCE]
    slower = {run: slowed(run, claims) for run in dict.fromkeys(each.run for each in references)}
    lines += [
        "",
        f"- one setting's rounds, in turns with the others', scattered by {scatter(claims)} (standard deviation)",
    ]
    if references:
        ratios = ", ".join(f"{ratio - 1:+.1%}" for ratio in slower.values())
        lines.append(f"- the machine itself, by the reference: {ratios}")
    for chosen_by in dict.fromkeys(each.chosen_by for each in claims if each.chosen_by != REFERENCE):
        chosen = [each for each in claims if each.chosen_by == chosen_by]
        lines.append(f"- chosen by {chosen_by}: {spread([each.overstated for each in chosen])}")
        if references and chosen_by == CONFIRMED:  # the reference's figures are of the same rounds
            unchanged = [(1 + each.overstated) / slower[each.run] - 1 for each in chosen if each.run in slower]
            lines.append(f"  - with the machine's own change taken out: {spread(unchanged)}")
        if references:
            models = dict.fromkeys(each.model for each in chosen)
            lines += [agreement(model, chosen, references) for model in models]
    if searches:
        lines.append(f"- a search took {', '.join(f'{each.end_s:.0f} s' for each in searches)}")
        lines += [f"- {each}" for each in time_left_words(searches)]
    return "\n".join(lines) + "\n"


def slowed(run: int, claims: Sequence[Claim]) -> float:
    """Return by what factor the reference was faster in a run's confirming rounds than in the measurement after it."""
    return geometric_mean(1 + each.overstated for each in claims if (each.run, each.chosen_by) == (run, REFERENCE))


def scatter(claims: Sequence[Claim]) -> str:
    """Return the least and the most that the speeds of one setting's rounds of fresh workers scattered."""
    speeds = [list(by_round(each).values()) for each in claims]
    shares = [stdev(each) / median(each) for each in speeds]
    return f"{min(shares):.0%} to {max(shares):.0%}"


def spread(overstated: Sequence[float]) -> str:
    return f"median {median(overstated):+.1%}, from {min(overstated):+.1%} to {max(overstated):+.1%}"


def agreement(model: str, chosen: Sequence[Claim], references: Sequence[Claim]) -> str:
    """Say whether the intervals of one model's speed, measured again after each run, have a value in common: as it was
    measured, and as a multiple of the reference's speed in the same rounds."""
    of_run = {each.run: each for each in references if each.model == model}
    mine = [each for each in chosen if each.model == model and each.run in of_run]
    metrics = [each.measured for each in mine]
    compared = [compare(by_round(each), by_round(of_run[each.run])) for each in mine]
    return (
        f"  - {model}: the intervals of the {len(mine)} picks measured again {common(metrics, 'tokens/s')}; "
        f"as multiples of the reference they {common([each for each in compared if each is not None], 'times')}"
    )


def by_round(claim: Claim) -> dict[int, float]:
    return {number: median(samples) for number, samples in enumerate(claim.rounds)}


def common(intervals: Sequence[Metric | Comparison], unit: str) -> str:
    low = max(each.low or 0.0 for each in intervals)
    high = min(each.high or 0.0 for each in intervals)
    return f"share {low:.3g} to {high:.3g} {unit}" if low <= high else "do not all overlap"


if __name__ == "__main__":
    main()
