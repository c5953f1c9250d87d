"""The record as Markdown: the checklist with its evidence, the speeds, and the memory."""

from collections.abc import Iterable, Iterator

from layertune.text import markdown_text
from layertune.units import format_bytes, format_duration
from layertune.verify.record import Check, Memory, SpeedComparison, Verification
from layertune.verify.requests import Percentiles, Phase

_MARKS = {"passed": "[x]", "failed": "[ ] **failed:**", "not checked": "[ ] *not checked:*"}
_MS = 1000


def render_markdown(found: Verification) -> str:
    subject, load = found.subject, found.load
    lines = [
        f"# Verification of {markdown_text(subject.study)}",
        "",
        f"**{'PASSED' if found.passed else 'FAILED'}**" + ("" if found.passed else ":"),
        *([""] if found.failed() else []),
        *(f"- {_reason(check)}" for check in found.failed()),
        "",
        *_head(found),
        "",
        "## Checklist",
        "",
        *(f"- {_MARKS[check.state]} {markdown_text(f'{check.what}: {check.evidence}')}" for check in found.checks),
        "",
    ]
    if found.compared:
        lines += ["## Compared with the study", "", *_comparison(found.compared), *_meanwhile(found, "comparison"), ""]
    for phase in found.phases:
        if phase.name in ("load test", "soak"):
            title = "Load test" if phase.name == "load test" else f"Soak of {format_duration(load.duration_s)}"
            lines += [f"## {title}", "", *_phase(phase), *_meanwhile(found, phase.name), ""]
    if found.memory is not None:
        lines += ["## Memory", "", *_memory(found.memory), ""]
    return "\n".join(lines)


def _reason(check: Check) -> str:
    return markdown_text(f"{check.what}: {check.evidence}" + ("" if check.advice is None else f"; {check.advice}"))


def _head(found: Verification) -> Iterator[str]:
    subject, load = found.subject, found.load
    yield f"- {found.started} UTC, layertune {markdown_text(found.layertune_version)}"
    trial = "no trial of the study has these settings" if subject.trial is None else f"those of trial {subject.trial}"
    yield f"- settings: {trial} (study of {markdown_text(subject.created)})"
    for name, engine in subject.settings.items():
        values = ", ".join(f"{key} = {value}" for key, value in engine.as_dict().items())
        n_prompt, n_generate = load.workload[name]
        yield f"    - {markdown_text(f'{name}: {values}')}; asked {n_prompt} prompt + {n_generate} generated tokens"
    yield f"- device: {markdown_text(subject.device)}"
    if subject.emulated:
        yield "- **EMULATED**: the speeds are this CPU's, not a GPU's; the bytes are llama.cpp's own"
    yield f"- server: {markdown_text(subject.server)}{_builds(found)}"
    for sentence in subject.untaken:
        yield f"- **not as measured**, this server has no option for {markdown_text(sentence)}"
    yield (
        f"- load: {load.n_streams} streams to each model, each sending its next request when its last is answered; "
        "prompts of real text in Korean, English and code, no two alike, prompt cache off"
    )


def _builds(found: Verification) -> str:
    builds = sorted(set(found.subject.builds.values()))
    if not builds:
        return ""
    measured = found.subject.measured_build.removesuffix("-dirty")  # the build had local changes
    other = (
        ""
        if all(measured in build for build in builds)
        else f"; **another build than the measured one**, {markdown_text(measured)}"
    )
    return f", llama.cpp {markdown_text(', '.join(builds))}{other}"


def _comparison(rows: Iterable[SpeedComparison]) -> Iterator[str]:
    yield "Tokens/s of the workload, n / (TTFT + n · TPOT) of each request, over HTTP. The study had no server."
    yield ""
    yield "| model | | here (median, range) | requests | study (median, 95 %) | here / study |"
    yield "|---|---|--:|--:|--:|--:|"
    for row in rows:
        here = f"{row.here:.2f} ({min(row.rates):.2f} – {max(row.rates):.2f})"
        study, ratio = "not measured", ""
        if row.study is not None:
            low, high = row.study.low, row.study.high
            interval = "" if low is None or high is None else f" ({low:.2f} – {high:.2f})"
            study, ratio = f"{row.study.median:.2f}{interval}", f"{row.here / row.study.median:.2f}"
        yield f"| {markdown_text(row.model)} | {row.how} | {here} | {len(row.rates)} | {study} | {ratio} |"


def _meanwhile(found: Verification, phase: str) -> Iterator[str]:
    for sentence in found.meanwhile.get(phase, ()):
        yield ""
        yield f"Meanwhile, {markdown_text(sentence)}."


def _phase(phase: Phase) -> Iterator[str]:
    wall = format_duration(phase.wall_s)
    yield f"{phase.n_streams} streams to each model, {wall} until the last answer. TTFT includes the wait for a slot."
    yield "Total tokens/s: until that model's own last answer."
    yield ""
    yield "| model | answered | failed | total tokens/s | TTFT p50 / p95 / p99, s | TPOT p50 / p95 / p99, ms |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in phase.outcomes:
        each = phase.stats(name)
        rate = f"{each.throughput_tokens_per_s:.2f}"
        ttft, tpot = _percentiles(each.ttft_s, 1, 2), _percentiles(each.tpot_s, _MS, 0)
        yield f"| {markdown_text(name)} | {each.n_answered} | {each.n_failed} | {rate} | {ttft} | {tpot} |"


def _percentiles(found: Percentiles | None, scale: float, digits: int) -> str:
    if found is None:
        return ""
    return " / ".join(f"{value * scale:.{digits}f}" for value in (found.p50, found.p95, found.p99))


def _memory(memory: Memory) -> Iterator[str]:
    by = markdown_text(f"{memory.source} ({memory.scope})")
    yield f"Reported by {by}, above the {format_bytes(memory.before_bytes)} that other programs held before."
    yield ""
    yield "| when | VRAM in use |"
    yield "|---|--:|"
    for name, n_bytes in memory.after_bytes.items():
        yield f"| after {markdown_text(name)} has started | {format_bytes(n_bytes)} |"
    for when, peak_bytes in (
        ("peak of the load test", memory.load_peak_bytes),
        ("peak of the soak", memory.soak_peak_bytes),
    ):
        if peak_bytes is not None:
            yield f"| {when} | {format_bytes(peak_bytes)} |"
    if memory.drift is not None:
        sign = "−" if memory.drift.moved_bytes < 0 else "+"
        yield f"| drift over the soak, last quarter − first | {sign}{format_bytes(abs(memory.drift.moved_bytes))} |"
    if memory.left_bytes is not None:
        yield f"| after the servers have ended | {format_bytes(memory.left_bytes)} |"
