"""What is shipped with the package, and what a first visitor of the repository finds."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import layertune
from layertune.cli.main import app
from layertune.results.result import Result

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
STUDY = str(ROOT / "studies" / "demo-256mib")
JSON_COMMANDS = {
    "pareto": ["pareto", STUDY, "--json"],
    "compare": ["compare", STUDY, STUDY, "--json"],
    "export --explain": ["export", STUDY, "--explain", "--json"],
    "doctor": ["doctor", "--json"],
    "profile": ["profile", "--device", "cpu", "--json"],
    "hardware": ["hardware", "--json"],
}


def test_the_wheel_has_the_configs_and_the_schemas() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["configs"] == "layertune/configs"
    schemas = {Path(source) for source in included if source.endswith(".json")}
    assert schemas == {path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.schema.json")}


def test_the_licence_is_the_one_of_the_project() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "END OF TERMS AND CONDITIONS" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_citation_has_the_version_and_the_address_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == layertune.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Repository"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_the_issue_templates_are_yaml_and_ask_for_the_doctor_s_output(path: Path) -> None:
    template = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem != "config":
        assert {"name", "description", "body"} <= template.keys()
        assert "layertune doctor --json" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", JSON_COMMANDS)
def test_every_document_has_a_version_and_each_of_its_keys_is_documented(command: str) -> None:
    answer = CliRunner().invoke(app, JSON_COMMANDS[command], catch_exceptions=False)
    document = json.loads(answer.stdout)
    assert document.pop("schema_version") == 1
    [row] = [line for line in documented() if line.startswith(f"| `{command}` |")]
    assert [key for key in document if f"`{key}`" not in row] == []


def documented() -> list[str]:
    return (ROOT / "docs" / "json.md").read_text(encoding="utf-8").splitlines()


def test_the_schema_of_a_result_has_every_key_of_the_recorded_studies_and_promises_compatibility() -> None:
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "result.schema.json").read_text(encoding="utf-8"))
    assert "never removed" in schema["description"]
    for path in sorted((ROOT / "studies").glob("*/result.json")):
        assert json.loads(path.read_text(encoding="utf-8")).keys() <= schema["properties"].keys(), path
    assert schema["properties"].keys() == Result.model_fields.keys()
