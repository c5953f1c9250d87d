"""Mutated GGUF headers through what reads a model: its shape, its plan, its stand-in, its skeleton, and `estimate`.

llama.cpp is not asked, which would take a process and a second each: `Projected` answers in its place.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from tests.hardening import gguf_file
from tests.hardening.attack import Case
from tests.hardening.gguf_file import ARRAY, INF, NUMBER_FORMATS, STRING, GgufFile, Key, Row, Text
from tests.hardening.small_models import ARCHITECTURES, KEY_NAMES, small_model

from layertune.cli import estimate
from layertune.config import StudyConfig
from layertune.config.overrides import Overrides
from layertune.devices.target import Target
from layertune.memory.placement import TensorInventory
from layertune.memory.plan import Overhead
from layertune.memory.projection import Projection
from layertune.models import ModelShape, cached_shape, read_shape
from layertune.models.ggml_types import TENSOR_TYPES
from layertune.models.skeleton import write_skeleton
from layertune.models.standin import standin_like
from layertune.settings import EngineSettings
from layertune.study import study
from layertune.study.models_on_device import ModelsOnDevice
from layertune.units import GIB

BOUNDARIES: list[float] = [
    *(0, 1, 2, 3, 31, 32, 63, 64, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4095, 65535, 65536, 100_000),
    *(sign * 2**power + step for sign in (1, -1) for power in (15, 24, 31, 32, 40, 53, 62, 63) for step in (-1, 0, 1)),
    *(2**64 - 1, 10**6, 5 * 10**7, 10**9, 10**18, -1, -2),
]
_FLOATS = [0.0, -0.0, 1e-45, 1e38, INF, -INF, float("nan"), 0.5, -1.0]
_LENGTHS = [0, 1, 2, 3, 4, 5, 63, 64, 65, 512, 513, 4096, 70_000]
_SPARSE_BYTES = [0, 2**20, 2**31, 2**32 + 7, 2**35]


class Headers:
    """See `attack.Attack`."""

    def start(self, folder: Path) -> None:
        self._folder = folder
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        study.models_of = plan_study

    def case(self, random: Random) -> Case:
        for old in self._folder.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        file = small_model(random.choice(ARCHITECTURES))
        for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
            random.choice(_MUTATIONS)(file, random)
        head, data_bytes = file.encode()
        if random.random() < 0.3:
            head = _flipped(head, random)
        if random.random() < 0.1:
            head, data_bytes = head[: random.randrange(len(head))], 0
        path = self._folder / file.name
        path.write_bytes(head)
        # A hole: a file that is large and takes no room, so that what a header claims could be true.
        size_bytes = min(
            len(head) + min(data_bytes, 2**36) + random.choice(_SPARSE_BYTES[:1] * 8 + _SPARSE_BYTES), 2**37
        )
        os.truncate(path, size_bytes)
        as_json = random.random() < 0.8
        return lambda: self._read(path, as_json=as_json)

    def _read(self, path: Path, *, as_json: bool) -> None:
        overrides = Overrides([f"chat={path}"], "4GiB", "emulated:6GiB", [])
        estimate.run(None, overrides, as_json=as_json)
        shape = read_shape(path)
        standin_like(path)
        write_skeleton(shape, self._folder / "skeleton.gguf")


def plan_study(config: StudyConfig) -> ModelsOnDevice:
    shapes = {name: cached_shape(model.path) for name, model in config.models.items()}
    target = Target("emulated", "emulated card", vram_bytes=6 * GIB, n_threads=1)
    return ModelsOnDevice(shapes, target, Projected(shapes), Overhead(0, "none in a test"), 1)


class Projected:
    """Answers in llama.cpp's place, as `devices.Projections` does."""

    def __init__(self, shapes: Mapping[str, ModelShape]) -> None:
        self._shapes = shapes

    def missing(self, _name: str, _settings: object) -> list[EngineSettings]:
        return []

    def learn(self, _wanted: object) -> None:
        return

    def inventory(self, name: str) -> TensorInventory:
        return TensorInventory.plain(self._shapes[name])

    def project(self, _name: str, key: EngineSettings) -> Projection | None:
        return Projection({"gpu0": key.n_gpu_layers * 1000, "host": 1000}, 4096, (), {}, flash_attn=True)


def _number(random: Random) -> float:
    """A whole number, most of them from the ends of what a type holds or a rule allows."""
    return random.choice(BOUNDARIES) if random.random() < 0.8 else random.randrange(2 ** random.randrange(1, 65))


def _any_number(random: Random, kind: int) -> float:
    return random.choice(_FLOATS) if NUMBER_FORMATS[kind] in "fd" else _number(random)


def _other_value(file: GgufFile, random: Random) -> None:
    """Another value of the same or of another type under a key of the file, or under a new one."""
    kind = random.choice([4, 4, 4, 5, 10, 11, *NUMBER_FORMATS])
    _put(file, random, lambda name: gguf_file.number(name, _any_number(random, kind), kind))


def _array(file: GgufFile, random: Random) -> None:
    kind, n = random.choice([4, 5, 7, *NUMBER_FORMATS]), random.choice(_LENGTHS)
    claimed = random.choice([None, None, None, int(_number(random))])
    value = _any_number(random, kind)
    _put(file, random, lambda name: gguf_file.numbers(name, [value] * n, kind, claimed))


def _string(file: GgufFile, random: Random) -> None:
    text = random.choice(["", "llama", "\0", "가" * 20, "a" * random.choice(_LENGTHS), "\x1b[2J", "qwen2\nx"])
    _put(file, random, lambda name: gguf_file.string(name, text))


def _strings(file: GgufFile, random: Random) -> None:
    n = random.choice(_LENGTHS)
    claimed = random.choice([None, None, int(_number(random))])
    _put(file, random, lambda name: gguf_file.strings(name, ["ab"] * n, claimed))


def _put(file: GgufFile, random: Random, make: Callable[[str], Key]) -> None:
    at = random.randrange(len(file.keys) + 1)
    if at < len(file.keys) and random.random() < 0.7:
        key = file.keys[at]
        file.keys[at] = make(key.name.raw.decode(errors="replace"))
    else:
        architecture = random.choice([*ARCHITECTURES, _architecture(file)])
        file.keys.insert(at, make(random.choice(KEY_NAMES).replace("ARCH", architecture)))


def _architecture(file: GgufFile) -> str:
    found = (key.value[8:] for key in file.keys if key.name.raw == b"general.architecture" and key.kind == STRING)
    return next(found, b"").decode(errors="replace")


def _other_architecture(file: GgufFile, random: Random) -> None:
    """Another architecture's name, over this one's keys or with them renamed."""
    before, after = _architecture(file), random.choice([*ARCHITECTURES, "", "nobody", "a.b", "\x1b]0;x\x07", "[/x]"])
    rename = random.random() < 0.7
    for key in file.keys:
        if key.name.raw == b"general.architecture":
            key.kind, key.value = STRING, Text(after.encode()).encode()
        elif rename and before:
            key.name.raw = key.name.raw.replace(before.encode() + b".", after.encode() + b".", 1)


def _no_key(file: GgufFile, random: Random) -> None:
    if file.keys:
        del file.keys[random.randrange(len(file.keys))]


def _wrong_key(file: GgufFile, random: Random) -> None:
    if not file.keys:
        return
    key = random.choice(file.keys)
    change = random.randrange(4)
    if change == 0:
        key.name.raw = random.choice(
            [b"", b"\xff", b"a" * 70_000, key.name.raw.upper(), random.choice(file.keys).name.raw]
        )
    elif change == 1:
        key.name.claimed = int(_number(random)) % 2**64
    elif change == 2:
        key.kind = random.choice([*range(14), 255, 2**32 - 1])
    else:
        key.value = key.value[: random.randrange(len(key.value) + 1)]


def _counts(file: GgufFile, random: Random) -> None:
    which, change = random.choice(["n_keys", "n_rows", "version"]), random.choice([-1, 1, None])
    right = {"n_keys": len(file.keys), "n_rows": len(file.rows), "version": 3}[which]
    setattr(file, which, int(_number(random)) if change is None else max(right + change, 0))


def _row(file: GgufFile, random: Random) -> None:
    if not file.rows:
        return
    row = random.choice(file.rows)
    change = random.randrange(7)
    if change == 0:
        row.shape = tuple(int(_number(random)) % 2**64 for _ in range(random.randrange(6)))
    elif change == 1 and row.shape:
        at = random.randrange(len(row.shape))
        row.shape = (*row.shape[:at], int(_number(random)) % 2**64, *row.shape[at + 1 :])
    elif change == 2:
        row.type = random.choice([*TENSOR_TYPES, *range(48), 2**31, 2**32 - 1])
    elif change == 3:
        row.n_dimensions = int(_number(random)) % 2**32
    elif change == 4:
        row.offset = int(_number(random)) % 2**64
    elif change == 5:
        row.name.raw = _tensor_name(random, row.name.raw)
    else:
        row.name.claimed = int(_number(random)) % 2**64


def _tensor_name(random: Random, name: bytes) -> bytes:
    layer = b"%d" % int(abs(_number(random)))
    names = (
        b"",
        b"\xff",
        b"a" * 64,
        b"a" * 200,
        b"token_embd.weight",
        b"output.weight",
        b"blk.1",
        b"blk.-1.x",
        name[:-1],
    )
    return random.choice(
        [*names, b"blk." + layer + b".attn_q.weight", b"blk." + b"9" * 40 + b".x", b"blk.0.ffn_up_exps.w"]
    )


def _no_rows(file: GgufFile, random: Random) -> None:
    del file.rows[random.randrange(len(file.rows) + 1) :]


def _many(file: GgufFile, random: Random) -> None:
    """More keys, tensors or arrays than any model has. Large files, so few of them."""
    n = random.choice([100, 1000, 5000, 30_000]) if random.random() < 0.3 else 100
    what = random.randrange(5)
    if what == 0:
        file.keys += [gguf_file.number(f"x.{index}", index) for index in range(n)]
    elif what == 1:
        file.rows += [Row(Text(b"x.%d" % index), (), 0) for index in range(n)]
    elif what == 2:
        file.rows += [Row(Text(b"blk.%d.x.weight" % index), (0, 1), 0) for index in range(n)]
    elif what == 3:
        long = gguf_file.numbers("", [0.0] * 1000, random.choice([0, 7, 6, 12]))
        file.keys += [Key(Text(b"x.%d" % index), ARRAY, long.value) for index in range(n)]
    else:
        file.keys.append(gguf_file.strings("x", [""] * n * 10))


def _alignment(file: GgufFile, random: Random) -> None:
    file.keys.append(gguf_file.number("general.alignment", _number(random), random.choice([4, 4, 5, 10, 0])))


def _parts(file: GgufFile, random: Random) -> None:
    n = random.choice([1, 2, 3, 1000, 65535, 99999])
    file.keys += [
        gguf_file.number("split.count", n if random.random() < 0.8 else _number(random), random.choice([2, 4, 5])),
        gguf_file.number("split.no", 0, 2),
        gguf_file.number("split.tensors.count", _number(random), 5),
    ]
    file.name = random.choice([f"m-00001-of-{n:05}.gguf"] * 3 + ["m-00000-of-00000.gguf", "m.gguf"])


def _flipped(head: bytes, random: Random) -> bytes:
    damaged = bytearray(head)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(damaged))
        damaged[at] = random.choice([damaged[at] ^ 1 << random.randrange(8), random.randrange(256), 0, 255])
    return bytes(damaged)


_MUTATIONS: list[Callable[[GgufFile, Random], None]] = [
    *[_other_value] * 8,
    *[_array] * 4,
    _string,
    _strings,
    *[_other_architecture] * 2,
    _no_key,
    _wrong_key,
    _counts,
    *[_row] * 5,
    _no_rows,
    _many,
    _alignment,
    _parts,
]
