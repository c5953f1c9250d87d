"""The two READMEs say the same."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def rows(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def test_every_figure_in_a_korean_table_is_one_of_the_english_tables() -> None:
    english = set(NUMBER.findall("\n".join(rows("README.md"))))
    measured = [line for line in rows("README.ko.md") if "MiB" in line]
    assert measured
    for line in measured:
        assert set(NUMBER.findall(line)) <= english, line


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
