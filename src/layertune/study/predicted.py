"""The front of a study on a card one does not have."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import layertune
from layertune.config import find_hardware
from layertune.prediction import Prediction
from layertune.prediction.prediction_file import CardInfo, ChangeInfo
from layertune.results.result import BudgetInfo
from layertune.study.calibrated import Recorded, calibrate
from layertune.study.facts import ignore
from layertune.study.other_card import Scaled, card_of, scale


def predict(study: Path, hardware: str, notify: Callable[[str], None] = ignore) -> Prediction:
    """Return the front on the card of a hardware profile.

    Raises:
        ConfigError: there is no such profile.
        ResultFileError, UsageError, ModelFileError, DeviceError: the study cannot be read, or cannot predict this card.
        NothingFits: no setting of the study fits the card.
    """
    profile, recorded = find_hardware(hardware), Recorded.read(study)
    card = card_of(recorded, profile)
    calibrated = calibrate(recorded, notify)
    capacity_bytes = calibrated.capacity_bytes(card.vram_bytes)
    scaled = scale(recorded, calibrated.calibration, calibrated.shapes, card, profile.device.bandwidth)
    expected = calibrated.calibration.expect(capacity_bytes, scaled.changes)
    result = recorded.result
    return Prediction(
        layertune_version=layertune.__version__,
        study=result.study,
        hardware=result.hardware,
        card=card,
        models=result.models,
        workload=result.workload,
        budget=BudgetInfo(vram_bytes=card.vram_bytes, margin_bytes=result.budget.margin_bytes),
        changes={name: ChangeInfo.model_validate(asdict(each)) for name, each in scaled.changes.items()},
        scaled=scaled.how,
        error=calibrated.calibration.error(capacity_bytes, scaled.changes),
        front=list(expected.front),
        picks=dict(expected.picks),
        limits=list(_limits(recorded, card, scaled, whole=expected.whole)),
    )


def _limits(recorded: Recorded, card: CardInfo, scaled: Scaled, *, whole: bool) -> Iterator[str]:
    cpu = recorded.result.hardware.cpu
    if not whole:
        yield (
            "The front is larger than this: an even part of it is kept, and picks are of that part. "
            "Another setting may be a little better."
        )
    yield f"The host's part of every time is that of the study's machine ({cpu.model}, {cpu.n_cores} cores)."
    yield "Each model alone; what they cost each other when all run at once is not predicted."
    if card.kind == "emulated":
        yield (
            "EMULATED: bytes are exact, speeds are the processor's that emulated the study's card. On CUDA llama.cpp "
            "computes long prompts of the host's layers on the card too, over RPC it does not: pp over n_gpu_layers "
            "has another shape on a GPU."
        )
        return
    if recorded.result.plan is not None:
        yield "The driver's own memory is taken from the study's card; another card's driver may take more."
    if scaled.changes:
        yield (
            "Memory bandwidth limits generation, but not prompts, which a card's arithmetic limits: the "
            "intervals reach from a device's part that does not change to one that scales as bandwidth does, and a "
            "card may be outside."
        )
    yield "No prediction has been compared with measurements on a real GPU yet."
