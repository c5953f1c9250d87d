"""layertune profile: this machine as a hardware profile."""

from pathlib import Path

from layertune.cli.console import as_json_text, say, show_file
from layertune.config import dump_hardware
from layertune.devices.host import this_machine
from layertune.devices.inspection import inspect
from layertune.study.hardware_info import hardware_info
from layertune.study.machine_profile import profile_of, profiled_device
from layertune.study.outputs import check_output, write_output


def run(device: str | None, output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        check_output(output, reads=[])
    inspection = inspect()
    target = profiled_device(device, inspection, say)
    profile = profile_of(target, hardware_info(target, this_machine()), inspection.build)
    text = as_json_text(profile.model_dump(mode="json", exclude_none=True)) if as_json else dump_hardware(profile)
    if output is None:
        show_file(text)
    else:
        write_output(output, text, reads=[])
        say(f"wrote {output}")
