"""layertune doctor: what this machine can do, and the commands that fix what it cannot."""

from dataclasses import asdict

from layertune.cli.console import show, show_json
from layertune.devices.host import has_nvidia_card, this_machine
from layertune.devices.inspection import inspect
from layertune.study.findings import findings
from layertune.vram.nvml import driver_version


def run(*, as_json: bool) -> None:
    machine, inspection = this_machine(), inspect()
    found = findings(machine, inspection, driver_version(), nvidia=has_nvidia_card())
    if as_json:
        report = {"machine": asdict(machine), **asdict(inspection), "findings": [asdict(each) for each in found]}
        show_json(report)
        return
    for each in found:
        show(f"{'ok' if each.good else 'no':>4}  {each.what}: {each.detail}", wrap=False)
        if each.remedy is not None:
            show(f"      {each.remedy}", wrap=False)
