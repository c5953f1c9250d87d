"""layertune doctor: what this machine can do, and the commands that fix what it cannot."""

from dataclasses import asdict

from layertune.cli.console import show, show_json
from layertune.devices.cores import this_cores
from layertune.devices.host import has_nvidia_card, this_machine
from layertune.devices.inspection import inspect
from layertune.engine.library import has_cuda
from layertune.study.findings import findings
from layertune.vram.nvml import driver_version


def run(*, as_json: bool) -> None:
    machine, cores, inspection = this_machine(), this_cores(), inspect()
    found = findings(machine, cores, inspection, driver_version(), nvidia=has_nvidia_card(), has_cuda=has_cuda())
    if as_json:
        described = {"machine": {**asdict(machine), **asdict(cores)}, **asdict(inspection)}
        show_json({**described, "findings": [asdict(each) for each in found]})
        return
    for each in found:
        show(f"{'ok' if each.good else 'no':>4}  {each.what}: {each.detail}", wrap=False)
        if each.remedy is not None:
            show(f"      {each.remedy}", wrap=False)
