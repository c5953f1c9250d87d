"""Studies of every kind that a report is made of."""

from collections.abc import Callable
from pathlib import Path

import explained
from compared import engine
from finalists import CHAT, CODE, VRAM, finalist, rounds, trial
from finished_study import result
from layertune.results.drift import Reference
from layertune.results.result import CpuInfo, DeviceInfo, HardwareInfo, Result, read_result
from layertune.results.summary import Baseline
from report_page import as_json
from two_files import priced

RECORDED = Path(__file__).parents[2] / "studies" / "rtx4050-3b-7b-emulated"


def with_finals() -> Result:
    trials = [
        finalist(0, 100, chat=rounds(20.0, 20.2, 19.9, 20.1), code=rounds(9.0, 9.1, 9.0, 8.9)),
        finalist(3, 300, chat=rounds(30.0, 30.2, 29.9, 30.1), code=rounds(12.0, 12.1, 12.0, 11.9)),
        trial(4, {"chat": [10.0], "code": [7.0]}, 50),
        trial(7, {"chat": [40.0], "code": [17.0]}, 9000, excess=5.0),
    ]
    outcomes = [each.outcome for each in trials[:2]]
    return result(
        trials=trials,
        objectives=[CHAT, CODE, VRAM],
        references=[Reference(8 * at, outcome) for at, outcome in enumerate(outcomes)],
        baselines=[Baseline("everything", trials[1].settings, "all of it"), Baseline("ollama", None, "one at a time")],
    )


def on_gpu() -> Result:
    gpu = DeviceInfo(kind="gpu", name="RTX", vram_bytes=2**32, driver="1.2")
    hardware = HardwareInfo(fingerprint="f", device=gpu, cpu=CpuInfo(model="Test CPU", n_cores=4), ram_bytes=2**34)
    return result(hardware=hardware)


def recorded() -> Result:
    return read_result(RECORDED)


def first_version() -> Result:
    """Return the recorded study as the first layertune would have written it: nothing optional in it."""
    document = as_json(recorded())
    needed = {name for name, info in Result.model_fields.items() if info.is_required()} | {"schema_version"}
    trial_fields = ("number", "state", "reason", "settings", "metrics", "vram", "host", "duration_s")
    trials = [{name: each[name] for name in trial_fields} for each in document["trials"]]
    return Result.model_validate({name: document[name] for name in needed} | {"trials": trials})


def models(*names: str) -> Result:
    whole = result()
    document = as_json(whole)
    trials = [
        as_json(made)
        for made in result(
            trials=[trial(at, {"chat": [10.0 + at], "code": [10.0 + at]}, 100 * at) for at in range(4)],
            objectives=[CHAT, VRAM],
        ).trials
    ]
    for each in trials:
        for part in ("settings", "metrics", "buffers", "load_s"):
            each[part] = dict.fromkeys(names, each[part]["chat"])
    for part in ("models", "workload"):
        document[part] = dict.fromkeys(names, document[part]["chat"])
    return Result.model_validate(document | {"trials": trials, "pareto": [1, 3], "picks": {"balanced": 3, names[0]: 1}})


def one_model() -> Result:
    return models("chat")


def without_device() -> Result:
    document = as_json(models("chat", "code"))
    for each in document["trials"]:
        each["vram"] = None
        each["violations"] = {}
    document["hardware"]["device"] = {"kind": "cpu", "name": "CPU", "vram_bytes": None, "driver": None}
    document["budget"]["vram_bytes"] = None
    return Result.model_validate(document)


def to_swap() -> Result:
    """Return a study in which each model was measured with the device to itself."""
    splits = [(20, 10), (37, 0), (0, 37), (19, 10), (10, 10), (21, 10)]
    trials = [explained.pair(engine(chat), engine(code)) for chat, code in splits]
    return explained.study(trials, speeds={2: {"code": 64.0}})


STUDIES: dict[str, Callable[[], Result]] = {
    "recorded": recorded,
    "small": result,
    "finals": with_finals,
    "gpu": on_gpu,
    "bare": first_version,
    "empty": lambda: result(trials=[]),
    "one model": one_model,
    "three models": lambda: models("chat", "code", "embed"),
    "no device": without_device,
    "to swap": to_swap,
    "two files": priced,
}
