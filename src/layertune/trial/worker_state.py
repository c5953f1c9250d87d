"""What a worker keeps from one trial to the next: the device, the weights on it, the probe and the watches."""

from collections.abc import Mapping, Sequence

from layertune.devices.host_conditions import Finding
from layertune.devices.host_watch import HostWatch
from layertune.devices.open_device import OpenDevice
from layertune.memory.buffers import BufferBytes
from layertune.trial.messages import TrialRequest
from layertune.trial.threads_at_once import most_threads, oversubscribed
from layertune.trial.weight_cache import WeightCache, device_bytes
from layertune.units import MIB, format_bytes
from layertune.vram.probe_selection import open_probe, open_watch
from layertune.vram.readings import Reading
from layertune.vram.vram_report import VramReport

# Missing memory is tolerated up to CUDA's allocation granularity of 2 MiB (cuMemGetAllocationGranularity).
_SLACK_BYTES = 2 * MIB

# An idle desktop's memory changes by less than this; a model or a game takes hundreds of MiB.
_FOREIGN_BYTES = 16 * MIB


class WorkerState:
    """Created for a worker's first trial and kept until the process ends.

    Attributes:
        device: The opened devices.
        weights: The weights that are loaded.
        probe: Reads the memory of the devices; None on a CPU.
    """

    def __init__(self, request: TrialRequest, device: OpenDevice, before: Sequence[Reading | None]) -> None:
        """`before` is the result of `read_before_opening`, from before the device was opened."""
        self.device = device
        self.weights = WeightCache(device)
        self.probe = open_probe(request.target, device, request.ledger_descriptors, request.models[0].name, before)
        watches = map(open_watch, request.target.devices)
        self._gpu_watches = [watch for watch in watches if watch is not None]
        self._host_watch: HostWatch | None = None
        # In use on the device apart from buffers, such as a driver's context; None before the first reading.
        self._overhead_bytes: int | None = None

    def watch(self, request: TrialRequest) -> None:
        """Start watching for disturbances of the measurement."""
        self._host_watch = HostWatch(most_threads(request))
        self._host_watch.start()
        for watch in self._gpu_watches:
            watch.start()

    def findings(self, request: TrialRequest) -> list[Finding]:
        """Stop watching and return the findings."""
        found = self._host_watch.stop() if self._host_watch is not None else []
        for watch in self._gpu_watches:
            found += watch.stop()
        if shared := oversubscribed(request):
            found.append(Finding(shared, disturbs=False))
        return found

    def not_returned(self, used_bytes: int | None) -> str | None:
        """Return a sentence fragment if memory was not returned to the device, otherwise None.

        Args:
            used_bytes: In use on the device while only the kept weights are loaded; None if it could not be read.
        """
        if used_bytes is None:
            return None
        other_bytes = used_bytes - self.weights.device_bytes()
        if self._overhead_bytes is None:
            self._overhead_bytes = other_bytes
        missing_bytes = other_bytes - self._overhead_bytes
        return (
            f"{format_bytes(missing_bytes)} were not returned to the device" if missing_bytes > _SLACK_BYTES else None
        )

    def can_stay(self, vram: VramReport | None, buffers: Mapping[str, Mapping[str, BufferBytes]]) -> bool:
        """Return whether this worker can also run the next trial.

        It cannot if memory was not returned, or if the driver reports only the whole device: memory that other programs
        take between trials would then count as the trial's.

        Args:
            vram: The probe's report of the trial, None on a CPU.
            buffers: By model and device, the sizes of the trial's buffers.
        """
        if vram is None:
            return True
        loaded_bytes, unloaded_bytes = vram.phases.get("load"), vram.phases.get("unload")
        if vram.scope == "device" or loaded_bytes is None or unloaded_bytes is None:
            return False
        self._overhead_bytes = loaded_bytes - sum(map(device_bytes, buffers.values()))
        return self.not_returned(unloaded_bytes) is None


def foreign_memory(vram: VramReport | None) -> list[Finding]:
    """Return a finding if other programs took memory of the device during a trial."""
    if vram is None or vram.foreign_bytes is None or vram.foreign_bytes < _FOREIGN_BYTES:
        return []
    return [Finding(f"another program took {format_bytes(vram.foreign_bytes)} of the device", disturbs=True)]
