"""A file that a person has saved with a byte order mark, as editors on Windows do, is read as without it."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finished_study import result
from layertune.config import find_hardware, load_config
from layertune.config.env_file import load_env
from layertune.config.scenario_file import load_scenarios
from layertune.prediction.prediction_file import is_prediction
from layertune.results.result import read_result, write_result

ROOT = Path(__file__).parents[2]

FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "study.toml": ((ROOT / "configs/studies/demo.toml").read_text(encoding="utf-8"), load_config),
    "rtx.toml": (
        (ROOT / "configs/hardware/rtx-4060.toml").read_text(encoding="utf-8"),
        lambda path: find_hardware(str(path)),
    ),
    "scenario.toml": ((ROOT / "configs/scenarios/worksheet.toml").read_text(encoding="utf-8"), load_scenarios),
    ".env": ((ROOT / "studies/demo-256mib/.env").read_text(encoding="utf-8"), load_env),
    "prediction.json": (json.dumps({"predicted": True}), is_prediction),
}


@pytest.mark.parametrize("name", FILES)
def test_a_byte_order_mark_is_no_part_of_a_file(name: str, tmp_path: Path) -> None:
    text, load = FILES[name]
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    plain = load(file)
    file.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert load(file) == plain
    assert plain


def test_a_result_that_an_editor_has_saved_is_read(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_result(result(), file)
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert read_result(tmp_path) == result()
