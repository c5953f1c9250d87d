"""Write docs/configuration.md and the JSON schemas: of the study config, for editors, and of result.json.

python scripts/config_docs.py [--check]      --check only says whether both are current
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from layertune.config import ModelConfig, ModelSpace, StudyConfig, Workload
from layertune.results.result import Result
from layertune.units import GIB, MAX_SIZE_BYTES

_NONE = "–"  # no number
DOCS = Path(__file__).resolve().parent.parent / "docs"
TABLES: list[tuple[str, type[BaseModel]]] = [
    ("The top of the file", StudyConfig),
    ("[models.NAME]", ModelConfig),
    ("[models.NAME.workload]", Workload),
    ("[models.NAME.space]", ModelSpace),
    *(  # a key without a description is a table of its own
        (f"[{name}]", field.annotation)
        for name, field in StudyConfig.model_fields.items()
        if field.description is None and field.annotation is not None
    ),
]
INTRODUCTION = """\
# The study config

A TOML file; `layertune init` writes one with comments, and `configs/studies/` has examples. Every key except
`models.NAME.path` (or `files`) has a default. Sizes are written like `6GiB`, `6141MiB` (binary) or `6GB` (decimal),
durations like `30m`, `90s` or `1.5h`. Unknown keys are errors. Options of `layertune search` override the file;
`--set MODEL.KEY=VALUE` fixes one key of `[models.MODEL.space]`.

In `[models.NAME.space]` a value fixes a dimension and a list searches it; `n_gpu_layers` also takes a range,
`{ min = 0, max = "all", step = 1 }`. Layers are counted as llama.cpp counts them: 0 is none, 1 is the output layer
only, `"all"` is every repeating layer and the output layer (999 means the same). With `space = "auto"` under
`[models.NAME]`, or without a space, layertune [chooses what to search](searching.md#what-is-searched-by-itself).

Objectives are `MODEL.tokens_per_s`, `MODEL.tokens_per_s_together`, `MODEL.pp_tokens_per_s`, `MODEL.tg_tokens_per_s`,
`MODEL.tg_tokens_per_s_full` and `MODEL.n_ctx` (all maximised), `MODEL.ttft_s`, `MODEL.tpot_s`, `MODEL.turn_s` and
`vram.peak_bytes` (minimised). For `turn_s` and `tg_tokens_per_s_full` every trial fills the model's context.

This page is written by `python scripts/config_docs.py` from the config's own definitions, as is
`study.schema.json`, which editors use for completion.
"""


RESULT = {
    "title": "result.json of layertune, schema version 1",
    "description": "Within schema version 1 keys are added, never removed or given another meaning. Readers ignore "
    "keys that they do not know.",
}


def main() -> int:
    schemas = {"study": StudyConfig.model_json_schema(), "result": Result.model_json_schema() | RESULT}
    files = {
        **{DOCS / f"{name}.schema.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()},
        DOCS / "configuration.md": INTRODUCTION + "".join(section(title, table) for title, table in TABLES),
    }
    if "--check" not in sys.argv:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if stale:
        print(f"out of date: {', '.join(stale)}; run python scripts/config_docs.py")
    return len(stale)


def section(title: str, table: type[BaseModel]) -> str:
    rows = "".join(f"| {' | '.join(cells)} |\n" for cells in keys(table))
    return f"\n## {title}\n\n| key | default | range | meaning |\n|---|---|---|---|\n{rows}"


def keys(table: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    properties = table.model_json_schema()["properties"]
    for name, field in table.model_fields.items():
        if field.description is None:
            continue  # one of TABLES
        default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
        yield f"`{name}`", default, allowed(properties[name]), field.description


def allowed(schema: dict[str, Any]) -> str:
    """Return the range of a number, or of the numbers in a list or a table, as the schema has it."""
    if "maximum" in schema and "string" in schema["type"]:
        unit, size = ("GiB", GIB) if schema["maximum"] == MAX_SIZE_BYTES else ("h", 3600)
        return f"0 to {schema['maximum'] // size:.0f}{unit}"
    if "maximum" in schema:
        return f"{schema['minimum']:g} to {schema['maximum']:.12g}"
    parts = [
        schema.get("items"),
        schema.get("additionalProperties"),
        *schema.get("anyOf", ()),
        *schema.get("oneOf", ()),
    ]
    return next((found for part in parts if isinstance(part, dict) and (found := allowed(part)) != _NONE), _NONE)


def shown(default: Any) -> str:
    if default is None:
        return "–"
    if isinstance(default, BaseModel):
        return "`{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in default.model_dump().items()) + " }`"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    sys.exit(main())
