"""Record the studies of studies/, each as `layertune search` leaves it: the demo pair and the real-size stand-ins on
emulated cards, and the stand-ins on a real GPU. Stand-ins that are missing are made first.

    python scripts/record_studies.py [NAME…] [--again]     without a name, all emulated ones that are not recorded yet
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parent.parent
CONFIGS, STUDIES = ROOT / "configs" / "studies", ROOT / "studies"
LAYERTUNE = Path(sys.executable).with_name("layertune")
RESULT = "result.json"

# About 3 to 6 minutes each on two cores. Studies with the
# same changes differ in nothing but the card, so they compare. The six rounds are needed: of four, the balanced pick
# could not tell 23 from 36 tokens/s on a noisy machine.
DEMO: dict[str, Any] = {
    "search": {"n_trials": 9},
    "finals": {"max_rounds": 6, "max_finalists": 2},
}
# About 15 minutes each: at 64 + 16 tokens a trial of both took 62 to 104 s (rtx4050-3b-7b-emulated). Trials end after
# two thirds of the timeout; three rounds of finals follow in any case. One host thread, as the demo has: with two, the
# card of two threads is no faster than the host, and layers on it buy nothing.
STANDINS: dict[str, Any] = {
    "host": {"n_cpus": 1},
    "models": {
        "chat": {"workload": {"n_prompt": 16, "n_generate": 4}},
        "code": {"workload": {"n_prompt": 16, "n_generate": 4}},
    },
    "baselines": None,
    "search": {"n_trials": 9, "timeout": "11m"},
    "measurement": {"min_repeats": 2, "max_repeats": 2, "max_attempts": 1, "reference_every": 0},
    "finals": {"max_rounds": 3, "n_repeats": 1, "max_finalists": 2, "beside_prefill": 0},
}
# About 7 minutes on an H200; trials end after two thirds of the timeout at the latest. Three repetitions and no
# reference runs: with four host threads a trial of both models takes a quarter of a minute as it is.
ON_GPU: dict[str, Any] = {
    "baselines": {"worksheet-25": None, "chat-whole": None, "code-whole": None, "both-most": None},
    "search": {"n_trials": 14, "timeout": "450s"},
    "measurement": {"max_repeats": 3, "reference_every": 0},
    "finals": {"max_rounds": 3, "n_repeats": 2, "max_finalists": 3, "confirming_rounds": 4, "beside_prefill": 1},
}
STANDIN_OF = {
    "Qwen2.5-3B-Instruct-Q4_K_M.gguf": "Qwen2.5-3B-Instruct",
    "qwen2.5-coder-7b-instruct-q4_k_m.gguf": "Qwen2.5-Coder-7B-Instruct",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """One study: `config`, a file of configs/studies, with `changes` laid over it, on an emulated card of `vram`, or
    with that budget on the `device` that is named."""

    name: str
    config: str
    changes: dict[str, Any]
    vram: str
    n_device_threads: int = 2
    device: str | None = None

    @property
    def folder(self) -> Path:
        return STUDIES / self.name

    def is_there(self) -> bool:
        return (self.folder / RESULT).exists()


RECORDINGS = (
    Recording("demo-512mib", "demo.toml", DEMO, "512MiB"),
    Recording("demo-384mib", "demo.toml", DEMO, "384MiB"),
    Recording("demo-256mib", "demo.toml", DEMO, "256MiB"),
    Recording("demo-256mib-1-thread", "demo.toml", DEMO, "256MiB", n_device_threads=1),
    # As configs/hardware has them: rtx-4060, rtx-4050-laptop, emulated-4gib.
    Recording("standins-8gib", "rtx4050-3b-7b.toml", STANDINS, "8188MiB"),
    Recording("standins-6gib", "rtx4050-3b-7b.toml", STANDINS, "6141MiB"),
    Recording("standins-4gib", "rtx4050-3b-7b.toml", STANDINS, "4096MiB"),
    Recording("gpu-6gib", "rtx4050-3b-7b.toml", ON_GPU, "6141MiB", device="gpu:0"),
)


def main() -> None:
    known = {each.name: each for each in RECORDINGS}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}")
    parser.add_argument("--again", action="store_true", help="replace what is recorded already")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no recording is called {unknown[0]}; there are {', '.join(known)}")
    for name in options.names or [each.name for each in RECORDINGS if each.device is None]:
        if known[name].is_there() and not options.again:
            say(f"{name} is recorded already (--again replaces it)")
        else:
            record(known[name])


def record(recording: Recording) -> None:
    """Search in a folder beside the recorded one and put it in its place once the search has come to its end."""
    table = config_of(recording)
    for model in table["models"].values():
        make_standin(Path(model["path"]))
    unfinished = STUDIES / f"search-{recording.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / f"{recording.name}.toml"
        config.write_text(tomli_w.dumps(table), encoding="utf-8")
        say(f"recording {recording.name}")
        subprocess.run([LAYERTUNE, "search", config, "--study", unfinished], cwd=ROOT, check=True)
    refuse_paths(unfinished)
    shutil.rmtree(recording.folder, ignore_errors=True)
    unfinished.rename(recording.folder)
    kept_bytes = sum(path.stat().st_size for path in recorded_files(recording.folder))
    say(f"{recording.name}: {time.monotonic() - started:.0f} s, {kept_bytes / 1024:.0f} KiB to commit")


def config_of(recording: Recording) -> dict[str, Any]:
    """Return the recording's config as a table whose paths hold wherever it is written."""
    table = tomllib.loads((CONFIGS / recording.config).read_text(encoding="utf-8"))
    card = {
        "name": recording.name,
        "device": recording.device or f"emulated:{recording.vram}",
        "budget": {"vram": recording.vram},
    }
    if recording.device is None:
        card["emulated"] = {"n_threads": recording.n_device_threads}
    table = laid_over(laid_over(table, recording.changes), card)
    for model in table["models"].values():
        model["path"] = os.path.normpath(CONFIGS / model["path"])  # not resolved: models/ may be a link
    return table


def laid_over(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a TOML table with changes in it; None removes a key."""
    whole = table | {
        key: laid_over(table.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return {key: value for key, value in whole.items() if value is not None}


def make_standin(path: Path) -> None:
    """Write a model that is missing, if it is one of the stand-ins; `layertune search` says what else is missing."""
    if path.name in STANDIN_OF and not path.exists():
        subprocess.run([LAYERTUNE, "standin", STANDIN_OF[path.name], "-o", path], cwd=ROOT, check=True)


def recorded_files(folder: Path) -> list[Path]:
    """Return what of a study's folder is committed: .gitignore leaves out the lock, its owner and the report."""
    return [folder / name for name in (".env", "journal.log", RESULT, "study.toml")]


def refuse_paths(folder: Path) -> None:
    """Stop where a file tells where on this machine it was made."""
    places = [str(place) for place in (ROOT, Path.home(), Path(tempfile.gettempdir())) if place != Path(place.anchor)]
    for path in recorded_files(folder):
        text = path.read_text(encoding="utf-8")
        if any(place in text for place in places):
            raise SystemExit(f"{path} names a folder of this machine; it is left there and not recorded")


def say(words: str) -> None:
    print(f"record: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
