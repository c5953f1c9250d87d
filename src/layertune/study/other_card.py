"""The card of a prediction, and how a study's times change on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layertune.config import HardwareProfile
from layertune.config.hardware_profile import Bandwidth
from layertune.errors import UsageError
from layertune.memory import GPU
from layertune.models import ModelShape
from layertune.prediction import Calibration, DeviceChange, between_cards, between_threads
from layertune.prediction.prediction_file import CardInfo
from layertune.results.result import DeviceInfo
from layertune.study.bandwidths import is_as_large, is_measured, known_bandwidths
from layertune.study.calibrated import Recorded

_NOTHING = "nothing: an emulated card of another size computes on the same processor"


@dataclass(frozen=True, slots=True)
class Scaled:
    """How each model's times change (`changes`; empty: not at all), and the reason as a sentence (`how`)."""

    changes: Mapping[str, DeviceChange]
    how: str


def card_of(recorded: Recorded, profile: HardwareProfile) -> CardInfo:
    """Return the card that a profile describes.

    Raises:
        UsageError: it is of another kind than the study's, or the profile has no memory size.
    """
    device, measured = profile.device, recorded.result.hardware.device
    if device.kind == "cpu":
        raise UsageError(f"{profile.name} is a CPU: there is no card to predict", remedy="give the profile of a card")
    if device.kind != measured.kind:
        raise UsageError(
            f"the study's device was {_kind(measured.kind)} and {profile.name} is {_kind(device.kind)}: how fast the "
            "one is says nothing of the other",
            remedy=f"give a study of {_kind(device.kind)}, or the profile of {_kind(measured.kind)}",
        )
    if device.vram is None:
        raise UsageError(
            f"{profile.name} does not say how much memory the card has", remedy="add [device.vram] with its source"
        )
    n_threads = None
    if device.kind == "emulated":
        n_threads = recorded.config.emulated.n_threads if device.n_threads is None else device.n_threads
    return CardInfo(
        profile=profile.name, kind=device.kind, name=device.name, vram_bytes=device.vram.size, n_threads=n_threads
    )


def scale(
    recorded: Recorded,
    calibration: Calibration,
    shapes: Mapping[str, ModelShape],
    card: CardInfo,
    bandwidth: Bandwidth | None,
    folder: Path | None = None,
) -> Scaled:
    """Return how the study's times change on the card.

    Args:
        bandwidth: the card's memory bandwidth; None where its profile has none.
        folder: the user's own hardware profiles, as in `profile_files`; the study's own card is looked up there, too.

    Raises:
        UsageError: a bandwidth that this needs is not known.
    """
    if card.kind == "emulated":
        n_before = recorded.config.emulated.n_threads
        if card.n_threads is None or n_before is None or card.n_threads == n_before:
            return Scaled({}, _NOTHING)
        return _other_threads(recorded, n_before, card.n_threads)
    device = recorded.result.hardware.device
    if device.name == card.name and is_as_large(device.vram_bytes, card.vram_bytes):
        return Scaled({}, "nothing: it is the same card")
    if bandwidth is None:
        raise UsageError(
            f"{card.profile} does not say how fast the card's memory is",
            remedy="add [device.bandwidth] with its source",
        )
    return _other_card(calibration, shapes, _own_bandwidth(device, bandwidth, folder), bandwidth)


def _other_threads(recorded: Recorded, n_before: int, n_threads: int) -> Scaled:
    change = between_threads(n_before / n_threads)
    how = (
        f"the device's part of every time, by {change.token.least:.2f} to {change.token.most:.2f}: {n_threads} of the "
        f"card's threads instead of {n_before}; how much of the work they share is not known"
    )
    return Scaled(dict.fromkeys(recorded.result.models, change), how)


def _other_card(calibration: Calibration, shapes: Mapping[str, ModelShape], own: Bandwidth, other: Bandwidth) -> Scaled:
    ratio = own.bytes_per_s / other.bytes_per_s
    changes = {}
    for name, shape in shapes.items():
        read_s = _read_once_bytes(calibration, name, shape) / own.bytes_per_s
        changes[name] = between_cards(ratio, read_s / calibration.all_on_device_s(name))
    how = (
        f"the device's part of every time, by {ratio:.2f} where its memory bounds it: {other.bytes_per_s / 1e9:.0f} "
        f"GB/s ({other.source}) instead of {own.bytes_per_s / 1e9:.0f} GB/s ({own.source}); the host's by nothing"
    )
    return Scaled(changes, how)


def _read_once_bytes(calibration: Calibration, name: str, shape: ModelShape) -> int:
    """Return the least bytes of weights that a token reads with all layers on the device.

    It is 0 for a mixture of experts, where a token reads an unknown part of them.
    """
    if shape.number("expert_count"):
        return 0
    study = calibration.study
    return max(study.planner.models[name].plan(engine).devices[GPU].weights_bytes for engine in study.models[name].rows)


def _own_bandwidth(own: DeviceInfo, like: Bandwidth, folder: Path | None) -> Bandwidth:
    """Return the bandwidth of the study's card from the hardware profiles.

    A measured bandwidth is preferred if `like` is measured, since measurements stay below a maker's peak.

    Raises:
        UsageError: no profile knows it.
    """
    found = known_bandwidths(own.name, own.vram_bytes, folder)
    if not found:
        raise UsageError(
            f"no hardware profile knows how fast the memory of {own.name}, the study's card, is",
            remedy="let its machine write one: layertune profile -o configs/hardware/mine.toml",
        )
    return min(found, key=lambda each: is_measured(each) != is_measured(like))


def _kind(kind: str) -> str:
    return {"gpu": "a GPU", "emulated": "an emulated card", "cpu": "the CPU"}[kind]
