"""Runs llama.cpp's projection of a model's memory in child processes.

`ask` starts them as `python -m layertune.devices.projection_process`. Nothing is allocated on the device apart from
recurrent states.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from layertune.devices import lifetime
from layertune.devices.target import Target
from layertune.errors import BuildError, LayertuneError, ModelFileError
from layertune.memory.placement import TensorInventory
from layertune.memory.projection import Projection
from layertune.settings import EngineSettings

_TIMEOUT_S, _TIMEOUT_PER_SETTING_S = 120.0, 0.5
# If this many settings in a row crash llama.cpp, the model is considered the cause.
_MOST_ABORTS = 8
_LEDGER_BYTES = 2**60  # nothing is allocated on the card, so nothing is refused


@dataclass(frozen=True, slots=True)
class Question:
    """One model's settings to project.

    Attributes:
        target: The devices.
        path: The model file.
        shape_digest: The digest of the model's shape; the file at `path` must still have that shape.
        settings: The settings, in the form of `EngineSettings.memory_key`.
        n_outputs: As in `Context`.
        whole: Load the model file itself instead of its skeleton. It takes longer, with the same result. Skeletons are
            used on Linux only.
    """

    target: Target
    path: str
    settings: tuple[EngineSettings, ...]
    n_outputs: int | None = None
    whole: bool = False
    shape_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The projections in the order of the settings, None for a setting that llama.cpp refuses or that crashes it."""

    inventory: TensorInventory
    projections: tuple[Projection | None, ...]


# The child writes one line each: first the tensors' placement, then each setting's projection when it is computed.
_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_INVENTORY: TypeAdapter[TensorInventory] = TypeAdapter(TensorInventory)
_PROJECTION: TypeAdapter[Projection | None] = TypeAdapter(Projection | None)


@dataclass(frozen=True, slots=True)
class _Output:
    """What a child wrote before it ended. It is complete if `why_not` is None."""

    inventory: TensorInventory | None
    projections: tuple[Projection | None, ...]
    why_not: str | None


def ask(questions: Sequence[Question]) -> list[Answer]:
    """Return the answer to each question. Each comes from its own child process, and all run at the same time.

    If llama.cpp cannot use a model's skeleton, or crashes on it, the model file itself is used. A setting that crashes
    llama.cpp even then has no projection; the other settings have theirs.

    Raises:
        BuildError: llama.cpp cannot load a model; the message is llama.cpp's.
    """
    return [_complete(question, output) for question, output in zip(questions, _ask(questions), strict=True)]


def _complete(question: Question, output: _Output) -> Answer:
    """Start further children for the settings that the first one did not answer before it ended."""
    found, inventory, n_aborts = list(output.projections), output.inventory, 0
    while inventory is None or len(found) < len(question.settings):
        if question.whole:
            n_aborts = 1 if output.projections else n_aborts + 1
            if output.inventory is None or n_aborts > _MOST_ABORTS:
                raise BuildError(f"llama.cpp cannot project the memory of {question.path}: {output.why_not}")
            found.append(None)
        question = replace(question, whole=True)
        (output,) = _ask([replace(question, settings=question.settings[len(found) :])])
        found += output.projections
        inventory = inventory or output.inventory
    return Answer(inventory, tuple(found))


def _ask(questions: Sequence[Question]) -> list[_Output]:
    command = [sys.executable, "-m", "layertune.devices.projection_process", str(os.getpid())]
    pipe = subprocess.PIPE
    asked: list[tuple[Question, subprocess.Popen[bytes]]] = []
    try:
        for question in questions:
            asked.append((question, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)))
        for question, process in asked:
            _send(question, process)
        return [_read_output(question, process) for question, process in asked]
    except OSError as error:
        raise BuildError(f"llama.cpp cannot be started to project memory: {error}", remedy="try again") from error
    finally:
        for _, process in asked:
            lifetime.end(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def _send(question: Question, process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it died at once; its status shows that
            process.stdin.write(_QUESTION.dump_json(question))
            process.stdin.close()
        process.stdin = None  # so that `communicate` leaves it alone


def _read_output(question: Question, process: "subprocess.Popen[bytes]") -> _Output:
    timeout_s = _TIMEOUT_S + _TIMEOUT_PER_SETTING_S * len(question.settings)
    try:
        text, words = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        what = f"the memory of {len(question.settings)} settings of {question.path}"
        raise BuildError(
            f"llama.cpp did not project {what} within {timeout_s:.0f} s", remedy="search fewer settings"
        ) from error
    lines = text.split(b"\n")[:-1]  # an incomplete last line is dropped
    inventory = _INVENTORY.validate_json(lines[0]) if lines else None
    projections = tuple(map(_PROJECTION.validate_json, lines[1:]))
    if process.returncode == 0:
        return _Output(inventory, projections, None)
    complaints = words.decode(errors="replace").strip().splitlines()
    why = complaints[-1] if complaints else f"it ended with {lifetime.describe_exit(process.returncode)}"
    return _Output(inventory, projections, why)


def main(arguments: list[str]) -> int:
    """Answer the question on standard input; the argument is the parent's process id."""
    from layertune.devices.open_device import open_device
    from layertune.engine import library
    from layertune.engine.no_alloc import DEBUG_WORDS, project, read_inventory
    from layertune.engine.refusal import EngineRefused
    from layertune.models import read_shape
    from layertune.models.skeleton import write_skeleton

    lifetime.die_with_parent(int(arguments[0]))
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a backend's own output must not mix with the answer
    question = _QUESTION.validate_json(sys.stdin.read())
    try:
        library.load()
        library.log().keep_debug(*DEBUG_WORDS)
        shape = read_shape(Path(question.path))
        if question.shape_digest not in (None, shape.digest()):
            raise ModelFileError(f"{question.path} was replaced by another model", remedy="run the command again")
        device = open_device(question.target, ["model"], _ledger_descriptors(question.target))
        try:
            # The file is unnamed, so nothing is left behind when this process or the search is killed.
            with tempfile.TemporaryFile() as unnamed:
                file = shape.files[0]
                if not question.whole and sys.platform == "linux":
                    file = Path(f"/proc/self/fd/{unnamed.fileno()}")
                    write_skeleton(shape, file)
                devices = device.devices("model")
                stream.write(_INVENTORY.dump_json(read_inventory(file, shape, devices)).decode() + "\n")
                stream.flush()
                for _, projection in project(file, question.settings, devices, question.n_outputs):
                    stream.write(_PROJECTION.dump_json(projection).decode() + "\n")
                    stream.flush()  # the next setting may end this process
        finally:
            device.close()
    except (LayertuneError, EngineRefused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stream.close()
    return 0


def _ledger_descriptors(target: Target) -> list[int]:
    if target.kind != "emulated":
        return []
    from layertune.devices.emulated.ledger import Ledger

    return [Ledger.create(_LEDGER_BYTES).descriptor for _ in target.devices]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
