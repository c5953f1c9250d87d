"""What does it give to search files, too? The demo pair with three files for each model, and with one.

    make files
    python benchmarks/gain/files.py [--part one-file|files|rounds] [--minutes 4]

1. `one-file`: searches configs/studies/demo-files.toml with the first file of each model only, as the demo has it.
2. `files`: searches it with all files. The study is recorded in studies/demo-files.
3. `rounds`: measures both balanced picks and every baseline of the first files in interleaved validation runs, and
   writes files.md and files.json next to this file.

Without --part, all three. Each part goes on where it was cut off; with --minutes it ends by itself after about so many.
On the demo's emulated card the speeds are this CPU's.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic

from rounds import TOGETHER, baselines_that_fit, distinct, in_words, measured_in_rounds, ratio, speeds

from layertune.config import load_config
from layertune.results.result import FILE_NAME, Result, read_result
from layertune.results.statistics import Metric
from layertune.results.trials import FinishedTrial
from layertune.settings import SplitSettings
from layertune.study.study import Study, open_study

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG = ROOT / "configs" / "studies" / "demo-files.toml"
BUILD = ROOT / "build" / "files"
FOLDERS = {"one-file": BUILD / "one-file", "files": ROOT / "studies" / "demo-files"}
LAYERTUNE = Path(sys.executable).with_name("layertune")
PARTS = (*FOLDERS, "rounds")
N_ROUNDS = 12
WITH = "three files each"
QUANTITIES = ("tokens_per_s", TOGETHER)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    ends_s = monotonic() + 60 * options.minutes
    for part in PARTS if options.part is None else [options.part]:
        if part == "rounds":
            measure(ends_s)
        else:
            search(part, ends_s)


def search(part: str, ends_s: float) -> None:
    """Search until it is done or the time is up."""
    folder = FOLDERS[part]
    if (folder / FILE_NAME).exists() and read_result(folder).stopped is not None:
        return
    command: list[str | Path] = [LAYERTUNE, "search", CONFIG, "--study", folder]
    if part == "one-file":
        config = load_config(CONFIG)
        command += [f"--set={name}.file={next(iter(model.paths))}" for name, model in config.models.items()]
    if folder.exists():
        command.append("--resume")
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        process.wait(max(1.0, ends_s - monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()


def measure(ends_s: float) -> None:
    """Measure every contestant in each round, and write the sheet of the rounds so far."""
    study, searched = open_study(load_config(CONFIG)), {name: read_result(folder) for name, folder in FOLDERS.items()}
    named = contestants(study, searched)
    found = measured_in_rounds(study, named, BUILD, N_ROUNDS, lambda: monotonic() > ends_s)
    samples = {
        name: {model: {each: asdict(metric(trial, model, each)) for each in QUANTITIES} for model in trial.settings}
        for name, trial in found.items()
    }
    (HERE / "files.json").write_text(json.dumps(samples, indent=0) + "\n", encoding="utf-8")
    text = report(found, searched["files"], study.config.device)
    (HERE / "files.md").write_text(text, encoding="utf-8")
    print(text)


def contestants(study: Study, searched: Mapping[str, Result]) -> dict[str, SplitSettings]:
    """Return both picks and the baselines that fit, by name."""
    first = {name: next(iter(model.paths)) for name, model in study.config.models.items()}
    alone = {name: replace(each, file=first[name]) for name, each in pick(searched["one-file"]).items()}
    named = {WITH: pick(searched["files"]), "one file each": SplitSettings.of(alone)}
    return distinct(study, named | baselines_that_fit(study))


def pick(result: Result) -> SplitSettings:
    return SplitSettings.of(result.picked("balanced").settings)


def metric(trial: FinishedTrial, model: str, quantity: str) -> Metric:
    found = trial.metric(model, quantity, "validation")
    if found is None:
        raise SystemExit(f"{quantity} of {model} was not measured")
    return found


def report(found: Mapping[str, FinishedTrial], searched: Result, device: str) -> str:
    ours = next(trial for name, trial in found.items() if name.startswith(WITH))
    n_rounds = len(ours.rounds("validation"))
    lines = [
        f"The demo pair, {device}: EMULATED, the speeds are a CPU's. {n_rounds} interleaved rounds of every setting.",
        "Tokens/s of each model alone and while both run, the medians over the rounds. Below each, how many times as",
        "fast the pick with three files is, with its 95 % interval, from the ratios within the rounds.",
        "",
        "| setting | " + " | ".join(f"{model} alone | {model} together" for model in ours.settings) + " |",
        "|---|" + "--:|" * (len(ours.settings) * len(QUANTITIES)),
    ]
    for name, trial in found.items():
        cells = [
            f"{metric(trial, model, quantity).median:.1f}" + gain(ours, trial, model, quantity)
            for model in trial.settings
            for quantity in QUANTITIES
        ]
        lines.append(f"| {name}: {placed(trial.settings)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *price(ours.settings, searched)]) + "\n"


def placed(settings: SplitSettings) -> str:
    return ", ".join(f"{name} {each.n_gpu_layers} layers of {each.file}" for name, each in settings.items())


def gain(ours: FinishedTrial, other: FinishedTrial, model: str, quantity: str) -> str:
    if ours is other:
        return ""
    return f"<br>{in_words(ratio(speeds(ours, model, quantity), speeds(other, model, quantity)))}"


def price(settings: SplitSettings, searched: Result) -> list[str]:
    """Say what the files of a setting cost in quality."""
    lines = ["| file | KL divergence | same top token | loss visible |", "|---|--:|--:|---|"]
    for name, measured in searched.quality.items():
        for each in measured:
            chosen = " (picked)" if each.file == settings[name].file else ""
            if each.kl_divergence is not None and each.top1_agreement is not None:
                cells = f"{each.kl_divergence:.4f} ± {each.standard_error or 0:.4f} | {each.top1_agreement:.1%}"
            else:
                cells = f"{each.unknown} | "
            lines.append(f"| {name}: {each.file}{chosen} | {cells} | {'yes' if each.is_visible else 'no'} |")
    return lines


if __name__ == "__main__":
    main()
