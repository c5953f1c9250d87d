"""How long does a search take to its first `.env` and to its end, and does it report the time left truly?

    python benchmarks/time_to_answer/timed_search.py [CONFIG] [--presets quick default thorough] [--seed N]

Runs the command once with each preset, and reads what it prints with the time of each line. Seconds count from the line
that begins with "study:", since what is before it (finding the device, reading headers) is the same for all. Writes
time_to_answer.json and time_to_answer.md next to this file. On the demo's emulated card the speeds are this CPU's.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

HERE = Path(__file__).parent
_TOLD = re.compile(r"about (?:(\d+)h )?(?:(\d+)m )?(?:([\d.]+)\s?s )?left")
_TRIAL = r"\[\d+/"
_WITHIN = 0.35


@dataclass(frozen=True)
class Line:
    """A line that the search printed, at so many seconds after the line "study:"."""

    at_s: float
    text: str

    @property
    def reported_s(self) -> float | None:
        """The seconds that the line says are left; None if it says nothing of it."""
        found = _TOLD.search(self.text)
        if found is None:
            return None
        hours, minutes, seconds = found.groups(default="0")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


@dataclass(frozen=True)
class TimedSearch:
    """One search: its preset, when the first `.env` was there, its end, and every line."""

    preset: str
    first_env_s: float
    end_s: float
    lines: list[Line]

    def ends(self, begins: str) -> list[float]:
        """Return when the lines that begin with this pattern were printed."""
        return [each.at_s for each in self.lines if re.match(begins, each.text)]

    def time_left(self) -> list[tuple[float, float, float]]:
        """Return (at, reported, true) in seconds for each line from the third trial on that says how much is left."""
        (third,), (stopped,) = self.ends(_TRIAL)[2:3], self.ends("stopped:")
        return [
            (each.at_s, each.reported_s, stopped - each.at_s)
            for each in self.lines
            if each.reported_s is not None and third <= each.at_s < stopped - 1
        ]


def timed_search(config: Path, folder: Path, *options: str, preset: str = "default") -> TimedSearch:
    """Run the command into a study folder, and read its lines with their times."""
    flags = [] if preset == "default" else [f"--{preset}"]
    command = [sys.executable, "-m", "layertune", "search", str(config), "--study", str(folder), *flags, *options]
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        if process.stderr is None:
            raise SystemExit("no output")
        for text in process.stderr:
            lines.append((monotonic(), text.rstrip()))
            print(f"  {text.rstrip()}", flush=True)
    if process.returncode != 0:
        raise SystemExit(f"the search ended with status {process.returncode}")
    end_s = monotonic()
    start_s = next(at_s for at_s, text in lines if text.startswith("study:"))
    timed = [Line(at_s - start_s, text) for at_s, text in lines]
    first_env_s = next(each.at_s for each in timed if "written to .env" in each.text)
    return TimedSearch(preset, first_env_s, end_s - start_s, timed)


def report(config: Path, found: Sequence[TimedSearch]) -> str:
    """Return the Markdown."""
    lines = [
        f'{config.name}, seconds after the line that begins with "study:". EMULATED if the config\'s card is.',
        "",
        "| preset | first .env | first trial | trials | finals | validation runs | end |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        trials, finals, validation = (each.ends(of) for of in (_TRIAL, r"\[finals", r"\[validation"))
        ends = (each.first_env_s, *trials[:1], *trials[-1:], *(finals[-1:] or [None]), *(validation[-1:] or [None]))
        cells = ["–" if at_s is None else f"{at_s:.0f} s" for at_s in (*ends, each.end_s)]
        lines.append(f"| {each.preset} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *time_left_words(found)]) + "\n"


def time_left_words(found: Sequence[TimedSearch]) -> list[str]:
    """Compare the reported time left with the true one, from the third trial on."""
    pairs = [pair for each in found for pair in each.time_left()]
    if not pairs:
        return []
    ratios = sorted(reported / true for _, reported, true in pairs)
    n_within = sum(abs(ratio - 1) <= _WITHIN for ratio in ratios)
    return [
        f"Time left, reported from the third trial on: {n_within} of {len(ratios)} within ±{_WITHIN:.0%} of the true "
        f"time; reported over true from {ratios[0]:.2f} to {ratios[-1]:.2f}, median {ratios[len(ratios) // 2]:.2f}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/studies/demo.toml"))
    parser.add_argument("--presets", nargs="+", choices=("quick", "default", "thorough"), default=["quick", "default"])
    parser.add_argument("--seed", default="1")
    parser.add_argument("--into", type=Path, default=HERE)
    options = parser.parse_args()
    found = []
    for preset in options.presets:
        sleep(2)  # the machine is quiet again
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study"
            found.append(timed_search(options.config, study, "--seed", options.seed, preset=preset))
        text = report(options.config, found)
        (options.into / "time_to_answer.md").write_text(text, encoding="utf-8")
        data = json.dumps([asdict(each) for each in found], indent=0)
        (options.into / "time_to_answer.json").write_text(f"{data}\n", encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
