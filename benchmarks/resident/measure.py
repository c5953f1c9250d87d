"""What do weights that stay loaded save, and do the figures stay the same?

    python benchmarks/resident/measure.py [CONFIG] [--trials N] [--into benchmarks/resident]

One real search; each of its trials is measured twice, in turns: by the search's own worker, which keeps a model's
weights while its layers are the same, and by a worker that begins anew. Writes NAME.json (every trial) and NAME.md.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from layertune.config import load_config
from layertune.results.statistics import compare
from layertune.search.search import Search
from layertune.search.storage import open_journal
from layertune.search.task import Event, TrialFinished
from layertune.settings import SplitSettings
from layertune.study.search_task import task_of, trial_context
from layertune.study.study import Study, open_study
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner
from layertune.trial.runners import GiveUp, never
from layertune.units import format_duration

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Pair:
    """One setting measured by both: seconds of the whole trial, and tokens/s by model."""

    layers: str
    resident_s: float
    fresh_s: float
    resident: dict[str, float]
    fresh: dict[str, float]


class Both:
    """Runs each trial on a worker that stays, and again on a fresh one; the search sees the former."""

    def __init__(self, resident: ProcessTrialRunner, fresh: ProcessTrialRunner) -> None:
        self._resident, self._fresh = resident, fresh
        self.pairs: list[Pair] = []

    def prepare(self, settings: SplitSettings) -> None:
        self._resident.prepare(settings)
        self._fresh.prepare(settings)

    def run(self, settings: SplitSettings, effort: Effort, give_up: GiveUp = never) -> TrialOutcome:
        outcome, resident_s = timed(lambda: self._resident.run(settings, effort, give_up))
        self._fresh.close()
        again, fresh_s = timed(lambda: self._fresh.run(settings, effort, give_up))
        if isinstance(outcome, Measured) and isinstance(again, Measured):
            layers = ", ".join(f"{name} {engine.n_gpu_layers}" for name, engine in settings.items())
            self.pairs.append(Pair(layers, resident_s, fresh_s, speeds(outcome), speeds(again)))
        return outcome

    def close(self) -> None:
        self._resident.close()
        self._fresh.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/studies/demo.toml"))
    parser.add_argument("--trials", type=int, help="the config's number without it")
    parser.add_argument("--into", type=Path, default=HERE)
    options = parser.parse_args()
    config = load_config(options.config)
    search = config.search.model_copy(update={"n_trials": options.trials or config.search.n_trials})
    finals = config.finals.model_copy(update={"max_rounds": 0})
    study = open_study(config.model_copy(update={"search": search, "finals": finals}))
    pairs = measure(study)
    text = report(study, pairs)
    record = json.dumps([asdict(each) for each in pairs], indent=0)
    (options.into / f"{config.name}.json").write_text(record + "\n", encoding="utf-8")
    (options.into / f"{config.name}.md").write_text(text, encoding="utf-8")
    print(text)


def measure(study: Study) -> list[Pair]:
    context = trial_context(study)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Both(ProcessTrialRunner(context), ProcessTrialRunner(context))) as both,
    ):

        def progress(event: Event) -> None:
            if isinstance(event, TrialFinished) and both.pairs:
                print(f"{event.n_finished}: {both.pairs[-1]}", flush=True)

        Search(task_of(study), open_journal(Path(folder)), Path(folder)).run(both, progress)
        return both.pairs


def timed(run: Callable[[], TrialOutcome]) -> tuple[TrialOutcome, float]:
    started_s = perf_counter()
    outcome = run()
    return outcome, perf_counter() - started_s


def speeds(outcome: Measured) -> dict[str, float]:
    return {name: median(report.samples.tokens_per_s) for name, report in outcome.models.items()}


def report(study: Study, pairs: Sequence[Pair]) -> str:
    config, target = study.config, study.target
    resident_s, fresh_s = sum(each.resident_s for each in pairs), sum(each.fresh_s for each in pairs)
    emulated = ", EMULATED" if target.kind == "emulated" else ""
    lines = [
        f"Study {config.name} on {target.name}{emulated}: {len(pairs)} trials, each by a worker that keeps weights and"
        " by a fresh one, in turns.",
        "",
        f"- weights kept: {format_duration(resident_s)}; loaded anew: {format_duration(fresh_s)}, "
        f"{fresh_s / resident_s:.2f} times as long",
    ]
    for name in config.models:
        compared = compare(
            {number: each.resident[name] for number, each in enumerate(pairs)},
            {number: each.fresh[name] for number, each in enumerate(pairs)},
        )
        if compared is not None and compared.low is not None and compared.high is not None:
            verdict = "differs clearly" if compared.clear else "no clear difference"
            interval = f"{compared.ratio:.3f} [{compared.low:.3f}, {compared.high:.3f}]"
            lines.append(f"- {name}, tokens/s kept / anew: {interval}, {verdict}")
    lines += ["", "| layers | kept, s | anew, s |", "|---|--:|--:|"]
    lines += [f"| {each.layers} | {each.resident_s:.1f} | {each.fresh_s:.1f} |" for each in pairs]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
