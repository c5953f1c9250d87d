"""llama.cpp's own projection of a model's memory, asked in a process of its own: `python -m
layertune.devices.projection_process`, which `ask` starts. It allocates nothing on the device but recurrent states."""

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
from layertune.memory.projection import Anatomy, Projection
from layertune.settings import EngineSettings

_TIMEOUT_S, _TIMEOUT_PER_SETTING_S = 120.0, 0.5
# After so many settings in a row that end llama.cpp, the model does.
_MOST_ABORTS = 8
_LEDGER_BYTES = 2**60  # nothing is allocated on the card, so nothing is refused


@dataclass(frozen=True, slots=True)
class Question:
    """One model's settings to project, in the form of `EngineSettings.memory_key`; `n_outputs` as in `Context`. The
    answer is of the shape with `shape_digest`, whatever lies at the path by now.

    `whole` asks with the model's own file, which takes longer than its skeleton and is just as exact. Only Linux has
    skeletons.
    """

    target: Target
    path: str
    settings: tuple[EngineSettings, ...]
    n_outputs: int | None = None
    whole: bool = False
    shape_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """In the order asked; None where llama.cpp refuses the setting, or is ended by it."""

    anatomy: Anatomy
    projections: tuple[Projection | None, ...]


# The child writes a line for each: how the tensors lie, then every setting's projection as soon as it has it.
_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_ANATOMY: TypeAdapter[Anatomy] = TypeAdapter(Anatomy)
_PROJECTION: TypeAdapter[Projection | None] = TypeAdapter(Projection | None)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a child wrote before it ended: all of it where `why_not` is None."""

    anatomy: Anatomy | None
    projections: tuple[Projection | None, ...]
    why_not: str | None


def ask(questions: Sequence[Question]) -> list[Answer]:
    """Answer each question in a process of its own, all at once. Where a model's skeleton is not enough for llama.cpp,
    or ends it, its own file is asked. A setting that ends llama.cpp with that, too, has no projection; the others do.

    Raises:
        BuildError: llama.cpp cannot load a model, in its own words.
    """
    return [_complete(question, said) for question, said in zip(questions, _ask(questions), strict=True)]


def _complete(question: Question, said: _Said) -> Answer:
    """Ask on for the settings that a child did not live to answer."""
    found, anatomy, n_aborts = list(said.projections), said.anatomy, 0
    while anatomy is None or len(found) < len(question.settings):
        if question.whole:
            n_aborts = 1 if said.projections else n_aborts + 1
            if said.anatomy is None or n_aborts > _MOST_ABORTS:
                raise BuildError(f"llama.cpp cannot say what {question.path} would take: {said.why_not}")
            found.append(None)
        question = replace(question, whole=True)
        (said,) = _ask([replace(question, settings=question.settings[len(found) :])])
        found += said.projections
        anatomy = anatomy or said.anatomy
    return Answer(anatomy, tuple(found))


def _ask(questions: Sequence[Question]) -> list[_Said]:
    command = [sys.executable, "-m", "layertune.devices.projection_process", str(os.getpid())]
    pipe = subprocess.PIPE
    asked: list[tuple[Question, subprocess.Popen[bytes]]] = []
    try:
        for question in questions:
            asked.append((question, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)))
        for question, process in asked:
            _send(question, process)
        return [_said(question, process) for question, process in asked]
    except OSError as error:
        raise BuildError(f"llama.cpp cannot be asked what settings take: {error}", remedy="try again") from error
    finally:
        for _, process in asked:
            lifetime.end(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def _send(question: Question, process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it died at once; its status will tell
            process.stdin.write(_QUESTION.dump_json(question))
            process.stdin.close()
        process.stdin = None  # so that `communicate` leaves it alone


def _said(question: Question, process: "subprocess.Popen[bytes]") -> _Said:
    timeout_s = _TIMEOUT_S + _TIMEOUT_PER_SETTING_S * len(question.settings)
    try:
        text, words = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        what = f"what {len(question.settings)} settings of {question.path} would take"
        raise BuildError(f"llama.cpp did not say within {timeout_s:.0f} s {what}", remedy="search fewer") from error
    lines = text.split(b"\n")[:-1]  # what follows the last one was cut off
    anatomy = _ANATOMY.validate_json(lines[0]) if lines else None
    projections = tuple(map(_PROJECTION.validate_json, lines[1:]))
    if process.returncode == 0:
        return _Said(anatomy, projections, None)
    complaints = words.decode(errors="replace").strip().splitlines()
    why = complaints[-1] if complaints else f"it ended with {lifetime.how_ended(process.returncode)}"
    return _Said(anatomy, projections, why)


def main(arguments: list[str]) -> int:
    from layertune.devices.open_device import open_device
    from layertune.engine import library
    from layertune.engine.no_alloc import DEBUG_WORDS, project, read_anatomy
    from layertune.engine.refusal import EngineRefused
    from layertune.models import read_shape
    from layertune.models.skeleton import write_skeleton

    lifetime.die_with_parent(int(arguments[0]))
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a backend prints is no answer
    question = _QUESTION.validate_json(sys.stdin.read())
    try:
        library.load()
        library.log().keep_debug(*DEBUG_WORDS)
        shape = read_shape(Path(question.path))
        if question.shape_digest not in (None, shape.digest()):
            raise ModelFileError(f"{question.path} was replaced by another model", remedy="run the command again")
        device = open_device(question.target, ["model"], _ledger_descriptors(question.target))
        try:
            # The file has no name: nothing stays when llama.cpp ends this process, or the search is killed.
            with tempfile.TemporaryFile() as unnamed:
                file = shape.files[0]
                if not question.whole and sys.platform == "linux":
                    file = Path(f"/proc/self/fd/{unnamed.fileno()}")
                    write_skeleton(shape, file)
                devices = device.devices("model")
                stream.write(_ANATOMY.dump_json(read_anatomy(file, shape, devices)).decode() + "\n")
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
