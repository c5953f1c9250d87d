"""Speeds at half and full context."""

from layertune.report.markup import Html, count, duration, escape, paragraph, pointer, section, table
from layertune.report.source import pick_names, sources, speed_unit
from layertune.results.depth import DEPTHS, measured_at_depth
from layertune.results.result import Result

_MEANING = (
    "A turn is the workload: its prompt, then its answer. It begins with an empty context, at half of a slot's "
    "context, or so that it ends at full context. All other speeds on this page are with an empty context."
)


def depth_section(result: Result) -> Html:
    unit = speed_unit(result)
    headings = ["trial", "pick", "model", "context of a slot"]
    headings += [f"{what}, {depth}, {unit}" for what in ("prompt", "generation") for depth, _, _ in DEPTHS]
    by_number = {source.trial.number: source for source in sources(result)}
    rows = []
    for trial, model in measured_at_depth(result):
        source = by_number[trial.number]
        metrics = (trial.metrics or {})[model]
        rows.append(
            [
                source.number(),
                escape(", ".join(pick_names(result, trial.number)) or "–"),
                escape(model),
                count(trial.settings[model].n_ctx_slot),
                *(source.speed(model, prompt) for _, prompt, _ in DEPTHS),
                *(source.speed(model, generation) for _, _, generation in DEPTHS),
                duration(metrics["turn_s"].median, source.at + pointer("metrics", model, "turn_s", "median")),
            ]
        )
    headings.append("a turn at half context")
    return section("depth", "At depth", paragraph(_MEANING), table("Speeds at depth", headings, rows))
