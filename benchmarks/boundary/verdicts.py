"""Is the plan's verdict the card's? Loads seeded settings close to the limit, with the planner off.

    python benchmarks/boundary/verdicts.py CONFIG [--device emulated:240MiB] [--n 40] [--within 5] [--seed 0]

Draws settings whose planned bytes are within ±5 % of the budget, as many that fit as that do not, loads each for real,
decodes a full physical batch, and compares. Writes NAME.json and NAME.md next to this file, NAME the config's name.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from layertune.config.overrides import Overrides, study_config
from layertune.memory import Planner
from layertune.settings import SplitSettings
from layertune.study.study import Study, open_study
from layertune.trial.effort import ONCE
from layertune.trial.outcome import Infeasible, Measured
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--within", type=float, default=5.0, help="percent of the budget")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = study_config(options.config, Overrides(models=[], budget=None, device=options.device, settings=[]))
    study = open_study(config)
    capacity_bytes = study.limits.capacity_bytes or 0
    reach_bytes = capacity_bytes * options.within / 100
    half = options.n // 2
    planner = study.planner
    drawn = [*islice(near(study, planner, options.seed, 0, reach_bytes), half)]
    drawn += islice(near(study, planner, options.seed, -reach_bytes, 0), options.n - half)
    paths = {name: str(model.path) for name, model in config.models.items()}
    context = TrialContext(study.target, paths, dict.fromkeys(paths, (8, 2)), 0, trial_timeout_s=600)
    rows = []
    with closing(ProcessTrialRunner(context)) as runner:
        for settings in drawn:
            rows.append(row(planner, runner, settings, capacity_bytes))
            print(rows[-1], flush=True)
    wrong = [each for each in rows if each["planned"] != each["card"]]
    (HERE / f"{config.name}.json").write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    (HERE / f"{config.name}.md").write_text(report(study, rows, wrong, options.within), encoding="utf-8")
    print(report(study, rows, wrong, options.within))


def near(study: Study, planner: Planner, seed: int, low: float, high: float) -> Iterator[SplitSettings]:
    """Yield seeded settings whose planned excess over the budget is in (low, high]."""
    for settings in study.space.shuffled(seed):
        plan = planner.plan(settings)
        excess = (plan.device_bytes or 0) - (study.limits.capacity_bytes or 0)
        if low < excess <= high:
            yield settings


def row(planner: Planner, runner: ProcessTrialRunner, settings: SplitSettings, capacity_bytes: int) -> dict[str, Any]:
    plan = planner.plan(settings)
    outcome = runner.run(settings, ONCE)
    peak_bytes = outcome.vram.peak_bytes if isinstance(outcome, Measured) and outcome.vram is not None else None
    card = "fits" if isinstance(outcome, Measured) else "refused" if isinstance(outcome, Infeasible) else str(outcome)
    return {
        "layers": {name: engine.n_gpu_layers for name, engine in settings.items()},
        "n_batch": {name: engine.n_batch for name, engine in settings.items()},
        "planned_bytes": plan.device_bytes,
        "spare_bytes": capacity_bytes - (plan.device_bytes or 0),
        "planned": "fits" if plan.fits(capacity_bytes) else "refused",
        "card": card,
        "peak_bytes": peak_bytes,
    }


def report(study: Study, rows: list[dict[str, Any]], wrong: list[dict[str, Any]], within: float) -> str:
    target = study.target
    nearest = min(abs(each["spare_bytes"]) for each in rows)
    off = max((abs(each["peak_bytes"] - each["planned_bytes"]) for each in rows if each["peak_bytes"]), default=0)
    lines = [
        f"{target.name}, {(target.vram_bytes or 0) / MIB:.1f} MiB: {len(rows)} settings within ±{within:g} % of it,",
        f"{sum(each['card'] == 'fits' for each in rows)} run and {sum(each['card'] == 'refused' for each in rows)} are",
        f"refused. The plan's verdict differs from the card's {len(wrong)} times. The nearest one is {nearest:,} bytes",
        f"from the limit; where it ran, the peak was at most {off:,} bytes from the plan.",
    ]
    return "\n".join([*lines, *(f"- {each}" for each in wrong), ""])


if __name__ == "__main__":
    main()
