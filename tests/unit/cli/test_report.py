"""layertune report and the plot of layertune pareto, as commands."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from finished_study import result
from layertune.cli.main import app
from layertune.errors import UsageError
from layertune.report import render_report
from layertune.results.result import write_result


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_result(result(), tmp_path / "result.json")
    return tmp_path


def test_the_page_goes_where_it_is_told_to(study: Path) -> None:
    CliRunner().invoke(app, ["report", str(study), "-o", str(study / "mine.html")], catch_exceptions=False)
    assert (study / "mine.html").read_text(encoding="utf-8") == render_report(result())


@pytest.mark.parametrize("name", [".", "result.json"])
def test_else_it_goes_beside_the_result(study: Path, name: str) -> None:
    answer = CliRunner().invoke(app, ["report", str(study / name)], catch_exceptions=False)
    assert answer.stdout == ""
    assert (study / "report.html").is_file()


def test_a_folder_that_is_not_there_is_a_sentence(study: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        CliRunner().invoke(app, ["report", str(study), "-o", str(study / "no" / "x.html")], catch_exceptions=False)


def test_the_front_is_drawn_where_it_is_asked_for_and_never_among_json(study: Path) -> None:
    def printed(*options: str) -> str:
        return CliRunner().invoke(app, ["pareto", str(study), *options], catch_exceptions=False).stdout

    assert "│" not in printed()
    assert "│" in printed("--plot")
    assert "│" not in printed("--plot", "--json")
