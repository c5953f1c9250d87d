"""What llama-server may load with a model and layertune does not plan: projectors next to it, and layers that predict
further tokens."""

from collections.abc import Mapping

from layertune.models.shape import ModelShape
from layertune.settings import model_and_file
from layertune.units import format_bytes

_FREE = "it is not planned or measured here; if you serve it, keep its memory free with budget.margin"


def companion_notes(shapes: Mapping[str, ModelShape]) -> list[str]:
    """Return a sentence for each thing that would take memory beyond the plan.

    Args:
        shapes: each model's shape, by `variant`.
    """
    notes = []
    for key, shape in shapes.items():
        name, file = model_and_file(key)[0], shape.files[0]
        for projector in sorted(file.parent.glob("*mmproj*.gguf")):
            size = format_bytes(projector.stat().st_size)
            notes.append(f"{name}: {projector.name} ({size}) is next to {file.name}, a projector for images: {_FREE}")
        n_predicting = shape.number("nextn_predict_layers")
        if n_predicting:
            notes.append(
                f"{name}: {file.name} has {n_predicting} layers that predict further tokens (--spec-type draft-mtp): "
                "speeds are without them, and so is the memory of their cache; if you use them, keep it free with "
                "budget.margin"
            )
    return list(dict.fromkeys(notes))
