"""This machine and a device, as result.json and a hardware profile name them."""

from hashlib import sha256

from layertune.devices.host import Machine
from layertune.devices.target import Target
from layertune.results.result import CpuInfo, DeviceInfo, HardwareInfo
from layertune.units import GIB


def hardware_info(target: Target, machine: Machine) -> HardwareInfo:
    """Return both with their fingerprint, which two studies share that were made on the same hardware."""
    driver = None
    if target.kind == "gpu":
        from layertune.vram.nvml import driver_version

        driver = driver_version()
    device = DeviceInfo(
        kind=target.kind, name=target.name, vram_bytes=target.vram_bytes, driver=driver, n_threads=target.n_threads
    )
    cpu = CpuInfo(model=machine.cpu_model, n_cores=machine.n_cores)
    marks = f"{device!r} {cpu!r} {target.n_threads} {machine.ram_bytes // GIB}"
    return HardwareInfo(
        fingerprint=sha256(marks.encode()).hexdigest()[:16], device=device, cpu=cpu, ram_bytes=machine.ram_bytes
    )
