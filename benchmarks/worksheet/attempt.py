"""Attempt the worksheet's three scenarios for real: is each refused by a 6 GB card, and by how many bytes?

    python benchmarks/worksheet/attempt.py [--device emulated:6141MiB]

Every scenario loads both models, decodes a full batch and generates, with the worksheet's -c 1024 -b 128. One that the
card refuses is loaded again on a larger emulated card, to learn what it needs. Writes scenarios.json and scenarios.md
next to this file. The models are the stand-ins or the originals, in models/.
"""

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from layertune.config import DeviceChoice
from layertune.devices.target import Target, find_target
from layertune.settings import EngineSettings, SplitSettings
from layertune.trial.effort import ONCE
from layertune.trial.outcome import Measured, TrialOutcome
from layertune.trial.process_runner import ProcessTrialRunner, TrialContext
from layertune.units import MIB

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "models"
CHAT_3B = MODELS / "Qwen2.5-3B-Instruct-Q4_K_M.gguf"
CHAT_7B = MODELS / "Qwen2.5-7B-Instruct-Q4_K_M.gguf"
CODE_7B = MODELS / "qwen2.5-coder-7b-instruct-q4_k_m.gguf"
LARGE_CARD = "emulated:16GiB"
ALL = 999


class Scenario(NamedTuple):
    """`worksheet_gb` is what the worksheet expects it to take, in its "GB"."""

    name: str
    chat: Path
    chat_layers: int
    code_layers: int
    worksheet_gb: float
    worksheet_verdict: str


SCENARIOS = (
    Scenario("1: 7B + 7B, all layers", CHAT_7B, ALL, ALL, 9.3, "impossible"),
    Scenario("2: 3B + 7B, all layers", CHAT_3B, ALL, ALL, 7.1, "borderline, over in theory"),
    *(Scenario(f"3: 3B all + 7B {n} layers", CHAT_3B, ALL, n, 5.2, "safe, recommended") for n in range(20, 26)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="emulated:6141MiB")
    options = parser.parse_args()
    card, large = (find_target(DeviceChoice.parse(text), 2) for text in (options.device, LARGE_CARD))
    rows = [attempt(scenario, card, large) for scenario in SCENARIOS]
    record = {"device": {"kind": card.kind, "name": card.name, "vram_bytes": card.vram_bytes}, "scenarios": rows}
    (HERE / "scenarios.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (HERE / "scenarios.md").write_text(table(card, rows), encoding="utf-8")
    print(table(card, rows))


def attempt(scenario: Scenario, card: Target, large: Target) -> dict[str, object]:
    outcome = run(scenario, card)
    refused = not isinstance(outcome, Measured)
    needed = run(scenario, large) if refused else outcome
    if not isinstance(needed, Measured) or needed.vram is None or card.vram_bytes is None:
        raise SystemExit(f"{scenario.name}: {needed}")
    peak_bytes = needed.vram.peak_bytes
    print(f"{scenario.name}: {'refused' if refused else 'runs'}, {peak_bytes} bytes", flush=True)
    return {
        "scenario": scenario.name,
        "refused": refused,
        "evidence": None if isinstance(outcome, Measured) else getattr(outcome, "evidence", str(outcome)),
        "peak_bytes": peak_bytes,
        "margin_bytes": card.vram_bytes - peak_bytes,
        "worksheet_gb": scenario.worksheet_gb,
        "worksheet_verdict": scenario.worksheet_verdict,
        "device_bytes": {
            name: {kind: getattr(report.buffers["gpu0"], f"{kind}_bytes") for kind in ("weights", "kv", "compute")}
            for name, report in needed.models.items()
        },
    }


def run(scenario: Scenario, target: Target) -> TrialOutcome:
    def engine(n_gpu_layers: int) -> EngineSettings:
        return EngineSettings(n_gpu_layers=n_gpu_layers, n_ctx=1024, n_batch=128, n_ubatch=128, n_threads=1)

    settings = SplitSettings.of({"chat": engine(scenario.chat_layers), "code": engine(scenario.code_layers)})
    paths = {"chat": str(scenario.chat), "code": str(CODE_7B)}
    context = TrialContext(target, paths, dict.fromkeys(paths, (8, 2)), seed=0, trial_timeout_s=600)
    with closing(ProcessTrialRunner(context)) as runner:
        return runner.run(settings, ONCE)


def table(card: Target, rows: list[dict[str, object]]) -> str:
    lines = [
        f"Device: {card.name}, {(card.vram_bytes or 0) / MIB:.0f} MiB"
        + (" (EMULATED: the bytes are llama.cpp's own, no CUDA context is counted)" if card.kind == "emulated" else ""),
        "",
        "| scenario | worksheet | measured peak | verdict of the card | margin |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = "refused" if row["refused"] else "runs"
        lines.append(
            f"| {row['scenario']} | {row['worksheet_gb']} GB, {row['worksheet_verdict']} "
            f"| {row['peak_bytes'] / 1e9:.2f} GB ({row['peak_bytes'] / MIB:.1f} MiB) "
            f"| {verdict} | {row['margin_bytes']:+,} bytes |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
