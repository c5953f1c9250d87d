"""How fast this machine's host and devices are: probed within a second, or from a hardware profile."""

from dataclasses import dataclass

from layertune.devices.bandwidth import device_bandwidth
from layertune.devices.host_rates import HostRates, measure_host
from layertune.devices.target import Target
from layertune.space.search_space import THREAD_FIELDS, SearchSpace
from layertune.study.bandwidth_model import DeviceRate, MachineRates
from layertune.study.bandwidths import is_measured, known_bandwidths


@dataclass(frozen=True, slots=True)
class FoundRates:
    """The machine's rates, None where one of them is not known, and for people where each is from."""

    rates: MachineRates | None
    how: tuple[str, ...]


def find_rates(space: SearchSpace, target: Target) -> FoundRates:
    """Measure the host with the study's numbers of threads, and find the devices' bandwidths.

    Args:
        space: Names the numbers of threads.
        target: The devices.
    """
    counts = [n for each in space.dimensions if each.field in THREAD_FIELDS for n in each.values if n is not None]
    host = measure_host([*counts, *([target.n_threads] if target.n_threads else [])])
    if host is None:
        return FoundRates(None, ("host: its memory could not be measured",))
    # One process for all: what one number of threads reads is what the next is compared with.
    how = [f"host: {_told(host, n)}, measured" for n in dict.fromkeys(sorted(counts)[:1] + sorted(counts)[-1:])]
    devices: list[DeviceRate] = []
    for device in target.devices:
        rate, words = _device(device, host)
        how.append(f"{device.name}: {words}")
        if rate is not None:
            devices.append(rate)
    how = list(dict.fromkeys(how))
    if len(devices) < len(target.devices):
        return FoundRates(None, tuple(how))
    return FoundRates(MachineRates(host, tuple(devices), target.kind == "gpu"), tuple(how))


def _device(device: Target, host: HostRates) -> tuple[DeviceRate | None, str]:
    if device.n_threads is not None:  # an emulated card computes in the host's memory
        rate = DeviceRate(host.reads(device.n_threads), host.computes(device.n_threads))
        return rate, f"{_told(host, device.n_threads)} of this CPU, measured"
    if known := known_bandwidths(device.name, device.vram_bytes):
        best = max(known, key=is_measured)
        return DeviceRate(best.bytes_per_s), f"{best.bytes_per_s / 1e9:.0f} GB/s ({best.source})"
    measured = None if device.gpu_index is None else device_bandwidth(device.gpu_index)
    if measured is None:
        return None, "its bandwidth is not known; no hardware profile has it, and it could not be measured"
    return DeviceRate(measured.bytes_per_s), f"{measured.bytes_per_s / 1e9:.0f} GB/s (measured: {measured.how()})"


def _told(host: HostRates, n_threads: int) -> str:
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return f"{host.reads(n_threads) / 1e9:.1f} GB/s and {host.computes(n_threads) / 1e9:.0f} GFLOP/s with {threads}"
