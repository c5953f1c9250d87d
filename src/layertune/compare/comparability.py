"""Whether studies can be compared at all, and what is unlike about the machines of those that can."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layertune.errors import UnlikeStudies
from layertune.prediction import Prediction
from layertune.results.result import DeviceInfo, Result
from layertune.units import GIB, format_bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same on the other study's machine."""

    what: str
    first: str
    other: str


def refuse_unlike(first_label: str, first: Result, label: str, other: Result | Prediction) -> None:
    """Raises UnlikeStudies where the two measured other models or workloads: their speeds say nothing of each other."""
    why = next(_unlike(first, other), None)
    if why is not None:
        raise UnlikeStudies(
            f"{first_label} and {label} cannot be compared: {why}",
            remedy="compare studies of the same model files and workload",
        )


def hardware_differences(first: Result, other: Result) -> list[Difference]:
    """Return in what the machines and their llama.cpp differ; empty where both are the same."""
    pairs = zip(_facts(first), _facts(other), strict=True)
    return [Difference(what, mine, theirs) for (what, mine), (_, theirs) in pairs if mine != theirs]


def _unlike(first: Result, other: Result | Prediction) -> Iterator[str]:
    if set(first.models) != set(other.models):
        yield f"the models are {', '.join(first.models)} and {', '.join(other.models)}"
        return
    for name, model in first.models.items():
        if model.sha256 != other.models[name].sha256:
            hashes = f"{model.sha256[:12]}… and {other.models[name].sha256[:12]}…"
            yield f"{name} is another file ({model.file} and {other.models[name].file}, sha256 {hashes})"
    for name, load in first.workload.items():
        theirs = other.workload[name]
        if load != theirs:
            yield (
                f"{name}'s workload is {load.n_prompt} prompt + {load.n_generate} generated tokens "
                f"and {theirs.n_prompt} + {theirs.n_generate}"
            )


def _facts(result: Result) -> Sequence[tuple[str, str]]:
    hardware, llama_cpp = result.hardware, result.study.llama_cpp
    device = hardware.device
    return (
        ("device", f"{device.name}{' (EMULATED)' if device.kind == 'emulated' else ''}"),
        ("device memory", "none" if device.vram_bytes is None else format_bytes(device.vram_bytes)),
        ("threads of the emulation", _threads(device)),
        ("driver", device.driver or "none"),
        ("processor", hardware.cpu.model),
        ("cores", str(hardware.cpu.n_cores)),
        ("RAM", f"{hardware.ram_bytes // GIB} GiB"),  # as the fingerprint: what the kernel keeps of it varies
        ("llama.cpp", f"{llama_cpp.version} ({llama_cpp.commit})"),
    )


def _threads(device: DeviceInfo) -> str:
    if device.kind != "emulated":
        return "none"
    return "not recorded" if device.n_threads is None else str(device.n_threads)
