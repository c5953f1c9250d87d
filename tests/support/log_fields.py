"""What llama.cpp says in its log of the contexts and buffers that it makes, field by field."""

import re
from collections.abc import Sequence

from layertune.engine.buffer_log import read_flash_attention
from layertune.settings import FlashAttention

_MODEL = "llama_model_loader: loaded meta data"
_FIELD = re.compile(r"llama_context: (?P<field>\w+)\s+= (?P<value>\S+)\s*$")
_BUFFER = re.compile(r"(?P<device>\S+)\s+(?P<kind>model|KV|RS|compute|output) buffer size\s*=\s*(?P<mib>\d+\.\d+) MiB")
_THREADS = re.compile(r"system_info: n_threads = (?P<n_threads>\d+) (\(n_threads_batch = (?P<n_batch>\d+)\))?")
_RPC_DEVICE = re.compile(r"RPC\d+\[[^\]]+\]")


def by_model(lines: Sequence[str]) -> list[list[str]]:
    """Return the lines of each model, in the order in which they were loaded."""
    starts = [place for place, line in enumerate(lines) if _MODEL in line]
    return [list(lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def context_fields(lines: Sequence[str], asked: FlashAttention) -> dict[str, str]:
    """Return every field of a model's context; of flash attention what it became, which "auto" does not say."""
    fields = {match["field"]: match["value"] for line in lines if (match := _FIELD.search(line))}
    return fields | {"flash_attn": str(read_flash_attention(lines, asked))}


def threads(lines: Sequence[str]) -> tuple[int, int]:
    """Return the threads for tokens and those for prompts, as llama-server says them when it starts."""
    (found,) = (match for line in lines if (match := _THREADS.search(line)))
    n_threads = int(found["n_threads"])
    return n_threads, n_threads if found["n_batch"] is None else int(found["n_batch"])


def buffer_sizes(lines: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Return the sizes in MiB as they are written, by kind and device; an RPC server's device is one whatever its
    number and port. Compute buffers may be reserved again, and the last counts; of other kinds there may be several."""
    sizes: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        match = _BUFFER.search(line)
        if match is not None:
            key = match["kind"], _RPC_DEVICE.sub("RPC", match["device"])
            sizes[key] = [match["mib"]] if match["kind"] == "compute" else [*sizes.get(key, []), match["mib"]]
    return sizes
