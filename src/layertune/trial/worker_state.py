"""What a worker keeps from one trial to the next: the device, the weights on it, and what watches both."""

from collections.abc import Mapping, Sequence

from layertune.devices.host import n_usable_cores
from layertune.devices.host_conditions import Finding, oversubscription
from layertune.devices.host_watch import HostWatch
from layertune.devices.open_device import OpenDevice
from layertune.memory.buffers import BufferBytes
from layertune.trial.messages import TrialRequest
from layertune.trial.weight_cache import WeightCache, device_bytes
from layertune.units import MIB, format_bytes
from layertune.vram.probe_selection import open_probe, open_watch
from layertune.vram.readings import Reading
from layertune.vram.vram_report import VramReport

# What may be missing before it counts: CUDA hands memory out in granules of 2 MiB (cuMemGetAllocationGranularity).
_SLACK_BYTES = 2 * MIB

# Other programs' memory that changes by less is a desktop at rest; a model or a game takes hundreds of MiB.
_FOREIGN_BYTES = 16 * MIB


class WorkerState:
    """Opened for a worker's first trial and kept until the process ends."""

    def __init__(self, request: TrialRequest, device: OpenDevice, before: Sequence[Reading | None]) -> None:
        """`before` is what `baselines` gave before the device was opened."""
        self.device = device
        self.weights = WeightCache(device)
        self.probe = open_probe(request.target, device, request.ledger_descriptors, request.models[0].name, before)
        watches = map(open_watch, request.target.devices)
        self._gpu_watches = [watch for watch in watches if watch is not None]
        self._host_watch: HostWatch | None = None
        # What the device holds beside buffers: a driver's context, from the first look at it on.
        self._overhead_bytes: int | None = None

    def watch(self, request: TrialRequest) -> None:
        """Begin to look for what disturbs the clocks."""
        n_threads = max(sum(_threads(request).values()), sum(_card_threads(request).values()))
        self._host_watch = HostWatch(n_threads)
        self._host_watch.start()
        for watch in self._gpu_watches:
            watch.start()

    def findings(self, request: TrialRequest) -> list[Finding]:
        """Stop looking, and return what was found."""
        found = self._host_watch.stop() if self._host_watch is not None else []
        for watch in self._gpu_watches:
            found += watch.stop()
        if shared := oversubscription(_threads(request) | _card_threads(request), n_usable_cores()):
            found.append(Finding(shared, disturbs=False))
        return found

    def not_returned(self, used_bytes: int | None) -> str | None:
        """Say what is missing where the device holds more than the resident weights; None where it does not."""
        if used_bytes is None:
            return None
        beside_bytes = used_bytes - self.weights.device_bytes()
        if self._overhead_bytes is None:
            self._overhead_bytes = beside_bytes
        missing_bytes = beside_bytes - self._overhead_bytes
        return f"{format_bytes(missing_bytes)} did not come back" if missing_bytes > _SLACK_BYTES else None

    def can_stay(self, vram: VramReport | None, buffers: Mapping[str, Mapping[str, BufferBytes]]) -> bool:
        """Say whether the next trial's figures can be told from this one's.

        They cannot where the driver tells the whole device only: what other programs take in between would count as
        ours.
        """
        if vram is None:
            return True
        loaded_bytes, unloaded_bytes = vram.phases.get("load"), vram.phases.get("unload")
        if vram.scope == "device" or loaded_bytes is None or unloaded_bytes is None:
            return False
        self._overhead_bytes = loaded_bytes - sum(map(device_bytes, buffers.values()))
        return self.not_returned(unloaded_bytes) is None


def foreign_memory(vram: VramReport | None) -> list[Finding]:
    """Return what other programs took of the device during a trial."""
    if vram is None or vram.foreign_bytes is None or vram.foreign_bytes < _FOREIGN_BYTES:
        return []
    return [Finding(f"another program took {format_bytes(vram.foreign_bytes)} of the device", disturbs=True)]


def _threads(request: TrialRequest) -> dict[str, int]:
    return {task.name: task.settings.n_threads for task in request.models}


def _card_threads(request: TrialRequest) -> dict[str, int]:
    """Return those of an emulated card; of several, as many compute at once as there are models to keep them busy."""
    n_threads, n_cards = request.target.n_threads, len(request.target.devices)
    if n_threads is None:
        return {}
    name = "the emulated card" if n_cards == 1 else "the emulated cards"
    return {name: n_threads * min(n_cards, len(request.models))}
