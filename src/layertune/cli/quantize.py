"""layertune quantize"""

from dataclasses import asdict
from pathlib import Path

from layertune.cli.console import LiveLine, say, show_json
from layertune.cli.signals import end_as_ctrl_c
from layertune.errors import Interrupted
from layertune.models.quantization import find_types
from layertune.study.quantized import PlannedFile, QuantizationPlan, WrittenFile, plan_quantization
from layertune.units import format_bytes


def run(source: Path, types: str, folder: Path | None, imatrix: Path | None, *, overwrite: bool, as_json: bool) -> None:
    end_as_ctrl_c()
    try:
        plan = plan_quantization(source, find_types(types), folder, imatrix, overwrite=overwrite)
        if plan.requantized_from is not None:
            say(f"{source} is {plan.requantized_from}: requantized files lose more than files from F16, BF16 or F32")
        written = [_write(plan, planned) for planned in plan.files]
    except KeyboardInterrupt as interrupt:
        raise Interrupted("interrupted: files that were complete are kept, the others were not written") from interrupt
    if as_json:
        show_json({"files": [asdict(each) for each in written]})


def _write(plan: QuantizationPlan, planned: PlannedFile) -> WrittenFile:
    say(f"{planned.path.name}: {format_bytes(planned.file_bytes)}, to be written")
    live = LiveLine(f"{planned.mixture.file_type}, tensor", len(planned.mixture.tensor_types), 0)
    live.start()
    try:
        written = plan.write(planned, live.advance)
    finally:
        live.stop()
    say(str(written))
    return written
