"""A cache on disk of llama.cpp's memory projections, by model shape, device and build."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from layertune.devices.host import cpu_model
from layertune.devices.target import Target
from layertune.engine.library import library_key
from layertune.memory.placement import TensorInventory, TensorPlacement
from layertune.memory.projection import CacheTotal, Projection
from layertune.models import ModelShape
from layertune.models.disk_cache import add_entries, cache_folder, read_entries
from layertune.settings import LEFT_OUT, EngineSettings

if TYPE_CHECKING:
    from layertune.devices.projection_process import Answer, Question

T = TypeVar("T")

_VERSION = 2  # changes when the cached values do
_INVENTORY = "anatomy"


class Projections:
    """The projections of several models on one device.

    Call `learn` with many settings at once, since each call starts a process per model.
    """

    def __init__(
        self,
        target: Target,
        shapes: Mapping[str, ModelShape],
        *,
        n_outputs: int | None = None,
        cache: Path | None = None,
    ) -> None:
        """Read the cache.

        Args:
            target: The devices.
            shapes: The models, by `variant`.
            n_outputs: As in `Context`.
            cache: The cache folder; the user's by default.

        Raises:
            BuildError: llama-cpp-python is not installed.
        """
        self._target = target
        self._shapes = dict(shapes)
        self._n_outputs = n_outputs
        folder = (cache or cache_folder()) / "projections"
        # Which weights are repacked depends on the CPU.
        where = f"{_VERSION} {library_key()} {cpu_model()} {target.kind} {_names(target)} {n_outputs}"
        self._stores = {
            name: folder / f"{hashlib.sha256(f'{where} {shape.digest()}'.encode()).hexdigest()}.json"
            for name, shape in shapes.items()
        }
        self._entries = {name: read_entries(store) for name, store in self._stores.items()}

    def missing(self, name: str, settings: Iterable[EngineSettings]) -> list[EngineSettings]:
        """Return the memory keys of the settings that are not in the cache, sorted by placement."""
        keys = dict.fromkeys(replace(each, file="").memory_key(self._shapes[name].n_layer) for each in settings)
        return sorted((key for key in keys if _text(key) not in self._entries[name]), key=attrgetter("placement"))

    def learn(self, wanted: Mapping[str, Iterable[EngineSettings]]) -> None:
        """Project the settings that are not in the cache, for all models at the same time.

        Args:
            wanted: The settings by `variant`; they need not be in the form of `memory_key`.

        Raises:
            BuildError: llama.cpp cannot load a model; the message is llama.cpp's.
        """
        from layertune.devices.projection_process import Question, ask  # not needed for cached values

        questions = {}
        for name, settings in wanted.items():
            missing = self.missing(name, settings)
            if missing or _INVENTORY not in self._entries[name]:
                shape = self._shapes[name]
                path = str(shape.files[0])
                questions[name] = Question(
                    self._target, path, tuple(missing), self._n_outputs, shape_digest=shape.digest()
                )
        for (name, question), answer in zip(questions.items(), ask(list(questions.values())), strict=True):
            new = _entries(question, answer)
            self._entries[name].update(new)
            add_entries(self._stores[name], new)

    def inventory(self, name: str) -> TensorInventory:
        """Return the placement of a model's tensors.

        Raises:
            BuildError: llama.cpp cannot load the model.
        """
        return self._read(name, _INVENTORY, _inventory, ())

    def project(self, name: str, key: EngineSettings) -> Projection | None:
        """Return the projection of a setting, which must be in the form of `memory_key`; None if llama.cpp refuses it.

        Raises:
            BuildError: llama.cpp cannot load the model.
        """
        return self._read(name, _text(key), _projection, (key,))

    def _read(self, name: str, text: str, decode: Callable[[Any], T], keys: tuple[EngineSettings, ...]) -> T:
        """Return an entry; project it if it is missing or damaged."""
        entries = self._entries[name]
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            return decode(entries[text])
        entries.pop(text, None)
        self.learn({name: keys})
        return decode(entries[text])


def _entries(question: "Question", answer: "Answer") -> dict[str, Any]:
    """Return an answer in the form of the cache."""
    entries: dict[str, Any] = {_INVENTORY: asdict(answer.inventory)}
    for key, projection in zip(question.settings, answer.projections, strict=True):
        entries[_text(key)] = None if projection is None else asdict(projection)
    return entries


def _inventory(entry: Any) -> TensorInventory:
    tensors = {
        name: TensorPlacement(
            int(each["device_bytes"]), tuple(each["host_buffers"]), bool(each["is_duplicated"]), bool(each["is_lazy"])
        )
        for name, each in entry["tensors"].items()
    }
    return TensorInventory(tensors, int(entry["alignment_bytes"]))


def _projection(entry: Any) -> Projection | None:
    if entry is None:
        return None
    return Projection(
        compute_bytes={device: int(n_bytes) for device, n_bytes in entry["compute_bytes"].items()},
        output_bytes=int(entry["output_bytes"]),
        caches=tuple(
            CacheTotal(tuple(cache["layers"]), int(cache["k_bytes"]), int(cache["v_bytes"]), bool(cache["is_indexer"]))
            for cache in entry["caches"]
        ),
        state_bytes={device: int(n_bytes) for device, n_bytes in entry["state_bytes"].items()},
        flash_attn=entry["flash_attn"],
    )


def _text(key: EngineSettings) -> str:
    return " ".join(f"{name}={value}" if name in LEFT_OUT else str(value) for name, value in key.as_dict().items())


def _names(target: Target) -> str:
    """Return the devices' names, without sizes: a projection does not depend on the size of an emulated card."""
    return " + ".join(device.name for device in target.devices) or target.name
