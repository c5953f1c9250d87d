"""Quantizes a model file in a child process, since llama.cpp may abort the process.

`_lines` starts it as `python -m layertune.devices.quantization_process`. It writes llama.cpp's log to standard output.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from layertune.devices import lifetime
from layertune.devices.host import n_usable_cores
from layertune.engine.quantization import n_done, read_mixture
from layertune.errors import BuildError, LayertuneError, ModelFileError
from layertune.models.quantization import Mixture

_LOW_PRIORITY = 10
_NEXT = "layertune: type "  # before the log of each type


@dataclass(frozen=True, slots=True)
class Order:
    """What the child does. The fields are arguments of `engine.quantization.quantize`.

    Attributes:
        file_types: The types. With an `output` there is only one.
        imatrix: The file of the importance matrix. Without an `output` it is not read: it only matters whether there is
            one.
    """

    source: Path
    file_types: tuple[str, ...]
    output: Path | None = None
    imatrix: Path | None = None
    notes: dict[str, str] = field(default_factory=dict)


_ORDER: TypeAdapter[Order] = TypeAdapter(Order)


def ask_mixtures(source: Path, file_types: Sequence[str], imatrix: Path | None = None) -> list[Mixture]:
    """Return the tensor types that llama.cpp would choose for `source` in each of `file_types`. No weight is read.

    Raises:
        BuildError: llama.cpp cannot be started.
        ModelFileError: llama.cpp cannot quantize the file; the message is llama.cpp's.
    """
    logs: dict[str, list[str]] = {}
    log: list[str] = []
    for line in _lines(Order(source, tuple(file_types), imatrix=imatrix)):
        if line.startswith(_NEXT):
            log = logs.setdefault(line.removeprefix(_NEXT), [])
        log.append(line)
    return [read_mixture(file_type, logs[file_type]) for file_type in file_types]


def quantize(order: Order, on_progress: Callable[[int, int], None]) -> None:
    """Write the output. After each tensor, report the number of tensors done and of all tensors.

    Raises:
        BuildError: llama.cpp cannot be started.
        ModelFileError: llama.cpp cannot quantize the file, or cannot write; the message is llama.cpp's.
    """
    with contextlib.closing(_lines(order)) as lines:
        for line in lines:
            done = n_done(line)
            if done is not None:
                on_progress(*done)


def _lines(order: Order) -> Generator[str]:
    command = [sys.executable, "-m", "layertune.devices.quantization_process", str(os.getpid())]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
    except OSError as error:
        raise BuildError(f"{sys.executable} cannot be started: {error.strerror}", remedy="try again") from error
    line = ""
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a child without pipes")
        with contextlib.suppress(OSError):  # it died at once; its status shows that
            process.stdin.write(_ORDER.dump_json(order) + b"\n")
            process.stdin.flush()
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            yield line
        status = process.wait()
    finally:
        lifetime.end(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # closing writes the rest of the order to an ended child
                    stream.close()
    if status != 0:
        why = line if status == 1 and line else f"it ended with {lifetime.describe_exit(status)}"
        raise ModelFileError(f"llama.cpp does not quantize {order.source} to {', '.join(order.file_types)}: {why}")


def main(arguments: list[str]) -> int:
    """Carry out the order on standard input; the argument is the parent's process id."""
    import numpy as np
    from numpy.typing import NDArray

    from layertune.engine import library
    from layertune.engine.quantization import quantize as quantize_here
    from layertune.engine.refusal import EngineRefused
    from layertune.models.imatrix import read_imatrix

    lifetime.die_with_parent(int(arguments[0]))
    order = _ORDER.validate_json(sys.stdin.readline())
    lifetime.watch_standard_input()
    if sys.platform != "win32":
        os.nice(_LOW_PRIORITY)
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    try:
        library.load()
        library.log().copy_to(stream)
        imatrix: dict[str, NDArray[np.float32]] = {}
        if order.imatrix is not None:
            imatrix = {"none": np.ones(1, np.float32)} if order.output is None else read_imatrix(order.imatrix)
        for file_type in order.file_types:
            stream.write(f"{_NEXT}{file_type}\n")
            quantize_here(
                order.source, order.output, file_type, n_threads=n_usable_cores(), imatrix=imatrix, notes=order.notes
            )
    except (LayertuneError, EngineRefused) as error:
        stream.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
