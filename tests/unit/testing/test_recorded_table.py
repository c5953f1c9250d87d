import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from layertune.errors import ResultFileError
from layertune.settings import SplitSettings
from layertune.space.search_space import Dimension
from layertune.testing import ReplayRunner, load_table
from layertune.testing.recorded_table import Cell, RecordedTable, save_table
from layertune.trial.effort import Effort
from layertune.trial.outcome import Measured
from layertune.units import MIB
from small_table import N_GENERATE, N_PROMPT, table

TABLE = table()


def split(chat: int, code: int) -> SplitSettings:
    return TABLE.space.smallest().with_layers("chat", chat).with_layers("code", code)


def test_a_table_is_what_was_saved(tmp_path: Path) -> None:
    for each in (TABLE, table(loads=(1.0, 1.1), repeats=(1.0, 0.9, 1.2))):
        save_table(each, tmp_path / "tables" / "small.json.gz")
        assert load_table(tmp_path / "tables" / "small.json.gz") == each


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        save_table(table(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"{}", "not a whole .json.gz"),
        (gzip.compress(b"{}")[:-4], "not a whole .json.gz"),
        (gzip.compress(b"[3"), "not a recorded table"),
        (gzip.compress(b"{}"), "not a recorded table: name: "),
    ],
    ids=["no file", "not compressed", "cut off", "no JSON", "another JSON"],  # a compressed file has the time in it
)
def test_what_is_no_table_is_told_with_the_remedy(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "t.json.gz").write_bytes(content)
    with pytest.raises(ResultFileError, match=says) as caught:
        load_table(tmp_path / "t.json.gz")
    assert "record.py" in str(caught.value)


@pytest.mark.parametrize("lacking", ["cells", "plans"])
def test_a_table_that_lacks_an_engine_of_its_space_is_refused(tmp_path: Path, lacking: str) -> None:
    save_table(TABLE, tmp_path / "t.json.gz")
    data = json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))
    if lacking == "cells":
        data["cells"] = [each for each in data["cells"] if each["models"]["code"]["settings"]["n_gpu_layers"] != 2]
    else:
        data["plans"]["code"] = data["plans"]["code"][1:]
    (tmp_path / "t.json.gz").write_bytes(gzip.compress(json.dumps(data).encode()))
    with pytest.raises(ResultFileError, match="lacks 1 engines of its space, code EngineSettings"):
        load_table(tmp_path / "t.json.gz")


def test_the_true_value_of_an_engine_is_the_median_of_all_its_cells() -> None:
    # Three loads in factor cells, and two joint cells: the median is the middle of five.
    found = table(loads=(0.8, 1.0, 1.2), joint=1.1).true_metrics(split(5, 2))
    assert found.models["chat"].tg_tokens_per_s == pytest.approx(1.1 * 15)
    assert found.models["code"].pp_tokens_per_s == pytest.approx(1.1 * 120)


def test_true_metrics_follow_from_the_phases_and_the_plan() -> None:
    found = TABLE.true_metrics(split(5, 2))
    assert found.peak_bytes == 70 * MIB
    chat = found.models["chat"]
    assert chat.ttft_s == pytest.approx(N_PROMPT / 150)
    assert chat.tokens_per_s == pytest.approx(N_GENERATE / (N_PROMPT / 150 + N_GENERATE / 15))


def test_settings_count_as_the_engines_that_llama_cpp_runs() -> None:
    written = split(31, 19)
    larger = SplitSettings.of({name: replace(engine, n_gpu_layers=99, n_ctx=200) for name, engine in written.items()})
    assert TABLE.true_metrics(larger) == TABLE.true_metrics(written)


def test_an_engine_that_no_cell_ran_has_no_figures() -> None:
    with pytest.raises(KeyError):
        TABLE.true_metrics(split(6, 2))


def test_the_space_and_the_plan_are_those_of_the_recorded_study() -> None:
    assert isinstance(TABLE, RecordedTable)
    assert TABLE.space.n_settings() == 9
    plan = TABLE.planner.plan(split(5, 19))
    assert (plan.device_bytes, plan.host_bytes, plan.needed_bytes) == (240 * MIB, 2 * MIB + 2048, 240 * MIB)
    assert TABLE.missing() == []


def test_a_model_may_have_several_files() -> None:
    files = ("A.gguf", "B.gguf")

    def cells(file: str) -> Iterator[Cell]:
        for cell in TABLE.cells:
            chat = cell.models["chat"]
            yield replace(
                cell, models=cell.models | {"chat": replace(chat, settings=replace(chat.settings, file=file))}
            )

    chat_plans = [
        replace(each, settings=replace(each.settings, file=file)) for file in files for each in TABLE.plans["chat"]
    ]
    both = replace(
        TABLE,
        n_layers={"chat/A.gguf": 30, "chat/B.gguf": 30, "code": 18},
        dimensions=(Dimension("chat", "file", files), *TABLE.dimensions),
        plans=TABLE.plans | {"chat": tuple(chat_plans)},
        cells=tuple(cell for file in files for cell in cells(file)),
    )
    assert both.models == ("chat", "code")
    assert both.missing() == []
    other = both.space.with_file(both.space.smallest().with_layers("chat", 31), "chat", "B.gguf")
    assert isinstance(ReplayRunner(both, both.peak_bytes(other)).run(other, Effort(1, 1, 0.0)), Measured)
    assert replace(both, cells=tuple(cells("A.gguf"))).missing()
