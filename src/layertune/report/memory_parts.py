"""What a trial's peak on the device is made of."""

from dataclasses import dataclass

from layertune.memory import HOST
from layertune.report.markup import Html, join
from layertune.report.numbers import pointer, size
from layertune.report.source import Source
from layertune.results.trial_info import BufferInfo


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """Some of the peak: `kind` is weights, kv, compute or overhead, `model` is empty for what no model holds.

    `figures` is the part as it stands in the table, with the places of result.json it is the sum of.
    """

    kind: str
    model: str
    n_bytes: int
    figures: Html


def memory_parts(source: Source) -> list[MemoryPart] | None:
    """Return llama.cpp's own buffers on the device by model, and what the peak has beyond them; None where result.json
    lacks either."""
    trial = source.trial
    if trial.vram is None or trial.buffers is None:
        return None
    parts = [
        _part(kind, model, source, fields)
        for kind, fields in (
            ("weights", ("weights_bytes",)),
            ("kv", ("kv_bytes",)),
            ("compute", ("compute_bytes", "output_bytes")),
        )
        for model in trial.settings
    ]
    overhead_bytes = trial.vram.unaccounted_bytes
    at = source.at + "/vram/unaccounted_bytes"
    if overhead_bytes is None:
        overhead_bytes, at = trial.vram.peak_bytes - sum(part.n_bytes for part in parts), ""
    return [*parts, MemoryPart("overhead", "", overhead_bytes, size(overhead_bytes, at))]


def _part(kind: str, model: str, source: Source, fields: tuple[str, ...]) -> MemoryPart:
    figures = [
        (getattr(held, field), source.at + pointer("buffers", model, device, field))
        for device, held in _on_device(source, model)
        for field in fields
    ]
    shown = [each for each in figures if each[0] > 0] or figures[:1]
    text = join([size(n_bytes, at) for n_bytes, at in shown], " + ") if shown else size(0)
    return MemoryPart(kind, model, sum(n_bytes for n_bytes, _ in figures), text)


def _on_device(source: Source, model: str) -> list[tuple[str, BufferInfo]]:
    held = (source.trial.buffers or {}).get(model, {})
    return [(device, buffers) for device, buffers in held.items() if device != HOST]
