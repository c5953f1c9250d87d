"""The whole page: one file that makes no network requests.

Its Content-Security-Policy allows the style and the script of this page by their hashes, and nothing else.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from importlib.resources import files
from string import Template

from layertune.memory import EngineMemory
from layertune.report.depth_section import depth_section
from layertune.report.explain_sections import steps_section, swap_section
from layertune.report.front_section import front_section
from layertune.report.history_section import history_section, trials_section
from layertune.report.importance_section import importance_section
from layertune.report.layers_section import layers_section
from layertune.report.markup import Html, count, escape, join, paragraph, size
from layertune.report.memory_section import memory_section
from layertune.report.noise_section import noise_section
from layertune.report.picks_section import exports_section, picks_section
from layertune.report.provenance_section import provenance_section
from layertune.report.quality_section import quality_section
from layertune.results.depth import measured_at_depth
from layertune.results.result import Result

_NO_MEMORY: Mapping[str, EngineMemory] = {}


def render_report(result: Result, memory: Mapping[str, EngineMemory] = _NO_MEMORY) -> str:
    """Return the report as HTML. The same result and memory give the same page.

    Args:
        result: the study's result, the source of every value but the planned bytes of some steps.
        memory: plans, by model, the steps of the picks that have no plan in the result.
    """
    sections = _sections(result, memory)
    style, script = _resource("page.css"), _resource("page.js")
    mark = " (EMULATED)" if _emulated(result) else ""
    badge = ' <span class="emulated">EMULATED</span>' if _emulated(result) else ""
    return Template(_resource("page.html")).substitute(
        title=escape(f"{result.study.name}{mark}: layertune report"),
        heading=f"{escape(result.study.name)}{badge}",
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        lead=_lead(result),
        contents=join(Html(f'<li><a href="#{name}">{title}</a></li>') for name, (title, _) in sections.items()),
        sections=join((render(result) for _, render in sections.values()), "\n"),
        footer=escape(
            f"layertune {result.study.layertune_version}; every value is from this study's result.json, rounded. "
            "Computed for this page: hypervolume, fits, steps, break-even, correlations, sums."
        ),
    )


def _sections(result: Result, memory: Mapping[str, EngineMemory]) -> dict[str, tuple[str, Callable[[Result], Html]]]:
    """Return the sections in order: anchor, title in the contents, and the function that renders it."""
    return {
        "picks": ("Picks", picks_section),
        "front": ("Front", front_section),
        **({"quality": ("Quality", quality_section)} if result.quality else {}),
        **({"depth": ("At depth", depth_section)} if any(measured_at_depth(result)) else {}),
        "memory": ("VRAM", memory_section),
        "layers": ("Layers", layers_section),
        "steps": ("Steps", partial(steps_section, memory=memory)),
        "swap": ("Swap", swap_section),
        "history": ("History", history_section),
        "importance": ("Importance", importance_section),
        "noise": ("Noise", noise_section),
        "exports": ("Exports", exports_section),
        "trials": ("All trials", trials_section),
        "provenance": ("Provenance", provenance_section),
    }


def _lead(result: Result) -> Html:
    device, limit = result.hardware.device, result.budget.capacity_bytes()
    memory = "" if device.vram_bytes is None else f", {size(device.vram_bytes, '/hardware/device/vram_bytes')}"
    budget = "no VRAM budget" if limit is None else f"budget {size(limit)}"
    models = ", ".join(f"{name} ({_files(result, name)})" for name in result.models)
    line = (
        f"<p>{escape(models)} on {escape(device.name)}{memory}; {escape(result.hardware.cpu.model)}; {budget}. "
        f"{count(len(result.pareto))} of {count(len(result.trials))} trials are on the front.</p>"
    )
    if not _emulated(result):
        return Html(line)
    words = "EMULATED: the speeds on this page are a processor's, not a GPU's. The bytes are llama.cpp's own."
    return Html(line + paragraph(words, "warning"))


def _files(result: Result, model: str) -> str:
    files = result.files.get(model)
    return result.models[model].file if not files else f"{len(files)} files: {', '.join(files)}"


def _emulated(result: Result) -> bool:
    return result.hardware.device.kind == "emulated"


def _resource(name: str) -> str:
    return files("layertune.report").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
