"""Standard output and standard error of the commands: no reader that has gone and no full disk ends a command."""

import os
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from layertune.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Results(FileIO):
    """Standard output. A reader that has gone needs no more; any other failure is raised, once."""

    _is_lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return _size(data) if self._is_lost else super().write(data)
        except OSError as error:
            self._is_lost = True
            if isinstance(error, BrokenPipeError):
                return _size(data)
            raise OutputError(
                f"standard output cannot be written: {error.strerror}", remedy="make room there, or write elsewhere"
            ) from error


class _Progress(FileIO):
    """Standard error. What cannot be written is left out: progress is never worth a study."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return _size(data)


def open_closed_descriptors() -> None:
    """Open the null device as each standard descriptor that was closed at the start. Otherwise the journal or another
    file gets its number, and with that whatever libraries print there."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def protected_output(stream: TextIO | None) -> TextIO:
    """Return standard output as above, over the same descriptor."""
    return _protected(stream, _Results(1, "w", closefd=False))


def protected_progress(stream: TextIO | None) -> TextIO:
    """Return standard error as above, over the same descriptor."""
    return _protected(stream, _Progress(2, "w", closefd=False))


def _protected(stream: TextIO | None, file: FileIO) -> TextIO:
    """Return the stream over this file; a stream that is no plain file, like a Windows console, as it is."""
    if stream is None:  # it was closed at the start
        return TextIOWrapper(BufferedWriter(file), encoding="utf-8", line_buffering=True)
    buffer = stream.buffer if isinstance(stream, TextIOWrapper) else None
    raw = buffer.raw if isinstance(buffer, BufferedWriter) else buffer  # PYTHONUNBUFFERED leaves the buffer out
    if not isinstance(stream, TextIOWrapper) or type(raw) is not FileIO or raw.fileno() != file.fileno():
        return stream
    return TextIOWrapper(
        BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _size(data: "ReadableBuffer") -> int:
    return memoryview(data).nbytes
