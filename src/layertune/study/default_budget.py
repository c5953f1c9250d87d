"""The budget of a study whose config has none: what is free of each GPU, less a reserve."""

from collections.abc import Callable
from dataclasses import dataclass

from layertune.config import StudyConfig
from layertune.devices.host import available_ram_bytes
from layertune.devices.target import Target
from layertune.errors import DeviceError
from layertune.units import MIB, format_bytes

# Kept for what a desktop opens later: an idle one changes by a few MiB, a browser window takes 100 to 200. An estimate.
RESERVE_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class DefaultBudget:
    """The default budget of one device.

    Attributes:
        n_bytes: The budget.
        sum_words: How it was computed, for people.
    """

    n_bytes: int
    sum_words: str


def with_recorded_budget(config: StudyConfig, recorded: StudyConfig) -> StudyConfig:
    """Return the config with the budget that a study was begun with; a budget that it has is kept.

    Args:
        config: as the user wrote it.
        recorded: the config in the study's folder.
    """
    if config.budget.vram is not None or config.device != recorded.device:
        return config
    budget = config.budget.model_copy(update={"vram": recorded.budget.vram})
    return config.model_copy(update={"budget": budget})


def with_default_budget(
    config: StudyConfig, target: Target, notify: Callable[[str], None], *, shared: bool = False
) -> StudyConfig:
    """Return the config with a budget for each GPU; a budget that it has is kept.

    Args:
        config: as the user wrote it.
        target: the GPUs.
        notify: called with the sum of a default budget.
        shared: whether other machines search the same study: then it depends on the GPU's size only.

    Raises:
        DeviceError: nothing is left of a GPU.
    """
    if config.budget.vram is not None:
        return config
    budgets = [default_budget(device, margin_bytes=config.budget.margin, shared=shared) for device in target.devices]
    sizes = tuple(each.n_bytes for each in budgets)
    vram = sizes[0] if len(sizes) == 1 else sizes
    for device, each in zip(target.devices, budgets, strict=True):
        notify(f"budget of {device.name}: {each.sum_words}")
    return config.model_copy(update={"budget": config.budget.model_copy(update={"vram": vram})})


def default_budget(device: Target, *, margin_bytes: int, shared: bool) -> DefaultBudget:
    """Return the default budget of one GPU.

    Args:
        device: The GPU; not a composite.
        margin_bytes: What the config keeps free within the budget.
        shared: Whether other machines search the same study.

    Raises:
        DeviceError: nothing is left of it.
    """
    from layertune.vram.probe_selection import free_bytes  # slower to import than an estimate takes

    total_bytes, found = device.vram_bytes or 0, None if shared else free_bytes(device)
    sizes = {"free": min(total_bytes, total_bytes if found is None else max(found, 0))}
    if device.shares_ram and not shared:
        sizes["available of the RAM that it shares"] = available_ram_bytes()
    least = min(sizes, key=lambda what: sizes[what])
    n_bytes = sizes[least] - RESERVE_BYTES
    words = f"{format_bytes(sizes[least])} {least} of {format_bytes(total_bytes)}"
    if n_bytes <= margin_bytes:
        raise DeviceError(
            f"{device.name} has no memory left for models: {words}, of which {format_bytes(RESERVE_BYTES)} are kept",
            remedy="close other programs that use it, or set a budget with --budget",
        )
    reserve = f"{format_bytes(RESERVE_BYTES)} for what other programs open later"
    return DefaultBudget(n_bytes, f"{format_bytes(n_bytes)} = {words}, less {reserve}")
