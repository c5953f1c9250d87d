"""Where does the time of a search go?

    python benchmarks/measuring_cost/shares.py [CONFIG] [search options…]

Runs the search as a user would and times the whole process from outside. Overhead is everything but llama.cpp's own
work in a trial (loading, warming up, measuring, unloading): start, plan, worker processes, sampler, storage, report.
Prints a Markdown table.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from layertune.results.result import read_result
from layertune.units import format_duration


def main() -> None:
    config, *options = sys.argv[1:] or ["configs/studies/demo.toml"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "layertune", "search", config, *options]
        started_s = monotonic()
        subprocess.run([*command, "--study", f"{folder}/study"], check=True, stdout=subprocess.DEVNULL)
        wall_s = monotonic() - started_s
        result = read_result(Path(folder) / "study")
    clock = result.clock
    if clock is None:
        raise SystemExit("the result has no clock")
    work = {
        "measuring": clock.measure_s,
        "warm-up": clock.warm_up_s,
        "loading": clock.load_s,
        "unloading": clock.unload_s,
    }
    work["overhead"] = wall_s - sum(work.values())
    device = result.hardware.device
    print(f"{config}, {device.name} ({device.kind}), {len(result.trials)} trials, {format_duration(wall_s)}\n")
    print("| part | seconds | share |\n|---|---|---|")
    for name, spent_s in work.items():
        print(f"| {name} | {spent_s:.1f} | {spent_s / wall_s:.1%} |")


if __name__ == "__main__":
    main()
