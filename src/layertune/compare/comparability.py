"""Whether two studies can be compared, and how their machines differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layertune.errors import UnlikeStudies
from layertune.prediction import Prediction
from layertune.results.result import DeviceInfo, Result
from layertune.results.study_info import GENERATION_WORDS
from layertune.units import GIB, format_bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that differs between the machines of two studies."""

    what: str
    first: str
    other: str


def refuse_unlike(first_label: str, first: Result, label: str, other: Result | Prediction) -> None:
    """Raises UnlikeStudies if the two measured different models or workloads, since their speeds are not comparable."""
    why = next(_unlike(first, other), None)
    if why is not None:
        raise UnlikeStudies(
            f"{first_label} and {label} cannot be compared: {why}",
            remedy="compare studies of the same model files and workload, measured by the same layertune",
        )


def hardware_differences(first: Result, other: Result) -> list[Difference]:
    """Return the differences of the machines and their llama.cpp; empty if there are none."""
    pairs = zip(_facts(first), _facts(other), strict=True)
    return [Difference(what, mine, theirs) for (what, mine), (_, theirs) in pairs if mine != theirs]


def _unlike(first: Result, other: Result | Prediction) -> Iterator[str]:
    if set(first.models) != set(other.models):
        yield f"the models are {', '.join(first.models)} and {', '.join(other.models)}"
        return
    for name, model in first.models.items():
        if not _digests(first, name) & _digests(other, name):
            hashes = f"{model.sha256[:12]}… and {other.models[name].sha256[:12]}…"
            yield f"{name} is another file ({model.file} and {other.models[name].file}, sha256 {hashes})"
    mine, theirs = (GENERATION_WORDS[each.study.generation] for each in (first, other))
    if mine != theirs:
        yield f"a generated token is {mine} in the first, and {theirs} in the other"
    for name, load in first.workload.items():
        their_load = other.workload[name]
        if load != their_load:
            yield f"{name}'s workload is {load.words} and {their_load.words}"


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
        (
            "RAM",
            f"{hardware.ram_bytes // GIB} GiB",
        ),  # in GiB, as in the fingerprint: the part that the kernel reserves varies
        ("llama.cpp", f"{llama_cpp.version} ({llama_cpp.commit})"),
    )


def _threads(device: DeviceInfo) -> str:
    if device.kind != "emulated":
        return "none"
    return "not recorded" if device.n_threads is None else str(device.n_threads)


def _digests(of: Result | Prediction, name: str) -> set[str]:
    files = of.files.get(name, {}) if isinstance(of, Result) else {}
    return {model.sha256 for model in (of.models[name], *files.values())}
