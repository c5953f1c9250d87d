"""This machine and a device, as result.json and a hardware profile name them."""

import re
from hashlib import sha256

from layertune.devices.host import Machine
from layertune.devices.target import Target
from layertune.results.result import CpuInfo, DeviceInfo, HardwareInfo
from layertune.results.study_info import GPU_NAME, GpuInfo
from layertune.units import GIB


def hardware_info(target: Target, machine: Machine) -> HardwareInfo:
    """Return both with their fingerprint, which two studies share that were made on the same hardware."""
    driver, gpus = None, None
    if target.kind == "gpu":
        from layertune.vram.nvml import driver_version

        driver, gpus = driver_version(), _gpus(target)
    device = DeviceInfo(
        kind=target.kind,
        name=target.name,
        vram_bytes=target.vram_bytes,
        driver=driver,
        n_threads=target.n_threads,
        backend=_plain(target.backend),
        gpus=gpus,
    )
    cpu = CpuInfo(model=machine.cpu_model, n_cores=machine.n_cores)
    marks = f"{device!r} {cpu!r} {target.n_threads} {machine.ram_bytes // GIB}"
    return HardwareInfo(
        fingerprint=sha256(marks.encode()).hexdigest()[:16], device=device, cpu=cpu, ram_bytes=machine.ram_bytes
    )


def _gpus(target: Target) -> list[GpuInfo] | None:
    """Return the GPUs by name, None if one has a name that no export could hold."""
    from layertune.vram.nvml import card_index

    found = []
    for each in target.devices:
        name = _plain(each.llama_cpp_name)
        if name is None:
            return None
        index = None if each.pci_bus_id is None else card_index(each.pci_bus_id)
        found.append(GpuInfo(device=name, nvidia_index=index))
    return found or None


def _plain(name: str | None) -> str | None:
    return name if name is not None and re.fullmatch(GPU_NAME, name) else None
