"""The two READMEs say the same, and what they print can be used."""

import re
from pathlib import Path

import pytest

from layertune.export import export_files
from layertune.results.result import read_result

ROOT = Path(__file__).parents[2]
BOTH = ("README.md", "README.ko.md")
NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fenced(name: str) -> list[list[str]]:
    """Return the lines of each fenced block, without comments."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL)
    return [[line.partition("  #")[0].rstrip() for line in block.splitlines()] for block in blocks]


def numbers(name: str) -> list[set[str]]:
    return [set(NUMBER.findall(line)) for line in text(name).splitlines() if line.startswith("|")]


def test_both_have_the_same_sections() -> None:
    english, korean = ([len(marks) for marks in re.findall(r"^(#+) ", text(name), re.MULTILINE)] for name in BOTH)
    assert english == korean


def test_both_have_the_same_commands() -> None:
    english, korean = (fenced(name) for name in BOTH)
    assert english[0] == ["make search", "make test"]
    assert english == korean


def test_the_rows_of_both_have_the_same_numbers() -> None:
    english, korean = (numbers(name) for name in BOTH)
    assert english == korean


@pytest.mark.parametrize("name", BOTH)
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text(name))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_compose_service_passes_on_every_variable_of_the_env_as_the_export_does() -> None:
    result = read_result(ROOT / "studies" / "demo-256mib")
    env = export_files(result, "env", "balanced")[".env"]
    exported = export_files(result, "compose", "balanced")["compose.yml"]
    pairs = re.findall(r'"--([\w-]+)"\n +- "[^"$]*\$\{(\w+):-', exported)
    [service] = (block for block in fenced("README.md") if block[0] == "services:")
    given = re.findall(r"--([\w-]+) \S*?\$\{(\w+)\}", "\n".join(service))
    assert {variable for _, variable in given} == set(re.findall(r"^(CHAT_\w+)=", env, re.MULTILINE))
    assert given == [pair for pair in pairs if pair[1].startswith("CHAT_")]
