"""Does llama-server reach the tokens/s that a study reports? The pick of a study, measured as a trial and served.

    make search tools
    python benchmarks/served/measure.py STUDY [--turns 4]

In each turn a trial measures the pick in a fresh worker, and then `layertune verify` starts llama-server with the
exported settings and sends requests to one model at a time. The ratio is that of the two in one turn, so a machine that
becomes slower changes it little. Next to it is the ratio to the decode-only rate, which is what studies reported before
they timed the samplers, and the milliseconds that a request takes longer through the server: HTTP, JSON and text.

Writes served.json and served.md next to this file. Speeds of an emulated card or a CPU are this machine's.
"""

import argparse
import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from layertune import open_study
from layertune.results.result import TrialInfo
from layertune.settings import SplitSettings
from layertune.study.search_task import schedule_of, trial_context
from layertune.study.verification import Request, verify
from layertune.study.verified import VerifiedStudy, open_verified
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner

HERE = Path(__file__).parent
_MS = 1000


@dataclass(frozen=True)
class Turn:
    """One model in one turn: tokens/s of its workload in the trial, without the samplers, and from llama-server."""

    model: str
    n_generate: int
    trial: float
    decode_only: float
    served: float

    @property
    def longer_ms(self) -> float:
        """How much longer a request takes through the server, in milliseconds."""
        return (self.n_generate / self.served - self.n_generate / self.trial) * _MS


def measured(study: VerifiedStudy, pick: TrialInfo) -> Measured:
    """Measure the pick in a fresh worker."""
    opened = open_study(study.config)
    with closing(ProcessTrialRunner(trial_context(opened))) as runner:
        outcome = runner.run(SplitSettings.of(pick.settings), schedule_of(opened).finals_effort)
    if not isinstance(outcome, Measured):
        raise SystemExit(f"the pick was not measured: {outcome}")
    return outcome


def turn(study: VerifiedStudy, pick: TrialInfo) -> list[Turn]:
    """Measure the pick, then serve it."""
    outcome = measured(study, pick)
    verification = verify(study, Request("balanced", duration_s=1, n_streams=1))
    served = {row.model: row.here for row in verification.compared if row.how == "alone"}
    if len(served) < len(pick.settings):
        raise SystemExit(f"verify did not reach every model: {verification.failed()}")
    found = []
    for name, report in outcome.models.items():
        n_prompt, n_generate = study.result.workload[name].n_prompt, study.result.workload[name].n_generate
        pp, decode = median(report.samples.pp_tokens_per_s), median(report.samples.decode_tokens_per_s)
        decode_only = n_generate / (n_prompt / pp + n_generate / decode)
        found.append(Turn(name, n_generate, median(report.samples.tokens_per_s), decode_only, served[name]))
    return found


def table(study: VerifiedStudy, turns: list[Turn]) -> str:
    """Return the Markdown."""
    hardware = study.result.hardware
    device = f"{hardware.device.name}{' (EMULATED)' if hardware.device.kind == 'emulated' else ''}"
    lines = [
        f"The balanced pick of {study.result.study.name} on the {device}, {hardware.cpu.model}. Medians over turns;",
        "ratios are those of one turn, with the least and the largest.",
        "",
        "| model | trial, tokens/s | served | served / trial | served / decode only | a request takes longer by |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(each.model for each in turns):
        mine = [each for each in turns if each.model == name]
        ratios = sorted(each.served / each.trial for each in mine)
        cells = (
            name,
            f"{median(each.trial for each in mine):.1f}",
            f"{median(each.served for each in mine):.1f}",
            f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
            f"{median(each.served / each.decode_only for each in mine):.3f}",
            f"{median(each.longer_ms for each in mine):.1f} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--into", type=Path, default=HERE)
    options = parser.parse_args()
    study = open_verified(options.study, None)
    pick = study.result.picked("balanced")
    turns: list[Turn] = []
    for number in range(options.turns):
        turns += turn(study, pick)
        print(f"turn {number}: {turns[-len(pick.settings) :]}", flush=True)
        written = json.dumps([asdict(each) for each in turns], indent=1)
        (options.into / "served.json").write_text(f"{written}\n", encoding="utf-8")
        (options.into / "served.md").write_text(table(study, turns), encoding="utf-8")
    print(table(study, turns))


if __name__ == "__main__":
    main()
