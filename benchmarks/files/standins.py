"""Which files of a 3B and a 7B model fit a card of 6141 MiB together, and what does that give?

    python benchmarks/files/standins.py FOLDER [--measure]

Makes stand-ins of Qwen2.5-3B-Instruct and Qwen2.5-Coder-7B-Instruct in FOLDER, 28 GB: random weights, in the sizes that
llama.cpp would give the files of each type. Plans every pair of files whole on the card, without and with what the
driver of the recorded GPU takes (studies/gpu-6gib). --measure also measures SPLITS and every pair that fits whole next
to that driver on the emulated card, which takes some minutes: its speeds are this CPU's. Writes standins.json and
standins.md next to this file, after each setting, and goes on where it was cut off.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from layertune.config import parse_config
from layertune.memory import GPU
from layertune.results.result import Result, read_result
from layertune.settings import SplitSettings
from layertune.study.file_quality import measure_files
from layertune.study.quantized import standin_of
from layertune.study.search_task import trial_context
from layertune.study.study import Study, open_study
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.trial.process_runner import ProcessTrialRunner
from layertune.trial.runners import measure_undisturbed
from layertune.units import MIB

HERE = Path(__file__).resolve().parent
GPU_STUDY = HERE.parents[1] / "studies" / "gpu-6gib"
MODELS = {"chat": "Qwen2.5-3B-Instruct", "code": "Qwen2.5-Coder-7B-Instruct"}
ALL_LAYERS = {"chat": 37, "code": 29}
TYPES = ("Q4_K_M", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K")
EFFORT = Effort(min_repeats=2, max_repeats=2, target_spread=1.0, together=False)
N_ATTEMPTS = 3  # of a setting that other programs disturb
WORKLOAD = {"n_prompt": 16, "n_generate": 4}

Layers = tuple[str, int, str, int]  # the types of chat and code with the layers of each on the card

# The pair that does not fit whole: what the study of the recorded GPU picked, and the most that fits the emulated card.
SPLITS: tuple[Layers, ...] = (("Q4_K_M", 37, "Q4_K_M", 18), ("Q4_K_M", 37, "Q4_K_M", 28))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    study, gpu, kept = opened(options.folder), read_result(GPU_STUDY), HERE / "standins.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    found |= {"pairs": planned(study), "unknown": unknown(study), "reserved_bytes": reserved_bytes(gpu)}
    found["smaller"] = {name: smaller(study, name) for name in MODELS}
    write(found, gpu)
    if options.measure:
        with closing(ProcessTrialRunner(trial_context(study))) as runner:
            runner.prepare(setting(study, *SPLITS[0]))
            for each in left(found, gpu):
                found.setdefault("measured", []).append(measured(study, runner, each))
                write(found, gpu)


def write(found: Mapping[str, Any], gpu: Result) -> None:
    (HERE / "standins.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (HERE / "standins.md").write_text(report(found, gpu), encoding="utf-8")


def left(found: Mapping[str, Any], gpu: Result) -> list[Layers]:
    """Return the settings that are not measured yet."""
    free_bytes = (gpu.budget.vram_bytes or 0) - found["reserved_bytes"]
    whole = [each for each in found["pairs"] if each["device_bytes"] <= free_bytes]
    wanted = [*SPLITS, *((each["chat"], ALL_LAYERS["chat"], each["code"], ALL_LAYERS["code"]) for each in whole)]
    done = [row["setting"] for row in found.get("measured", ())]
    return [each for each in wanted if list(each) not in done]


def opened(folder: Path) -> Study:
    """Open a study of all files, of which those that are missing are made."""
    folder.mkdir(parents=True, exist_ok=True)
    models = {}
    for name, known in MODELS.items():
        files = [folder / file_of(name, each) for each in TYPES]
        for path, file_type in zip(files, TYPES, strict=True):
            if not path.exists():
                standin_of(known, file_type, with_imatrix=False).write(path)
        layers = sorted({ALL_LAYERS[name], *(each[1 if name == "chat" else 3] for each in SPLITS)})
        space = {"n_gpu_layers": layers, "n_ctx": 1024, "n_batch": 128}
        models[name] = {"files": list(map(str, files)), "workload": WORKLOAD, "space": space}
    table = {"device": "emulated:6141MiB", "emulated": {"n_threads": 2}, "host": {"n_cpus": 1}, "models": models}
    return open_study(parse_config(table))


def file_of(model: str, file_type: str) -> str:
    return f"{MODELS[model]}-{file_type}.gguf"


def setting(study: Study, chat: str, n_chat: int, code: str, n_code: int) -> SplitSettings:
    return study.space.settings(
        {
            "chat.file": file_of("chat", chat),
            "chat.n_gpu_layers": n_chat,
            "code.file": file_of("code", code),
            "code.n_gpu_layers": n_code,
        }
    )


def planned(study: Study) -> list[dict[str, Any]]:
    """Return what every pair of files takes whole on the card."""
    rows = []
    for chat in TYPES:
        for code in TYPES:
            plan = study.planner.plan(setting(study, chat, ALL_LAYERS["chat"], code, ALL_LAYERS["code"]))
            rows.append({"chat": chat, "code": code, "device_bytes": plan.device_bytes})
    return rows


def smaller(study: Study, name: str) -> dict[str, float]:
    """Return how many times as many bytes of weights the first file has on the card as each file, by type."""
    weights = []
    for file_type in TYPES:
        engine = setting(study, file_type, ALL_LAYERS["chat"], file_type, ALL_LAYERS["code"])[name]
        weights.append(study.planner.models[name].plan(engine).devices[GPU].weights_bytes)
    return {file_type: weights[0] / each for file_type, each in zip(TYPES, weights, strict=True)}


def unknown(study: Study) -> list[str]:
    """Return what layertune says of these files' quality."""
    return sorted({str(each.unknown) for measured in measure_files(study).values() for each in measured})


def reserved_bytes(gpu: Result) -> int:
    """Return what two processes' drivers took of the recorded GPU beyond llama.cpp's buffers."""
    if gpu.plan is None:
        raise SystemExit(f"{GPU_STUDY} has no plan")
    return len(MODELS) * gpu.plan.overhead_bytes + gpu.plan.headroom_bytes


def measured(study: Study, runner: ProcessTrialRunner, layers: Layers) -> dict[str, Any]:
    """Measure one setting on the emulated card: seconds of each generated token, and tokens/s of the workload."""
    settings = setting(study, *layers)
    outcome = measure_undisturbed(runner, settings, EFFORT, N_ATTEMPTS, keep=lambda _repeated: None)
    if not isinstance(outcome, Measured) or outcome.vram is None:
        raise SystemExit(f"not measured: {settings.as_dict()}: {outcome}")
    return {
        "setting": list(layers),
        "peak_bytes": outcome.vram.peak_bytes,
        "disturbances": list(outcome.disturbances),
        "tpot_s": {name: list(each.samples.tpot_s) for name, each in outcome.models.items()},
        "tokens_per_s": {name: list(each.samples.tokens_per_s) for name, each in outcome.models.items()},
    }


def report(found: dict[str, Any], gpu: Result) -> str:
    budget_bytes, reserved = gpu.budget.vram_bytes or 0, found["reserved_bytes"]
    lines = [
        "# A 3B and a 7B model on 6141 MiB: which files fit whole?",
        "",
        "Written by standins.py. Stand-ins of Qwen2.5-3B-Instruct and Qwen2.5-Coder-7B-Instruct: exact sizes, random",
        "weights. n_ctx 1024, n_batch 128, f16 cache. MiB on the card, with all layers of both there. **Bold** fits",
        f"next to the two CUDA contexts of the recorded GPU, which took {mib(reserved)} MiB (studies/gpu-6gib).",
        "*Italic* fits a card without them only, such as the emulated one.",
        "",
        "| chat \\ code | " + " | ".join(TYPES) + " |",
        "|---|" + "--:|" * len(TYPES),
    ]
    taken = {(each["chat"], each["code"]): each["device_bytes"] for each in found["pairs"]}
    for chat in TYPES:
        cells = [marked(taken[chat, code], budget_bytes, reserved) for code in TYPES]
        lines.append(f"| {chat} | " + " | ".join(cells) + " |")
    lines += ["", f"Quality: unknown. layertune's reason: {'; '.join(found['unknown'])}."]
    lines += ["", *on_gpu(gpu, found, budget_bytes - reserved)]
    if "measured" in found:
        lines += ["", *measured_lines(found["measured"])]
    return "\n".join(lines) + "\n"


def on_gpu(gpu: Result, found: Mapping[str, Any], capacity_bytes: int) -> list[str]:
    """Bound the speeds of the pairs that fit the recorded GPU, by its trials with one model whole."""
    alone = {name: whole_tokens_per_s(gpu, name, layers) for name, layers in ALL_LAYERS.items()}
    split = gpu.picked("balanced")
    before = (split.metrics or {})["code"]["tg_tokens_per_s"].median
    lines = [
        f"The study of the recorded GPU ({gpu.hardware.device.name}, a budget of 6141 MiB, Q4_K_M of both) picked all",
        f"layers of the chat model and {split.settings['code'].n_gpu_layers} of the code model, which generates",
        f"{before:.1f} tokens/s so. Whole, it generates {alone['code']:.0f}, and the chat model {alone['chat']:.0f}.",
        "`layertune predict` plans only on a machine with that card, and predicts no other files. These are bounds, no",
        "measurements: from the time of a token with Q4_K_M to one that shrinks with the bytes. Other types have other",
        "kernels and may be outside.",
        "",
        "| chat | code | chat, tokens/s | code, tokens/s | code, times the pick |",
        "|---|---|--:|--:|--:|",
    ]
    for pair in found["pairs"]:
        chat, code = pair["chat"], pair["code"]
        if pair["device_bytes"] <= capacity_bytes:
            most = {name: alone[name] * found["smaller"][name][each] for name, each in (("chat", chat), ("code", code))}
            cells = [f"{alone[name]:.0f} to {most[name]:.0f}" for name in MODELS]
            cells.append(f"{alone['code'] / before:.0f} to {most['code'] / before:.0f}")
            lines.append(f"| {chat} | {code} | " + " | ".join(cells) + " |")
    return lines


def whole_tokens_per_s(gpu: Result, name: str, n_layers: int) -> float:
    """Return the median over the trials with all layers of a model on the card of the tokens/s that it generates."""
    whole = [each for each in gpu.trials if each.settings[name].n_gpu_layers == n_layers and each.metrics]
    return median(each.metrics[name]["tg_tokens_per_s"].median for each in whole if each.metrics)


def mib(n_bytes: float) -> str:
    return f"{n_bytes / MIB:.0f}"


def marked(n_bytes: int, budget_bytes: int, reserved: int) -> str:
    mark = "**" if n_bytes + reserved <= budget_bytes else "*" if n_bytes <= budget_bytes else ""
    return f"{mark}{mib(n_bytes)}{mark}"


def measured_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    n_split, first = rows[0]["setting"][3], median(rows[0]["tpot_s"]["code"])
    lines = [
        "Measured on the emulated card of 6141 MiB with two threads, next to one host thread: EMULATED, the speeds are",
        f"those of a CPU. {WORKLOAD['n_prompt']} + {WORKLOAD['n_generate']} tokens, the median of two repetitions.",
        f"Each model runs alone. The last factor is of a token of the code model, compared with {n_split} layers.",
        "",
        "| chat | code | MiB | chat: s per token | code: s per token | chat: tokens/s | code: tokens/s | code, times"
        " as fast | disturbed |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        chat, n_chat, code, n_code = row["setting"]
        cells = [f"{chat}, {n_chat} of 37 layers", f"{code}, {n_code} of 29 layers", mib(row["peak_bytes"])]
        cells += [f"{median(row[each][name]):.3f}" for each in ("tpot_s", "tokens_per_s") for name in MODELS]
        cells += [f"{first / median(row['tpot_s']['code']):.2f}", "yes" if row["disturbances"] else "no"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
