"""layertune compare: studies side by side, as tables on standard output, as Markdown, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from layertune.cli.compare_sheets import Sheet, pair_lines, remarks, sheets
from layertune.cli.console import open_console
from layertune.compare import StudiesCompared, compare_studies
from layertune.errors import UsageError
from layertune.prediction.prediction import is_prediction, load_prediction
from layertune.results.result import FILE_NAME, Result, load_result, parse_result


def run(studies: Sequence[Path], *, storage: str | None, as_json: bool, as_markdown: bool) -> None:
    """What is not here as a file or a folder is looked for in the shared `storage`, by its name."""
    if len(studies) < 2:
        raise UsageError("one study has nothing to be compared with", remedy="give two study folders or more")
    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two outputs", remedy="choose one")
    named = list(zip(labels(studies), studies, strict=True))
    predictions = [(label, load_prediction(path)) for label, path in named if is_prediction(path)]
    measured = [(label, _result(path, storage)) for label, path in named if label not in dict(predictions)]
    if not measured:
        raise UsageError("only predictions are given", remedy="give a measured study to hold them against")
    compared = compare_studies(measured, predictions)
    if as_json:
        typer.echo(json.dumps(asdict(compared, dict_factory=_told), indent=1))
    elif as_markdown:
        typer.echo(markdown(compared), nl=False)
    else:
        print_comparison(compared)


def labels(studies: Sequence[Path]) -> list[str]:
    """Return short names that tell the studies apart: folders' and files' names, numbered where two are the same."""
    names = [_name(path.resolve()) for path in studies]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: at + 1].count(name)})" for at, name in enumerate(names)
    ]


def print_comparison(compared: StudiesCompared) -> None:
    console = open_console()
    for sheet in sheets(compared):
        console.print(_table(sheet))
    for pair in compared.pairs:
        console.print(Text(f"\n{pair.first} → {pair.other}", style="bold"))
        for line in pair_lines(pair):
            console.print(Text(line))
    console.print(Text("\n" + "\n".join(remarks(compared))))


def markdown(compared: StudiesCompared) -> str:
    parts = []
    for sheet in sheets(compared):
        lines = [_row(sheet.headings), "|" + "---|" * len(sheet.headings), *map(_row, sheet.rows)]
        parts.append(f"### {sheet.title}\n\n" + "\n".join(lines))
    parts += [f"### {pair.first} → {pair.other}\n\n" + "\n\n".join(pair_lines(pair)) for pair in compared.pairs]
    return "\n\n".join([*parts, *remarks(compared)]) + "\n"


def _result(path: Path, storage: str | None) -> Result:
    if storage is None or path.exists():
        return load_result(path)
    from layertune.search.storage import read_result

    return parse_result(read_result(storage, path.as_posix()), f"{path.as_posix()} in the storage")


def _name(path: Path) -> str:
    if path.name == FILE_NAME:
        return path.parent.name
    return path.stem if path.suffix == ".json" and not path.is_dir() else path.name


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(sheet: Sheet) -> Table:
    table = Table(title=Text(f"\n{sheet.title}"), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in sheet.headings:
        table.add_column(Text(heading), overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def _told(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """With one device tensor_split is no setting, and no key."""
    return {name: value for name, value in fields if name != "tensor_split" or value}
