import os
import struct
from pathlib import Path

import pytest
from gguf.constants import GGML_QUANT_SIZES, LlamaFileType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertune.errors import ModelFileError
from layertune.models import gguf_writer
from layertune.models.ggml_types import FILE_TYPES, TENSOR_TYPES
from layertune.models.gguf_header import Undecoded, read_header
from layertune.models.gguf_writer import TensorSpec

TENSORS = (TensorSpec("a.weight", (256, 3), "Q4_K"), TensorSpec("b.weight", (5,), "F32"))
KEYS = (
    gguf_writer.key_string("general.architecture", "llama"),
    gguf_writer.key_u32("llama.block_count", 2),
    gguf_writer.key_f32("llama.rope.freq_base", 0.5),
    gguf_writer.key_bool("layertune.standin", True),
    gguf_writer.key_strings("tokenizer.ggml.tokens", ["a", "안녕", ""]),
    gguf_writer.key_i32s("llama.attention.head_count_kv", [1, 2]),
)


def gguf(keys: tuple[bytes, ...] = KEYS, tensors: tuple[TensorSpec, ...] = TENSORS, version: int = 3) -> bytes:
    head = bytearray(gguf_writer.begin(keys, len(keys), tensors))
    head[4:8] = struct.pack("<I", version)
    return bytes(head) + b"\0" * sum(gguf_writer.padded(tensor.n_bytes) for tensor in tensors)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_a_header_is_read_as_it_was_written(version: int, tmp_path: Path) -> None:
    header = read_header(written(tmp_path / "a.gguf", gguf(version=version)))
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 0.5,
        "layertune.standin": True,
        "tokenizer.ggml.tokens": Undecoded(3),
        "llama.attention.head_count_kv": (1, 2),
    }
    assert [(tensor.name, tensor.shape, tensor.type, tensor.n_bytes) for tensor in header.tensors] == [
        ("a.weight", (256, 3), "Q4_K", 3 * 144),
        ("b.weight", (5,), "F32", 20),
    ]
    assert header.data_offset % 32 == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it has 0 bytes"),
        (b"GGUF", "it has 4 bytes"),
        (b"PK\x03\x04" + b"\0" * 100, r"begins with b'PK"),
        (gguf(version=1), "is GGUF version 1; llama.cpp reads 2 and 3"),
        (gguf(version=9), "is GGUF version 9"),
        (gguf(version=0x03000000), "big-endian"),
        (gguf()[:-40], "is truncated: its tensors need"),
        (gguf()[:120], "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "claims 1152921504606846976 keys"),
        (gguf(keys=(KEYS[0], KEYS[0])), "occurs twice"),
        (gguf(keys=(gguf_writer.key_u32("general.alignment", 12),)), "not a power of two"),
        (gguf(tensors=(TENSORS[1], TENSORS[1])), "same name"),
        (gguf(tensors=(TensorSpec("n" * 64, (1,), "F32"),)), "longer than 63 bytes"),
        (gguf(tensors=(TensorSpec("a", (1,) * 5, "F32"),)), "5 dimensions"),
        (gguf(keys=(gguf_writer.key_bool("general.alignment", True),)), "not a power of two"),
        (gguf(keys=(gguf_writer.key_u32("", 1),)), "a key has no name"),
        (gguf_writer.begin((), 0, [TensorSpec("a", (1, 2**63), "F32")]), "impossible shape"),
        (gguf_writer.begin((), 0, [TensorSpec("a", (0, 2**63), "F32")]), "impossible shape"),
        (gguf(tensors=(TensorSpec("a", (100,), "Q4_K"),)), "rows of 100 values, which Q4_K cannot store"),
        (gguf().replace(struct.pack("<IQ", 12, 0), struct.pack("<IQ", 99, 0)), "unknown type 99"),
        (gguf().replace(struct.pack("<IQ", 0, 448), struct.pack("<IQ", 0, 32)), "begins at 32 where 448 is next"),
    ],
)
def test_what_is_no_whole_gguf_is_refused_with_its_name_and_the_reason(data: bytes, words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.gguf", data)
    with pytest.raises(ModelFileError, match=words) as caught:
        read_header(path)
    assert "a.gguf" in str(caught.value)
    assert caught.value.exit_status == 2


LONG = struct.pack("<Q", 2**31)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (struct.pack("<QQ", 2**26, 0), "tensors"),
        (struct.pack("<QQ", 0, 2**26), "keys"),
        (struct.pack("<QQ", 0, 1) + LONG, "bytes of text"),
        (struct.pack("<QQ", 0, 1) + gguf_writer.text("a") + struct.pack("<I", 8) + LONG, "bytes of text"),
        (struct.pack("<QQ", 0, 1) + gguf_writer.text("a") + struct.pack("<II", 9, 8) + LONG, "strings"),
        (struct.pack("<QQ", 0, 1) + gguf_writer.text("a") + struct.pack("<II", 9, 0) + LONG, "numbers"),
    ],
)
def test_a_claim_that_a_huge_file_could_hold_is_not_believed_either(head: bytes, what: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.gguf", b"GGUF\3\0\0\0" + head)
    os.truncate(path, 2**35)  # sparse: it takes no room
    with pytest.raises(ModelFileError, match=rf"it has \d+ {what}; layertune reads at most \d+"):
        read_header(path)


NUMBERS = gguf_writer.key_i32s("", [0] * 512)[8:]
TEXT = gguf_writer.key_string("", "a" * 2**20)[8:]


@pytest.mark.parametrize(
    ("keys", "n_tensors", "words"),
    [
        ([gguf_writer.key_u32(f"x.{number}", 0) for number in range(2**14 + 1)], 0, "it has 16385 keys"),
        ([], 2**14 + 1, "it has 16385 tensors"),
        ([gguf_writer.text(f"x.{number}") + NUMBERS for number in range(129)], 0, "it has 66048 numbers"),
        ([gguf_writer.text(f"x.{number}") + TEXT for number in range(5)], 0, r"it has 4\d+ bytes of text"),
        ([gguf_writer.key_strings(f"x.{number}", [""] * 2**18) for number in range(7)], 0, "it has 1835008 strings"),
        (
            [gguf_writer.key_i32s(f"x.{number}", [0] * 2**20) for number in range(17)],
            0,
            "its keys take more than 64.0 MiB",
        ),
    ],
    ids=["keys", "tensors", "numbers", "text", "strings", "bytes"],
)
def test_what_a_header_holds_is_limited_in_all_and_not_by_each_part(
    keys: list[bytes], n_tensors: int, words: str, tmp_path: Path
) -> None:
    tensors = [TensorSpec(f"x.{number}", (0,), "F32") for number in range(n_tensors)]
    path = written(tmp_path / "a.gguf", gguf_writer.begin(keys, len(keys), tensors))
    with pytest.raises(ModelFileError, match=words):
        read_header(path)


def test_an_array_longer_than_a_model_has_layers_is_measured_and_not_decoded(tmp_path: Path) -> None:
    keys = (gguf_writer.key_i32s("short", [1] * 512), gguf_writer.key_i32s("long", [1] * 513))
    metadata = read_header(written(tmp_path / "a.gguf", gguf(keys=keys))).metadata
    assert metadata == {"short": (1,) * 512, "long": Undecoded(513)}


def test_a_text_that_is_not_utf8_is_kept_readable_and_a_key_is_refused(tmp_path: Path) -> None:
    data = gguf(keys=(gguf_writer.key_string("general.name", "ab"),))
    assert read_header(written(tmp_path / "a.gguf", data.replace(b"ab", b"a\xff"))).metadata["general.name"] == r"a\xff"
    with pytest.raises(ModelFileError, match="not UTF-8"):
        read_header(written(tmp_path / "b.gguf", data.replace(b"general.name", b"general.nam\xff")))


def test_a_vocabulary_without_tensors_is_a_whole_file(tmp_path: Path) -> None:
    head = gguf_writer.begin(KEYS, len(KEYS), ()).rstrip(b"\0")  # such files end with their last key, unpadded
    assert read_header(written(tmp_path / "a.gguf", head + b"\0" * 3)).tensors == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.gguf")
    with pytest.raises(ModelFileError, match=r"a\.gguf is not a regular file"):
        read_header(tmp_path / "a.gguf")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read .*none\.gguf"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelFileError, match=r"cannot read 'a.x00b': embedded null byte"):
        read_header(Path("a\0b"))
    with pytest.raises(ModelFileError, match="is a folder"):
        read_header(tmp_path)


def test_the_type_tables_are_those_of_the_gguf_package() -> None:
    ours = {number: (kind.n_block, kind.block_bytes) for number, kind in TENSOR_TYPES.items()}
    assert {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}.items() <= ours.items()
    for file_type in LlamaFileType:
        if file_type is not LlamaFileType.GUESSED:
            assert FILE_TYPES[int(file_type)] in file_type.name


fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@fuzz
@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_a_model_file_error(tmp_path: Path, data: bytes) -> None:
    _reads_or_refuses(written(tmp_path / "a.gguf", b"GGUF\x03\0\0\0" + data))


@fuzz
@given(st.integers(0, len(gguf()) - 1), st.binary(min_size=1, max_size=9))
def test_any_damage_is_a_header_or_a_model_file_error(tmp_path: Path, at: int, damage: bytes) -> None:
    whole = gguf()
    _reads_or_refuses(written(tmp_path / "a.gguf", whole[:at] + damage + whole[at + len(damage) :]))


@pytest.mark.parametrize("end", range(0, len(gguf()) - 12, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, end: int) -> None:
    with pytest.raises(ModelFileError):
        read_header(written(tmp_path / "a.gguf", gguf()[:end]))


def _reads_or_refuses(path: Path) -> None:
    message = ""
    try:
        read_header(path)
    except ModelFileError as error:
        message = str(error)
    assert "\n" not in message
