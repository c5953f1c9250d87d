"""What does a search of the automatic space gain over `--fit`? Six deployments on emulated cards.

    make models
    python benchmarks/gain/measure.py FOLDER [--only NAME…] [--rounds 8] [--minutes 30]

For each deployment: a search with `space = "auto"`, then its balanced pick and every baseline that fits, loaded and
measured anew in interleaved rounds. FOLDER takes the studies, the rounds and the stand-ins (8 GB for all). A deployment
goes on where it was cut off, after --minutes. Writes gain.json and gain.md next to this file: the ratios of every
deployment that was measured, whether it gained or not. EMULATED: the speeds are those of this CPU.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from rounds import baselines_that_fit, distinct, in_words, mean_speeds, measured_in_rounds, ratio, speeds

from layertune.config import parse_config
from layertune.results.result import FILE_NAME, Result, read_result
from layertune.results.statistics import Comparison
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.study.quantized import standin_of
from layertune.study.study import Study, open_study
from layertune.units import MIB, format_duration

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ARCHITECTURES = ROOT / "benchmarks" / "memory_accuracy" / "architectures.py"
PICK = "layertune"


@dataclass(frozen=True)
class Deployment:
    """Two models on one card: their files, and what is said of them beyond `space = "auto"`."""

    card: str
    models: Mapping[str, str]
    n_ctx: int
    workload: Mapping[str, int]
    n_trials: int

    def config(self, name: str, folder: Path) -> dict[str, Any]:
        """Return the table of the study."""
        models = {
            model: {
                "path": str(file_in(folder, file)),
                "workload": dict(self.workload),
                "space": {"n_ctx": self.n_ctx, "n_gpu_layers": {"min": 0, "max": "all"}},
            }
            for model, file in self.models.items()
        }
        return {
            "name": name,
            "device": f"emulated:{self.card}",
            "emulated": {"n_threads": 2},
            "host": {"n_cpus": 1},
            "models": models,
            "search": {"n_trials": self.n_trials, "timeout": "30m", "trial_timeout": "5m"},
            "measurement": {"min_repeats": 2, "max_repeats": 3},
        }


DEMO = {"chat": "SmolLM2-135M-Instruct.Q4_1.gguf", "code": "gemma-3-270m-q4_k_m.gguf"}
FULL_SIZE = {"chat": "Qwen2.5-3B-Instruct", "code": "Qwen2.5-Coder-7B-Instruct"}
EXPERTS = {"chat": "Qwen2.5-0.5B-Instruct", "code": "granite-1b-a400m"}
SHORT, SHORTEST = {"n_prompt": 64, "n_generate": 16}, {"n_prompt": 16, "n_generate": 4}
DEPLOYMENTS = {
    "demo-192": Deployment("192MiB", DEMO, 1024, SHORT, 16),
    "demo-240": Deployment("240MiB", DEMO, 1024, SHORT, 16),
    "demo-320": Deployment("320MiB", DEMO, 1024, SHORT, 16),
    "experts-600": Deployment("600MiB", EXPERTS, 1024, SHORT, 16),
    "3b-7b-1k": Deployment("6141MiB", FULL_SIZE, 1024, SHORTEST, 10),
    "3b-7b-8k": Deployment("6141MiB", FULL_SIZE, 8192, SHORTEST, 10),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=DEPLOYMENTS, default=list(DEPLOYMENTS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=30.0, help="the most that the rounds of a deployment take")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    kept = HERE / "gain.json"
    sheet = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in options.only:
        sheet[name] = measured(name, options.folder.resolve(), options.rounds, options.minutes)
        kept.write_text(json.dumps(sheet, indent=0) + "\n", encoding="utf-8")
        (HERE / "gain.md").write_text(report(sheet), encoding="utf-8")
    print(report(sheet))


def file_in(folder: Path, name: str) -> Path:
    """Return a model's file: one of the demo, or a stand-in, which is made where it is missing."""
    if name.endswith(".gguf"):
        return ROOT / "models" / name
    path = folder / f"{name}.gguf"
    if not path.exists() and name == EXPERTS["code"]:
        subprocess.run([sys.executable, ARCHITECTURES, name, path], check=True)
    elif not path.exists():
        standin_of(name, None, with_imatrix=False).write(path)
    return path


def measured(name: str, folder: Path, n_rounds: int, minutes: float) -> dict[str, Any]:
    """Search a deployment, measure its pick and the baselines in rounds, and return what the sheet says of it."""
    study = open_study(parse_config(DEPLOYMENTS[name].config(name, folder)))
    searched = folder / name / "study"
    is_done = (searched / FILE_NAME).exists() and read_result(searched).stopped is not None
    result = read_result(searched) if is_done else study.search(searched, resume=searched.exists(), on_event=print)
    named = {PICK: SplitSettings.of(result.picked("balanced").settings)} | baselines_that_fit(study)
    ends_s = monotonic() + 60 * minutes
    contestants = distinct(study, named)
    found = measured_in_rounds(study, contestants, folder / name / "rounds", n_rounds, lambda: monotonic() > ends_s)
    return {**rows(study, found), **cost(result)}


def cost(result: Result) -> dict[str, Any]:
    """Return what the search took."""
    wall_s = None if result.clock is None else result.clock.wall_s
    return {"n_trials": len(result.trials), "wall_s": wall_s, "stopped": result.stopped}


def rows(study: Study, found: Mapping[str, FinishedTrial]) -> dict[str, Any]:
    """Return every setting's speeds, and the ratios of the pick's to it."""
    ours = next(trial for name, trial in found.items() if name.startswith(PICK))
    return {
        "device": study.config.device,
        "n_rounds": len(ours.rounds("validation")),
        "settings": {name: row(ours, trial) for name, trial in found.items()},
    }


def row(ours: FinishedTrial, other: FinishedTrial) -> dict[str, Any]:
    compared = {
        model: asdict(ratio(speeds(ours, model, "tokens_per_s"), speeds(other, model, "tokens_per_s")))
        for model in ours.settings
    }
    return {
        "settings": other.settings.as_dict(),
        "tokens_per_s": {model: list(speeds(other, model, "tokens_per_s").values()) for model in ours.settings},
        "peak_bytes": other.peak_bytes(["validation"]),
        "ratios": compared,
        "mean_ratio": asdict(ratio(mean_speeds(ours, "tokens_per_s"), mean_speeds(other, "tokens_per_s"))),
    }


def report(sheet: Mapping[str, Any]) -> str:
    """Return the Markdown: every deployment next to its best baseline, and then each with all of its settings."""
    lines = [
        "# What a search of the automatic space gains over `--fit`",
        "",
        "Written by measure.py. EMULATED: the speeds are those of a CPU, two threads of which play the card. The pick",
        "of a search next to every baseline that fits, each loaded and measured anew in interleaved rounds. A ratio",
        "says how many times as fast the pick is, with its 95 % interval. Below 1 it is slower. The best baseline is",
        "the one with the largest geometric mean of the models' tokens/s.",
        "",
        "| deployment | trials | search | best baseline | geometric mean | slower model |",
        "|---|--:|--:|---|--:|--:|",
        *(summary(name, each) for name, each in sheet.items()),
    ]
    for name, each in sheet.items():
        lines += ["", *details(name, each)]
    return "\n".join(lines) + "\n"


def summary(name: str, found: Mapping[str, Any]) -> str:
    others = {each: row for each, row in found["settings"].items() if not each.startswith(PICK)}
    took = "–" if found["wall_s"] is None else format_duration(found["wall_s"])
    cells = [name, str(found["n_trials"]), took]
    if not others:
        return f"| {' | '.join([*cells, 'every baseline that fits is the pick', '1', '1'])} |"
    best = min(others, key=lambda each: others[each]["mean_ratio"]["ratio"])
    speed = {model: median(values) for model, values in others[best]["tokens_per_s"].items()}
    slower = min(speed, key=lambda model: speed[model])
    row = others[best]
    cells += [best, words(row["mean_ratio"]), f"{slower} {words(row['ratios'][slower])}"]
    return f"| {' | '.join(cells)} |"


def details(name: str, found: Mapping[str, Any]) -> list[str]:
    (first, *_) = found["settings"].values()
    models = list(first["tokens_per_s"])
    lines = [
        f"## {name}",
        "",
        f"{found['device']}, {found['n_rounds']} rounds. The search ended: {found['stopped']}.",
        "",
        "| setting | " + " | ".join(f"{each}, tokens/s" for each in models) + " | geometric mean | MiB |",
        "|---|" + "--:|" * (len(models) + 2),
    ]
    for setting, row in found["settings"].items():
        ours = setting.startswith(PICK)
        cells = [f"{setting}: {placed(row['settings'], found['settings'])}"]
        for model in models:
            speed = f"{median(row['tokens_per_s'][model]):.2f}"
            cells.append(speed if ours else f"{speed}<br>{words(row['ratios'][model])}")
        cells += ["" if ours else words(row["mean_ratio"]), f"{row['peak_bytes'] / MIB:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def placed(settings: Mapping[str, Any], every: Mapping[str, Any]) -> str:
    """Name the layers of each model, and what differs between the settings of the table."""
    models = []
    for model, engine in settings.items():
        differs = [key for key in engine if len({str(row["settings"][model].get(key)) for row in every.values()}) > 1]
        models.append(f"{model} " + ", ".join(f"{key} {engine[key]}" for key in differs) if differs else model)
    return "; ".join(models)


def words(found: Mapping[str, Any]) -> str:
    return in_words(Comparison(**found))


if __name__ == "__main__":
    main()
