"""Is a study's pick really inside the card, and is what is past it really refused?

    python benchmarks/boundary/probe.py STUDY [--pick balanced] [--most 6]

Loads the pick twice, compares the card's peak with llama.cpp's own buffer lines, then adds 1, 2, 3 … layers, to the
model that has the most left on the host, until the card refuses. Prints a Markdown table.
"""

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from layertune.config import load_config
from layertune.devices.target import find_target
from layertune.memory.buffers import HOST
from layertune.results.result import read_result
from layertune.settings import SplitSettings
from layertune.trial.effort import ONCE
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--pick", default="balanced")
    parser.add_argument("--most", type=int, default=6, help="layers to add before giving up")
    options = parser.parse_args()
    config, result = load_config(options.study / "study.toml"), read_result(options.study)
    target = find_target(config.resolved_device(), config.emulated.n_threads)
    paths = {name: str(model.path) for name, model in config.models.items()}
    context = TrialContext(target, paths, dict.fromkeys(paths, (8, 2)), seed=0, trial_timeout_s=600)
    pick = SplitSettings.of(result.picked(options.pick).settings)
    n_layers = {name: model.n_layer + 1 for name, model in result.models.items()}
    grown = max(n_layers, key=lambda name: n_layers[name] - pick[name].n_gpu_layers)
    print(f"{target.name}, {(target.vram_bytes or 0) / MIB:.1f} MiB; pick {options.pick}; growing {grown}\n")
    print("| layers | outcome | card's peak, MiB | llama.cpp's buffer lines, MiB |\n|---|---|---|---|", flush=True)
    with closing(ProcessTrialRunner(context)) as runner:
        print(row(pick, runner.run(pick, ONCE)), flush=True)
        print(row(pick, runner.run(pick, ONCE)), flush=True)
        for more in range(1, options.most + 1):
            engine = pick[grown]
            wider = replace(engine, n_gpu_layers=engine.n_gpu_layers + more)
            settings = SplitSettings.of(dict(pick.items()) | {grown: wider})
            print(row(settings, runner.run(settings, ONCE)), flush=True)


def row(settings: SplitSettings, outcome: TrialOutcome) -> str:
    layers = ", ".join(f"{name} {engine.n_gpu_layers}" for name, engine in settings.items())
    if not isinstance(outcome, Measured) or outcome.vram is None:
        excess = getattr(outcome, "excess_bytes", None)
        over = f", {excess:,} bytes too many" if excess else ""
        return f"| {layers} | {outcome.state} at {getattr(outcome, 'stage', '?')}{over} | – | – |"
    lines = sum(
        held.total_bytes for model in outcome.models.values() for name, held in model.buffers.items() if name != HOST
    )
    return f"| {layers} | runs | {outcome.vram.peak_bytes / MIB:.3f} | {lines / MIB:.3f} |"


if __name__ == "__main__":
    main()
