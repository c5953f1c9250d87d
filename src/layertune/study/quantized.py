"""Smaller files of a model, made by llama.cpp, and stand-ins with the tensors of such files."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.devices.quantization_process import Order, ask_mixtures, quantize
from layertune.errors import ModelFileError, UsageError
from layertune.models.known_models import find_known
from layertune.models.new_files import check_new
from layertune.models.quantization import REQUANTIZED_KEY, Mixture, quantized_path, requantized_from
from layertune.models.shape import read_shape
from layertune.models.standin import Standin, known_standin, standin_like, standin_skeleton
from layertune.regular_files import is_file
from layertune.study.outputs import check_output
from layertune.units import format_bytes, format_duration
from layertune.written_files import replacing


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to write: `file_bytes` is its size to about a hundred bytes."""

    path: Path
    mixture: Mixture
    file_bytes: int


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was written. `requantized_from` is what the source was quantized to, if it was."""

    path: str
    file_type: str
    file_bytes: int
    requantized_from: str | None
    n_tensors: int
    n_tensors_in_other_types: int
    seconds: float

    def __str__(self) -> str:
        words = f"wrote {self.path}: {format_bytes(self.file_bytes)} in {format_duration(self.seconds)}"
        if self.requantized_from is not None:
            words += f", requantized from {self.requantized_from}"
        if self.n_tensors_in_other_types:
            other = f"{self.n_tensors_in_other_types} of {self.n_tensors} tensors"
            words += f"; {other} in another type, as the block size does not divide their rows"
        return words


@dataclass(frozen=True, slots=True)
class QuantizationPlan:
    """Files to make from a source; nothing is written yet."""

    source: Path
    requantized_from: str | None
    imatrix: Path | None
    files: tuple[PlannedFile, ...]

    def write(self, planned: PlannedFile, on_progress: Callable[[int, int], None]) -> WrittenFile:
        """Write a file. It appears under its name when it is complete.

        Args:
            planned: One of `files`.
            on_progress: Called after each tensor with how many of how many are done.

        Raises:
            ModelFileError: llama.cpp does not quantize the source, or the file cannot be written.
        """
        began, notes = time.monotonic(), {}
        if self.requantized_from is not None:
            notes[REQUANTIZED_KEY] = self.requantized_from
        if self.imatrix is not None:
            notes["quantize.imatrix.file"] = self.imatrix.name  # as llama-quantize notes it
        try:
            with replacing(planned.path) as file:
                part = Path(os.fsdecode(file.name))
                quantize(Order(self.source, (planned.mixture.file_type,), part, self.imatrix, notes), on_progress)
                file_bytes = read_shape(part).file_bytes
        except OSError as error:
            raise ModelFileError(f"cannot write {planned.path}: {error.strerror}", remedy="check the folder") from error
        return WrittenFile(
            str(planned.path),
            planned.mixture.file_type,
            file_bytes,
            self.requantized_from,
            len(planned.mixture.tensor_types),
            planned.mixture.n_other,
            time.monotonic() - began,
        )


def plan_quantization(
    source: Path, file_types: Sequence[str], folder: Path | None, imatrix: Path | None, *, overwrite: bool
) -> QuantizationPlan:
    """Check that files of these types can be made from `source`, and how large they will be.

    Args:
        source: The model file; of a split model, the first. Its parts become one file.
        file_types: The types.
        folder: Where the files go; None for the source's folder.
        imatrix: An importance matrix in GGUF.
        overwrite: Whether files that are there are replaced.

    Raises:
        ModelFileError: the source or the matrix cannot be read, a file is there, or the disk has no room for all.
        UsageError: a type needs an importance matrix, or a file would replace one that is read.
    """
    shape = read_shape(source)
    if imatrix is not None:
        from layertune.models.imatrix import read_imatrix

        read_imatrix(imatrix)  # what is wrong with it is known now, not after the first file
    files = []
    for mixture in ask_mixtures(source, file_types, imatrix):
        if mixture.needs_imatrix:
            raise UsageError(
                f"{mixture.file_type} of this model needs an importance matrix",
                remedy="give one with --imatrix FILE, made by llama-imatrix, or choose another type",
            )
        path = quantized_path(source, mixture.file_type, source.parent if folder is None else folder)
        check_output(path, reads=[*shape.files, *([] if imatrix is None else [imatrix])])
        files.append(PlannedFile(path, mixture, standin_like(source, mixture).file_bytes))
    check_new({each.path: each.file_bytes for each in files}, overwrite=overwrite)
    return QuantizationPlan(source, requantized_from(shape), imatrix, tuple(files))


def standin_of(name: str, file_type: str | None, *, with_imatrix: bool) -> Standin:
    """Return the stand-in of a known model, or of a GGUF file, in one of llama.cpp's types.

    Args:
        name: A known model's name or a path.
        file_type: The type; without it that of the file, or Q4_K_M.
        with_imatrix: Whether its tensors are those of a file made with an importance matrix. They always are where
            llama.cpp does not write the type without one.

    Raises:
        ModelFileError: the file cannot be read.
        UsageError: the model is not known.
    """
    template = Path(name) if is_file(Path(name)) else None
    if file_type is None:
        return known_standin(find_known(name)) if template is None else standin_like(template)
    path = standin_skeleton(find_known(name)) if template is None else template
    (mixture,) = ask_mixtures(path, [file_type], path if with_imatrix else None)
    if mixture.needs_imatrix:
        (mixture,) = ask_mixtures(path, [file_type], path)
    return standin_like(path, mixture)
