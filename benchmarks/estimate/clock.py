"""How fast is `layertune estimate`, and what does it allocate?

    python benchmarks/estimate/clock.py CONFIG [--device emulated:6141MiB] [--n 10]

Runs it with an empty cache (cold) and again with that cache (warm), n times each in turn, and prints the medians and
the largest resident set of the command and its children. Also cuts a joint space of a million settings.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from layertune.config.overrides import Overrides, study_config
from layertune.space.feasible import FeasibleSpace
from layertune.space.search_space import Dimension
from layertune.study.study import open_study
from layertune.units import MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--device", default="emulated:6141MiB")
    parser.add_argument("--n", type=int, default=10)
    options = parser.parse_args()
    cold, warm = [], []
    for _ in range(options.n):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(estimate(options.config, options.device, cache))
            warm.append(estimate(options.config, options.device, cache))
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"estimate, {options.n} times each: cold {median(cold):.2f} s, warm {median(warm):.2f} s (medians),")
    print(f"largest resident set of the command and its children {peak_bytes / MIB:.0f} MiB")
    cut(options.config, options.device)


def estimate(config: Path, device: str, cache: str) -> float:
    command = [str(Path(sys.executable).with_name("layertune")), "estimate", str(config), "--device", device]
    started_s = time.perf_counter()
    subprocess.run(command, env=os.environ | {"XDG_CACHE_HOME": cache}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


def cut(config: Path, device: str) -> None:
    """Add logical batches, which take no memory of their own, until the joint space has a million settings."""
    study = open_study(study_config(config, Overrides(models=[], budget=None, device=device, settings=[])))
    space, n_batches = study.space, 1
    while space.n_settings() < 10**6:
        n_batches += 1
        space = replace(space, dimensions=tuple(widened(each, n_batches) for each in study.space.dimensions))
    study.models.projections.learn({name: space.engines(name) for name in space.n_layers})  # remembered
    started_s = time.perf_counter()
    feasible = FeasibleSpace(space, study.planner, study.limits)
    n_feasible = feasible.n_settings()
    print(f"{n_feasible:,} of {space.n_settings():,} settings fit, found in {time.perf_counter() - started_s:.2f} s")


def widened(dimension: Dimension, n_batches: int) -> Dimension:
    if dimension.field != "n_batch":
        return dimension
    return replace(dimension, values=tuple(512 + 256 * number for number in range(n_batches)))


if __name__ == "__main__":
    main()
