"""A hardware profile of this machine: queried where the system reports it, else measured."""

from collections.abc import Callable

from layertune.config import DeviceChoice, HardwareProfile
from layertune.config.hardware_profile import Bandwidth, BuildProfile, DeviceProfile, HostProfile, Memory, PowerLimit
from layertune.devices.bandwidth import MeasuredBandwidth, device_bandwidth, host_read_bandwidth
from layertune.devices.host import battery, has_nvidia_card, power_source
from layertune.devices.inspection import Inspection
from layertune.devices.target import Target, resolve
from layertune.engine.build import BuildInfo
from layertune.engine.library import has_cuda
from layertune.errors import UsageError
from layertune.results.result import HardwareInfo

# Of the emulated card in a profile. A search gives it the cores that its models leave.
_EMULATED_N_THREADS = 2


def profiled_device(device: str | None, inspection: Inspection, notify: Callable[[str], None]) -> Target:
    """Return the device that `--device` names; without it the first GPU, or the CPU where there is none.

    Raises:
        UsageError: it is malformed, or names several devices.
        DeviceError, BuildError: the device is not here.
    """
    nvidia = has_nvidia_card()
    if device is None and not inspection.gpus and not nvidia:
        notify("llama.cpp sees no GPU here: this is the profile of the CPU alone")
        device = "cpu"
    try:
        choice = DeviceChoice.parse(device or "auto")
    except ValueError as error:
        raise UsageError(f"--device: {error}") from error
    if choice.n_devices > 1:
        raise UsageError(f"--device {device}: a profile is of one device", remedy="write one profile of each")
    return resolve(
        choice,
        _EMULATED_N_THREADS,
        gpus=inspection.gpus,
        has_rpc=inspection.build.supports_rpc,
        has_cuda=has_cuda(),
        nvidia=nvidia,
    )


def profile_of(target: Target, hardware: HardwareInfo, build: BuildInfo) -> HardwareProfile:
    """Return the profile; what cannot be measured here is left out."""
    return HardwareProfile(
        name=f"{target.kind}-{hardware.fingerprint}",
        fingerprint=hardware.fingerprint,
        device=_device(target, hardware),
        host=HostProfile(
            cpu=hardware.cpu.model,
            n_cores=hardware.cpu.n_cores,
            ram=Memory(size=hardware.ram_bytes, source="the operating system"),
            bandwidth=_bandwidth(host_read_bandwidth()),
            power=power_source(battery()),
        ),
        llama_cpp=BuildProfile(
            version=build.version,
            commit=build.commit,
            llama_cpp_python=build.llama_cpp_python,
            flags=build.system_info,
            rpc=build.supports_rpc,
        ),
    )


def _device(target: Target, hardware: HardwareInfo) -> DeviceProfile:
    vram = None
    if target.vram_bytes is not None:
        source = "chosen with --device" if target.kind == "emulated" else "the driver, through llama.cpp's backend"
        vram = Memory(size=target.vram_bytes, source=source)
    # An emulated card computes in the host's memory, and the CPU has no other: neither has a bandwidth of its own.
    measured = device_bandwidth(target.gpu_index) if target.gpu_index is not None else None
    return DeviceProfile(
        kind=target.kind,
        name=target.name,
        driver=hardware.device.driver,
        vram=vram,
        bandwidth=_bandwidth(measured),
        power_limit=_power_limit(target),
        n_threads=target.n_threads,
    )


def _power_limit(target: Target) -> PowerLimit | None:
    if target.kind != "gpu" or target.pci_bus_id is None:
        return None
    from layertune.vram.nvml import power_limit_w

    watts = power_limit_w(target.pci_bus_id)
    return None if watts is None else PowerLimit(watts=watts, source="NVML, the enforced power limit")


def _bandwidth(measured: MeasuredBandwidth | None) -> Bandwidth | None:
    if measured is None:
        return None
    return Bandwidth(
        bytes_per_s=round(measured.bytes_per_s), source=f"measured: {measured.how()}", n_threads=measured.n_threads
    )
