"""layertune estimate --scenario: a user's own estimates next to the plan."""

from dataclasses import asdict
from pathlib import Path

from layertune.cli.console import show_json, show_tables
from layertune.config.scenario_file import load_scenarios
from layertune.study.scenario_tables import scenario_tables
from layertune.study.scenarios import judge


def run(path: Path, *, as_json: bool) -> None:
    config = load_scenarios(path)
    scenarios, sizes = judge(config, path.parent)
    if as_json:
        judged = [each.as_json() for each in scenarios]
        show_json({"device": config.device, "scenarios": judged, "files": [asdict(each) for each in sizes]})
    else:
        show_tables(*scenario_tables(config, scenarios, sizes))
