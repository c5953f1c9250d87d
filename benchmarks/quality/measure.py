"""Compare layertune's figures of quality with llama-perplexity's, and time them.

The demo pair is quantized by llama.cpp, and each file and cache type is compared with the file it was made from, once
on the same tokens as llama-perplexity, once as layertune measures it. The figures of all models measured so far are
written next to this script. `make models tools` first. What was measured is kept in the folder, candidate by candidate,
so a run that was cut off goes on where it was. --same-tokens measures the comparison with llama-perplexity only, and
keeps the other results.

    python benchmarks/quality/measure.py [--model chat|code] [--folder build/quality] [--same-tokens]
"""

import argparse
import json
import os
import re
import resource
import subprocess
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from layertune.devices.quantization_process import Order, quantize
from layertune.quality import (
    Candidate,
    FileQuality,
    Quality,
    QualityReport,
    Scoring,
    Text,
    measure_quality,
    shipped_texts,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PERPLEXITY = ROOT / "build" / "tools" / "bin" / "llama-perplexity"
MODELS = {"chat": "SmolLM2-135M-Instruct.Q4_1.gguf", "code": "gemma-3-270m-q4_k_m.gguf"}
FILE_TYPES = ("Q8_0", "Q4_0", "IQ4_XS", "Q3_K_M", "Q2_K")
CACHES = (("q8_0", "q8_0"), ("q8_0", "q4_0"), ("q5_1", "q5_1"), ("q4_0", "q4_0"))
N_THREADS = 2

_THEIRS = {
    "kl_divergence": r"Mean +KLD: +([\d.]+)",
    "kl_standard_error": r"Mean +KLD: +[\d.]+ +± +([\d.]+)",
    "top1_agreement_percent": r"Same top p: +([\d.]+)",
    "perplexity": r"Mean PPL\(Q\) +: +([\d.]+)",
}


@dataclass(frozen=True)
class Row:
    """One candidate: both tools on the same tokens, and layertune as it measures by default."""

    candidate: str
    file_bytes: int
    same_tokens: dict[str, float]
    llama_perplexity: dict[str, float]
    default: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "quality")
    parser.add_argument("--same-tokens", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    output = HERE / "quality.json"
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    for name in options.model or list(MODELS):
        kept = found[MODELS[name]] if options.same_tokens else None
        found[MODELS[name]] = measure(ROOT / "models" / MODELS[name], options.folder, kept)
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (HERE / "quality.md").write_text("\n".join(page(found)) + "\n", encoding="utf-8")


def measure(source: Path, folder: Path, kept: dict[str, Any] | None) -> dict[str, Any]:
    """Measure one model's candidates; of what was `kept`, only the comparison with llama-perplexity is measured."""
    reference = Candidate(source)
    candidates = [Candidate(quantized(source, name, folder)) for name in FILE_TYPES]
    candidates += [Candidate(source, *types) for types in CACHES]
    text = shipped_texts()[0]
    theirs = llama_perplexity(reference, candidates, text, folder)
    # llama-perplexity scores the second half of each context, and every whole context of the text.
    scoring = Scoring(n_threads=N_THREADS, n_first=256, least_tokens=10**6, most_tokens=10**6)
    same = measure_quality(reference, candidates, scoring, [text], cache=folder)
    if kept is None:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # whose children are this measurement's only
            report, peak_rss_bytes = pool.submit(scored, reference, candidates, folder).result()
        defaults = list(map(summary, report.qualities))
        kept = {
            "device": f"CPU, {os.cpu_count()} cores, {N_THREADS} threads",
            "floor": None if report.floor is None else asdict(report.floor),
            "peak_rss_bytes": peak_rss_bytes,
        }
    else:
        defaults = [row["default"] for row in kept["candidates"]]
    rows = [
        Row(words(each), each.path.stat().st_size, summary(ours), figures_of_tool, default)
        for each, ours, figures_of_tool, default in zip(candidates, same.qualities, theirs, defaults, strict=True)
    ]
    return kept | {"candidates": [asdict(row) for row in rows]}


def scored(reference: Candidate, candidates: list[Candidate], folder: Path) -> tuple[QualityReport, int]:
    """Measure all candidates as layertune does by default; return also the largest RSS of a process that scores."""
    report = measure_quality(reference, candidates, Scoring(n_threads=N_THREADS), cache=folder)
    kept = folder / f"{reference.path.stem}.peak"
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    peak_bytes = max(peak_bytes, int(kept.read_text()) if kept.exists() else 0)
    kept.write_text(str(peak_bytes))
    return report, peak_bytes


def quantized(source: Path, file_type: str, folder: Path) -> Path:
    path = folder / f"{source.stem}.{file_type}.gguf"
    if not path.exists():
        quantize(Order(source, (file_type,), path), lambda _n_done, _n_total: None)
    return path


def words(candidate: Candidate) -> str:
    if (candidate.type_k, candidate.type_v) == ("f16", "f16"):
        return candidate.path.name.split(".")[-2]
    return f"cache {candidate.type_k}/{candidate.type_v}"


def summary(quality: Quality) -> dict[str, Any]:
    if not isinstance(quality, FileQuality):
        return {"unknown": quality.reason}
    divergence = quality.total.divergence
    if divergence is None:
        return {"unknown": quality.not_comparable}
    return {
        "kl_divergence": divergence.mean,
        "kl_standard_error": divergence.standard_error,
        "top1_agreement_percent": 100 * divergence.top1_agreement,
        "perplexity": quality.total.perplexity,
        "ln_ppl_change": divergence.ln_ppl_change,
        "is_visible": quality.is_visible,
        "n_tokens": quality.total.n_tokens,
        "duration_s": quality.duration_s,
        "kl_divergence_by_kind": {
            kind: each.divergence.mean for kind, each in quality.by_kind.items() if each.divergence is not None
        },
    }


def llama_perplexity(
    reference: Candidate, candidates: list[Candidate], text: Text, folder: Path
) -> list[dict[str, float]]:
    kept = folder / f"{reference.path.stem}.llama-perplexity.json"
    found: dict[str, dict[str, float]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    missing = [each for each in candidates if words(each) not in found]
    file, logits, part = folder / "text.txt", folder / f"{reference.path.stem}.logits", folder / "logits.part"
    file.write_text(text.content, encoding="utf-8")
    common = ["-f", file, "-c", "512", "-b", "512", "-ub", "128", "-t", str(N_THREADS), "-ngl", "0"]
    if missing and not logits.exists():
        command = [PERPLEXITY, "-m", reference.path, *common, "--kl-divergence-base", part]
        subprocess.run(command, check=True, capture_output=True)
        part.rename(logits)
    for candidate in missing:
        found[words(candidate)] = compared(candidate, [*common, "--kl-divergence-base", logits])
        kept.write_text(json.dumps(found), encoding="utf-8")
    logits.unlink(missing_ok=True)
    return [found[words(candidate)] for candidate in candidates]


def compared(candidate: Candidate, common: list[Any]) -> dict[str, float]:
    caches = ["-ctk", candidate.type_k, "-ctv", candidate.type_v]
    command = [PERPLEXITY, "-m", candidate.path, *common, *caches, "--kl-divergence"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: float(match[1]) for name, pattern in _THEIRS.items() if (match := re.search(pattern, output))}


def page(found: dict[str, Any]) -> list[str]:
    lines = ["# Quality: layertune next to llama-perplexity", ""]
    lines += ["Written by measure.py. Every candidate is compared with the file that it was made from.", ""]
    for model, values in found.items():
        lines += [f"## {model} ({values['device']})", "", "On the same tokens:", ""]
        lines += ["| candidate | KL divergence | llama-perplexity | ratio | same top token, % | llama-perplexity |"]
        lines[-1] += " PPL | llama-perplexity |"
        lines += ["|---|--:|--:|--:|--:|--:|--:|--:|", *map(compared_row, values["candidates"]), ""]
        lines += ["As layertune measures by default, on English, Korean and code:", ""]
        lines += [
            "| candidate | MiB | KL divergence | english | korean | code | same top token, % | visible | tokens | s |"
        ]
        lines += ["|---|--:|--:|--:|--:|--:|--:|---|--:|--:|", *map(default_row, values["candidates"]), ""]
        floor = values["floor"]["mean"] if values["floor"] else float("nan")
        lines += [
            f"Floor (the reference with physical batches of 32): {floor:.4f}. Peak RSS of the process that scores: "
            f"{values['peak_rss_bytes'] / 2**20:.0f} MiB. Other work ran on the machine, so the seconds are too many.",
            "",
        ]
    return lines[:-1]


def compared_row(row: dict[str, Any]) -> str:
    ours, theirs = row["same_tokens"], row["llama_perplexity"]
    return (
        f"| {row['candidate']} | {ours['kl_divergence']:.6f} ± {ours['kl_standard_error']:.6f} "
        f"| {theirs['kl_divergence']:.6f} ± {theirs['kl_standard_error']:.6f} "
        f"| {ours['kl_divergence'] / theirs['kl_divergence']:.4f} "
        f"| {ours['top1_agreement_percent']:.3f} | {theirs['top1_agreement_percent']:.3f} "
        f"| {ours['perplexity']:.4f} | {theirs['perplexity']:.4f} |"
    )


def default_row(row: dict[str, Any]) -> str:
    ours = row["default"]
    kinds = " | ".join(f"{ours['kl_divergence_by_kind'][kind]:.4f}" for kind in ("english", "korean", "code"))
    return (
        f"| {row['candidate']} | {row['file_bytes'] / 2**20:.0f} "
        f"| {ours['kl_divergence']:.4f} ± {ours['kl_standard_error']:.4f} | {kinds} "
        f"| {ours['top1_agreement_percent']:.1f} | {'yes' if ours['is_visible'] else 'no'} "
        f"| {ours['n_tokens']} | {ours['duration_s']:.0f} |"
    )


if __name__ == "__main__":
    main()
