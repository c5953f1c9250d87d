"""The fake NVIDIA driver for tests: compiled here, and asked by a child process through the real pynvml."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from layertune.devices.host_conditions import Finding
from layertune.vram.vram_report import VramReport

HERE = Path(__file__).parent
REPORT = TypeAdapter(VramReport)

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, GPU_IS_LOST, UNKNOWN = 3, 4, 6, 9, 15, 999

# A card with something on its display, and nothing else.
CARD: dict[str, Any] = {
    "total": 6000,
    "reserved": 300,
    "used": 100,
    "clock": 2000,
    "max_clock": 2370,
    "limit": 80_000,
}


def compiler() -> str | None:
    """Return a C compiler for the fake driver, None where none is or where there is no LD_LIBRARY_PATH."""
    if sys.platform != "linux":
        return None
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


class Machine:
    """A machine with the driver that is in `folder`, or none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def with_driver(cls, cc: str, folder: Path, *, old: bool = False) -> "Machine":
        """Compile a driver; an `old` one lacks the newer functions."""
        library = folder / "libnvidia-ml.so.1"
        options = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *(["-DOLD_DRIVER"] if old else [])]
        subprocess.run([cc, *options, "-o", str(library), str(HERE / "fake_nvml.c")], check=True)
        return cls(folder)

    def probe(self, *steps: Sequence[Any], **control: Any) -> list[Any]:
        """Open a probe where the driver begins with `control`, call it as `steps` say; return what it answered: a
        report, a number, or a DeviceError's sentence."""
        said = self._ask("probe", steps, control)
        return [REPORT.validate_python(answer) if isinstance(answer, dict) else answer for answer in said]

    def trial(self, *steps: Sequence[Any], **control: Any) -> VramReport:
        """Return the report of one trial, from start to stop, with `steps` in it."""
        [report] = self.probe(["start"], *steps, ["stop"], **control)
        assert isinstance(report, VramReport), report
        return report

    def watch(self, *steps: Sequence[Any], host_pids: bool | None = True, **control: Any) -> list[list[Finding]]:
        """Return what a watch found at each stop. With `host_pids` None it is the one that a worker opens."""
        said = self._ask("watch", steps, control, host_pids=host_pids)
        return [[Finding(text, disturbs) for text, disturbs in found] for found in said]

    def ask(self, what: str, **control: Any) -> Any:
        return self._ask(what, (), control)

    def _ask(self, what: str, steps: Sequence[Sequence[Any]], control: dict[str, Any], **task: Any) -> Any:
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self._folder),
            "FAKE_NVML": str(self._folder / "control"),
            "PYTHONWARNINGS": "error,ignore::ResourceWarning",  # llama-cpp-python leaves files open
        }
        asked = {"what": what, "steps": steps, "control": {**CARD, **control}, **task}
        answer = subprocess.run(
            [sys.executable, str(HERE / "child.py")],
            input=json.dumps(asked),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        assert not answer.stderr, answer.stderr
        return json.loads(answer.stdout)
