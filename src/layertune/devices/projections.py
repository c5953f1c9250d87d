"""What llama.cpp said of a model's memory, remembered: on disk by the model's shape, the device and the build."""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from layertune.devices.projection import Answer, Question, ask
from layertune.devices.target import Target
from layertune.engine.library import BuildInfo
from layertune.memory.projection import Anatomy, Projection
from layertune.models import ModelShape
from layertune.models.cache import add_entries, cache_folder, read_entries
from layertune.settings import EngineSettings

T = TypeVar("T")

_VERSION = 1  # of how this layertune asks
_ANATOMY = "anatomy"
_ANATOMIES: TypeAdapter[Anatomy] = TypeAdapter(Anatomy)
_PROJECTIONS: TypeAdapter[Projection | None] = TypeAdapter(Projection | None)


class Projections:
    """The projections of several models on one device. Ask for many settings at once: each question is a process."""

    def __init__(
        self,
        target: Target,
        build: BuildInfo,
        shapes: Mapping[str, ModelShape],
        *,
        n_outputs: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self._target = target
        self._shapes = dict(shapes)
        self._n_outputs = n_outputs
        folder = (cache or cache_folder()) / "projections"
        device = f"{target.kind} {target.name} {n_outputs}"
        self._stores = {
            name: folder
            / f"{hashlib.sha256(f'{_VERSION} {build} {device} {shape.digest()}'.encode()).hexdigest()}.json"
            for name, shape in shapes.items()
        }
        self._entries = {name: read_entries(store) for name, store in self._stores.items()}

    def learn(self, wanted: Mapping[str, Iterable[EngineSettings]]) -> None:
        """Ask llama.cpp for what is not known yet, all models at once; `wanted` by model, in any form.

        Raises:
            BuildError: llama.cpp cannot load a model, in its own words.
        """
        questions = {}
        for name, settings in wanted.items():
            shape, entries = self._shapes[name], self._entries[name]
            keys = dict.fromkeys(each.memory_key(shape.n_layer) for each in settings)
            missing = sorted((key for key in keys if _text(key) not in entries), key=_split)
            if missing or _ANATOMY not in entries:
                questions[name] = Question(self._target, str(shape.files[0]), tuple(missing), self._n_outputs)
        for (name, question), answer in zip(questions.items(), ask(list(questions.values())), strict=True):
            new = _entries(question, answer)
            self._entries[name].update(new)
            add_entries(self._stores[name], new)

    def anatomy(self, name: str) -> Anatomy:
        """Raises BuildError where llama.cpp cannot load the model."""
        return self._read(name, _ANATOMY, _ANATOMIES, ())

    def project(self, name: str, key: EngineSettings) -> Projection | None:
        """Return the projection of a setting in the form of its `memory_key`.

        Raises:
            BuildError: llama.cpp cannot load the model.
        """
        return self._read(name, _text(key), _PROJECTIONS, (key,))

    def _read(self, name: str, text: str, kind: TypeAdapter[T], keys: tuple[EngineSettings, ...]) -> T:
        """Return an entry; one that is missing, or that a damaged cache holds, is asked for."""
        entries = self._entries[name]
        with contextlib.suppress(ValidationError, KeyError):
            return kind.validate_python(entries[text])
        entries.pop(text, None)
        self.learn({name: keys})
        return kind.validate_python(entries[text])


def _entries(question: Question, answer: Answer) -> dict[str, Any]:
    """Return an answer as the cache keeps it."""
    entries: dict[str, Any] = {_ANATOMY: _ANATOMIES.dump_python(answer.anatomy, mode="json")}
    for key, projection in zip(question.settings, answer.projections, strict=True):
        entries[_text(key)] = _PROJECTIONS.dump_python(projection, mode="json")
    return entries


def _text(key: EngineSettings) -> str:
    return " ".join(str(value) for value in astuple(key))


def _split(key: EngineSettings) -> tuple[int, int]:
    """Settings of one split are projected over one loaded model."""
    return key.n_gpu_layers, key.n_cpu_moe
