"""Notes on what a server may load with a model, beyond the plan."""

from dataclasses import replace
from pathlib import Path

from layertune.models.companions import companion_notes
from small_shapes import shape


def test_a_projector_next_to_a_model_is_named_once_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "mmproj-F16.gguf").write_bytes(b"x" * 2048)
    model = replace(shape(), files=(tmp_path / "chat.gguf",))
    other = replace(shape(), files=(tmp_path / "chat.gguf",))
    assert companion_notes({"chat/a": model, "chat/b": other}) == [
        "chat: mmproj-F16.gguf (2.0 KiB) is next to chat.gguf, a projector for images: it is not planned or measured "
        "here; if you serve it, keep its memory free with budget.margin"
    ]


def test_layers_that_predict_further_tokens_are_named() -> None:
    (note,) = companion_notes({"chat": shape("glm4moe", nextn_predict_layers=1)})
    assert "has 1 layers that predict further tokens (--spec-type draft-mtp)" in note


def test_other_models_have_no_notes() -> None:
    assert companion_notes({"chat": shape()}) == []
