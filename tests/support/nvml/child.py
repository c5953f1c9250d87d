"""A process that goes through the real pynvml and the fake driver: `python child.py`, a task in JSON on its input.

It has its own process because pynvml keeps the library that it has once loaded.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PCI_BUS_ID = "0000:01:00.0"

Step = list[Any]


class Control:
    """The fake driver's file. A value is a number or, for lines that may repeat, a list; None takes the key out."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._values: dict[str, Any] = {}

    def set(self, values: dict[str, Any]) -> None:
        self._values.update(values)
        lines = [
            f"{key} {line}"
            for key, value in self._values.items()
            for line in (value if isinstance(value, list) else [value])
            if value is not None
        ]
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        new.replace(self._path)  # the driver reads while we write


class HostMemory:
    """A device for llama.cpp's own values: its CPU backend, which reports this machine's memory."""

    def devices(self, model: str) -> list[int]:
        from layertune.engine import ggml, library

        library.load()
        return [ggml.cpu_device()]

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


def probe(control: Control, steps: list[Step]) -> list[Any]:
    from layertune.devices.target import Target
    from layertune.vram.probe_selection import open_probe, read_before_opening

    gpu = Target("gpu", "GPU", pci_bus_id=PCI_BUS_ID)
    before = read_before_opening(gpu)
    if steps and steps[0][0] == "context":  # what the driver reports once the device is open
        control.set(*steps.pop(0)[1:])
    opened = open_probe(gpu, HostMemory(), (), "model", before)
    assert opened is not None
    said: list[Any] = []
    for name, *arguments in steps:
        if name == "set":
            control.set(*arguments)
        elif name == "sleep":
            time.sleep(*arguments)
        else:
            said.append(answer_to(partial(getattr(opened, name), *arguments)))
    return [answer for answer in said if answer is not None]


def answer_to(ask: Callable[[], Any]) -> Any:
    from pydantic import TypeAdapter

    from layertune.errors import DeviceError
    from layertune.vram.vram_report import VramReport

    try:
        answer = ask()
    except DeviceError as error:
        return str(error)
    if isinstance(answer, VramReport):
        return TypeAdapter(VramReport).dump_python(answer, mode="json")
    return answer


def watch(control: Control, steps: list[Step], *, host_pids: bool | None) -> list[Any]:
    from layertune.devices.target import Target
    from layertune.vram.nvml import open_card
    from layertune.vram.nvml_watch import NvmlWatch
    from layertune.vram.probe_selection import open_watch

    if host_pids is None:
        opened = open_watch(Target("gpu", "GPU", pci_bus_id=PCI_BUS_ID))
    else:
        opened = NvmlWatch(open_card(PCI_BUS_ID), host_pids=host_pids, interval_s=0.02)
    assert opened is not None
    said: list[Any] = []
    for name, *arguments in steps:
        if name == "set":
            control.set(*arguments)
        elif name == "sleep":
            time.sleep(*arguments)
        elif name == "start":
            opened.start()
        elif name == "stop":
            said.append([[finding.text, finding.disturbs] for finding in opened.stop()])
    return said


def main() -> None:
    task = json.load(sys.stdin)
    control = Control(os.environ["FAKE_NVML"])
    control.set(task["control"])
    if task["what"] == "probe":
        said: Any = probe(control, task["steps"])
    elif task["what"] == "watch":
        said = watch(control, task["steps"], host_pids=task["host_pids"])
    elif task["what"] == "driver_version":
        from layertune.vram.nvml import driver_version

        said = driver_version()
    elif task["what"] == "power_limit_w":
        from layertune.vram.nvml import power_limit_w

        said = power_limit_w(PCI_BUS_ID)
    elif task["what"] == "free_bytes":
        from layertune.devices.target import Target
        from layertune.vram.probe_selection import free_bytes

        said = free_bytes(Target("gpu", "GPU", pci_bus_id=PCI_BUS_ID, free_bytes=77))
    elif task["what"] == "watch opened":
        from layertune.devices.target import Target
        from layertune.vram.probe_selection import open_watch

        said = open_watch(Target("gpu", "GPU", pci_bus_id=PCI_BUS_ID)) is not None
    else:
        import layertune.vram.probe_selection  # noqa: F401

        loaded = "libnvidia-ml" in Path("/proc/self/maps").read_text(encoding="utf-8")
        said = {"libnvidia-ml loaded": loaded, "pynvml imported": "pynvml" in sys.modules}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
