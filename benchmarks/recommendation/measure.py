"""How good is the setting that `layertune recommend` chooses before anything is measured?

    python benchmarks/recommendation/measure.py

The recommendation is made for the recorded tables of benchmarks/search_efficiency, in which every setting was measured
(EMULATED). Its balanced score by the measured speeds is compared with that of the best setting of the table and of the
best baseline that fits. The tables do not hold the memory speed of the machine that recorded them, so the choice is
made with the rates of this machine and with three assumed ones. Writes recommendation.json and recommendation.md beside
this file. Needs the models of `make models`: their headers say which weights a token uses.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from layertune.devices.host import cpu_model
from layertune.devices.host_rates import HostRates, measure_host
from layertune.settings import SplitSettings
from layertune.space.baselines import baselines
from layertune.space.feasible import FeasibleSpace
from layertune.space.limits import Limits

sys.path.append(str(Path(__file__).resolve().parent.parent / "search_efficiency"))

from expected import ASSUMED, N_CARD_THREADS, expected_engines
from race import Field, cap_bytes, opened

HERE = Path(__file__).resolve().parent

# The cards of benchmarks/search_efficiency/measure.py; objectives do not matter here.
FIELDS = [
    Field("smollm2-gemma3", 1, 0.75, with_vram=False),
    Field("smollm2-gemma3", 1, 0.9, with_vram=False),
    Field("smollm2-gemma3", None, 0.75, with_vram=False),
    Field("gemma3-qwen05b", None, 0.5, with_vram=False),
    Field("gemma3-qwen05b", None, 0.75, with_vram=False),
]


def main() -> None:
    measured = measure_host([1, N_CARD_THREADS])
    hosts = {} if measured is None else {f"as measured here ({cpu_model()})": measured}
    hosts |= ASSUMED
    rows = [row(field, name, host) for name, host in hosts.items() for field in FIELDS]
    (HERE / "recommendation.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (HERE / "recommendation.md").write_text(report(rows), encoding="utf-8")
    print(report(rows))


def row(field: Field, name: str, host: HostRates) -> dict[str, Any]:
    """Return how good the recommendation is on one card, with these rates of the host."""
    table, truth = opened(field)
    capacity_bytes = cap_bytes(table, field.cap)
    limits = Limits((capacity_bytes,), 0, None, len(table.n_layers), dict.fromkeys(table.n_layers, 0))
    feasible = FeasibleSpace(table.space, table.planner, limits)
    engines = expected_engines(table, feasible, host)
    best = engines.best((), {})
    if best is None:
        raise SystemExit(f"nothing of {field.table} fits {capacity_bytes} bytes")
    rules = {
        each.name: truth.score(each.settings) / truth.best_score
        for each in baselines(table.space, table.planner, capacity_bytes, capacity_bytes)
        if each.settings is not None and not feasible.exceeded(each.settings)
    }
    expected, true = engines.expected(best).tokens_per_s, table.true_metrics(best).models
    return {
        "table": field.table,
        "n_threads": field.n_threads,
        "card_share": field.cap,
        "n_settings": truth.n_settings,
        "rates": name,
        "bytes_per_s": list(host.bytes_per_s),
        "flops_per_s": list(host.flops_per_s),
        "recommended": words(best),
        "score_of_best": truth.score(best) / truth.best_score,
        "baselines": rules,
        "expected_over_true": {model: expected[model] / true[model].tokens_per_s for model in expected},
    }


def words(settings: SplitSettings) -> str:
    return ", ".join(f"{name} {each.n_gpu_layers} layers -t {each.n_threads}" for name, each in settings.items())


def report(rows: list[dict[str, Any]]) -> str:
    lines = [
        "The recommended setting's balanced score by measured speeds, relative to the best setting of the table, next",
        "to the best baseline that fits. EMULATED. `expected / true` is the expected speed over the measured one.",
        "",
        "| rates | table | card | settings that fit | recommended | its score | best baseline | expected / true |",
        "|---|---|--:|--:|---|--:|---|---|",
    ]
    for each in rows:
        rule = max(each["baselines"], key=each["baselines"].get)
        threads = "" if each["n_threads"] is None else f", {each['n_threads']} thread"
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in each["expected_over_true"].items())
        lines.append(
            f"| {each['rates']} | {each['table']}{threads} | {each['card_share']:.0%} | {each['n_settings']} "
            f"| {each['recommended']} | {each['score_of_best']:.1%} | {rule} {each['baselines'][rule]:.1%} | {ratios} |"
        )
    least, ratios = (
        min(each["score_of_best"] for each in rows),
        [ratio for each in rows for ratio in each["expected_over_true"].values()],
    )
    lines += [
        "",
        f"Least score: {least:.1%}. Expected over true: median {median(ratios):.2f}, {min(ratios):.2f} to "
        f"{max(ratios):.2f}.",
        "",
        "These are five cards of two tables, of small models on one kind of machine. The width of a tie in the choice",
        "(0.1 %) was set on the same tables: with 1 % the least score of these was 94.3 %.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
