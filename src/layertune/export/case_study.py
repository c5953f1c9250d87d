"""Exports of a `.env` for the case study's compose file (`--compat worksheet`).

That compose file reads only each model's file and layers. Its command fixes `-c 1024 -b 128 -t 4 --parallel 1`; all
other flags have llama-server's defaults. So only trials that were measured with exactly these flags can be exported.
"""

from dataclasses import replace

from layertune.errors import UsageError
from layertune.export.env import tuned
from layertune.export.paths import cannot_hold, is_plain
from layertune.results.picks import Candidate, choose
from layertune.results.result import Result, TrialInfo
from layertune.results.trial_info import MeasuredIn
from layertune.settings import EngineSettings

_MODELS = ("chat", "code")
_READS = "N_GPU_LAYERS"
_SEARCHED = ("n_ctx=1024", "n_batch=128", "n_threads=4")
_HAS = {
    "N_CTX": "-c 1024",
    "N_BATCH": "-b 128",
    "N_UBATCH": "-b 128",
    "THREADS": "-t 4",
    "PARALLEL": "--parallel 1",
    "CACHE_RAM": "llama-server's default, 8192 MiB, which may be more than its container has",
}

COMPOSE_REPAIRS = (
    "the case study's compose file cannot start as written and needs two changes:",
    "1. delete the two comments after --n-gpu-layers: within `command: >` llama-server gets them as arguments",
    "2. add an image and ports to both services, like `image: ghcr.io/ggml-org/llama.cpp:server-cuda` and "
    '`ports: ["8001:8001"]` (chat), `ports: ["8004:8001"]` (code)',
)


def pick_for_case_study(result: Result, pick: str) -> TrialInfo:
    """Return the pick among the trials that the case study's compose file can run.

    Raises:
        UsageError: no trial fits, or the compose file cannot hold its file names.
    """
    if set(result.models) != set(_MODELS):
        raise UsageError(
            f"the case study's compose file serves {' and '.join(_MODELS)}; this study has {', '.join(result.models)}",
            remedy="rename the models, or export the compose file too: --format compose",
        )
    for model in result.variants().values():
        if not is_plain(model.file):
            # Its command is a single string. Compose inserts the name first and then splits the string.
            raise cannot_hold(model.file, "the case study's compose file", "blanks and special characters")
    runs = [trial for trial in result.trials if _runs(trial)]
    finalists = [trial for trial in runs if trial.n_rounds > 0]
    # Picks are chosen by the results of the finals. Validation runs exist only for chosen trials.
    measured_in: MeasuredIn = "finals" if finalists else "search"
    picks = choose([each for trial in finalists or runs if (each := _candidate(trial, measured_in)) is not None])
    if not picks:
        fixed = " ".join(f"--set {name}.{key}" for name in result.models for key in _SEARCHED)
        raise UsageError(
            "no measured trial within the budget has the -c 1024 -b 128 -t 4 of the case study for both models",
            remedy=f"search with {fixed}",
        )
    if not pick.isdigit():
        return result.picked(str(picks[pick]) if pick in picks else pick)
    trial = result.picked(pick)
    if trial not in runs:
        there = ", ".join(str(each.number) for each in runs)
        raise UsageError(
            f"trial {pick} is over the budget, or the case study's compose file cannot run it",
            remedy=f"choose one of {there}, or balanced",
        )
    return trial


def unread_variables(result: Result, trial: TrialInfo) -> list[str]:
    """Return a sentence for each variable of the `.env` that the case study's compose file does not read."""
    return [
        f"{variable}={value} is not read by the case study's compose file, which has {_HAS.get(key, 'the default')}"
        for name in result.models
        for variable, value in tuned(result, trial, name).items()
        if (key := variable.removeprefix(f"{name.upper()}_")) != _READS
    ]


def _runs(trial: TrialInfo) -> bool:
    return trial.state == "measured" and not trial.exceeded() and all(map(_is_fixed, trial.settings.values()))


def _is_fixed(engine: EngineSettings) -> bool:
    return replace(engine, file="") == EngineSettings(
        n_gpu_layers=engine.n_gpu_layers, n_ctx=1024, n_batch=128, n_ubatch=128, n_threads=4
    )


def _candidate(trial: TrialInfo, measured_in: MeasuredIn) -> Candidate | None:
    found = trial.metrics_of(measured_in)
    if found is None:
        return None
    speeds = {name: metrics["tokens_per_s"].median for name, metrics in found.items()}
    return Candidate(trial.number, speeds, trial.vram.peak_bytes if trial.vram is not None else 0)
