"""layertune estimate --scenario: someone's own estimates next to the plan."""

from dataclasses import asdict
from pathlib import Path

from layertune.cli.console import show_json
from layertune.config.scenario import load_scenarios
from layertune.study.scenarios import judge


def run(path: Path, *, as_json: bool) -> None:
    config = load_scenarios(path)
    scenarios, sizes = judge(config, path.parent)
    if as_json:
        report = {
            "device": config.device,
            "scenarios": [
                {
                    **asdict(each),
                    "spare_bytes": each.spare_bytes,
                    "spare_with_overhead_bytes": each.spare_with_overhead_bytes,
                }
                for each in scenarios
            ],
            "files": [asdict(each) for each in sizes],
        }
        show_json(report)
        return
    from layertune.cli.scenario_table import print_scenarios  # the JSON needs no rich

    print_scenarios(config, scenarios, sizes)
