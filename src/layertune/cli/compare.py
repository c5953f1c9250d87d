"""layertune compare: studies side by side, as tables on standard output, as Markdown, or as JSON."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layertune.cli.console import show, show_heading, show_json, show_table
from layertune.compare import StudyComparison, compare_studies
from layertune.compare.text_tables import pair_lines, remarks, text_tables
from layertune.errors import UsageError
from layertune.prediction.prediction_file import is_prediction, load_prediction
from layertune.regular_files import is_folder, is_there
from layertune.results.result import FILE_NAME, Result, parse_result, read_result
from layertune.text import markdown_text


def run(studies: Sequence[Path], *, storage: str | None, as_json: bool, as_markdown: bool) -> None:
    """Print the comparison. A study that is no file or folder is looked up by name in the shared `storage`."""
    if len(studies) < 2:
        raise UsageError("one study has nothing to be compared with", remedy="give two study folders or more")
    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two outputs", remedy="choose one")
    named = list(zip(labels(studies), studies, strict=True))
    predictions = [(label, load_prediction(path)) for label, path in named if is_prediction(path)]
    measured = [(label, _result(path, storage)) for label, path in named if label not in dict(predictions)]
    if not measured:
        raise UsageError("only predictions are given", remedy="give a measured study to compare them with")
    compared = compare_studies(measured, predictions)
    if as_json:
        show_json(asdict(compared, dict_factory=_told))
    elif as_markdown:
        show(*markdown(compared).removesuffix("\n").split("\n"), wrap=False)
    else:
        print_comparison(compared)


def labels(studies: Sequence[Path]) -> list[str]:
    """Return a short, distinct name for each study: that of its folder or file, numbered where two are equal."""
    names = [_name(Path(os.path.realpath(path))) for path in studies]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: at + 1].count(name)})" for at, name in enumerate(names)
    ]


def print_comparison(compared: StudyComparison) -> None:
    for each in text_tables(compared):
        show("")
        show_table(each)
    for pair in compared.pairs:
        show("")
        show_heading(f"{pair.first} → {pair.other}")
        show(*pair_lines(pair))
    show("", *remarks(compared))


def markdown(compared: StudyComparison) -> str:
    parts = []
    for each in text_tables(compared):
        headings = [heading for column in each.columns for heading in column.heading]
        lines = [_row(headings), "|" + "---|" * len(headings), *map(_row, each.rows)]
        parts.append(f"### {markdown_text(each.title)}\n\n" + "\n".join(lines))
    for pair in compared.pairs:
        heading = f"### {markdown_text(pair.first)} → {markdown_text(pair.other)}"
        parts.append("\n\n".join([heading, *map(markdown_text, pair_lines(pair))]))
    return "\n\n".join([*parts, *map(markdown_text, remarks(compared))]) + "\n"


def _result(path: Path, storage: str | None) -> Result:
    if storage is None or is_there(path):
        return read_result(path)
    from layertune.search.storage import stored_result

    return parse_result(stored_result(storage, path.as_posix()), f"{path.as_posix()} in the storage")


def _name(path: Path) -> str:
    if path.name == FILE_NAME:
        return path.parent.name
    return path.stem if path.suffix == ".json" and not is_folder(path) else path.name


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"


def _told(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """With one device tensor_split is no setting, and no key."""
    return {name: value for name, value in fields if name != "tensor_split" or value}
