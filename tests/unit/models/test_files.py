"""A model's files are known again, whatever happens to them meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from layertune.errors import ModelFileError
from layertune.models import ModelFiles, file_sha256


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"m-0000{part}-of-00002.gguf" for part in (1, 2)]
    for file in files:
        file.write_bytes(file.name.encode())
    return files


def _same_size_and_time(file: Path) -> None:
    """Overwrite in place, and set the time of change back, as tools that copy do."""
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced_with_its_time(file: Path) -> None:
    before, other = file.stat(), file.with_suffix(".new")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


CHANGES: list[Callable[[Path], object]] = [
    _same_size_and_time,
    _replaced_with_its_time,
    lambda file: file.write_bytes(b"longer than it was, by far, in any case"),
    lambda file: os.truncate(file, 3),
    lambda file: file.unlink(),
]


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("digest_first", [True, False])
def test_any_change_of_any_part_is_noticed(
    change: Callable[[Path], object], part: int, digest_first: bool, parts: list[Path]
) -> None:
    files = ModelFiles(parts)
    if digest_first:
        files.sha256()
    files.check()
    change(parts[part])
    with pytest.raises(ModelFileError, match=rf"{parts[part].name} (was replaced or changed|cannot be read any more)"):
        files.check()


def test_the_same_contents_are_the_same_file(parts: list[Path]) -> None:
    files = ModelFiles(parts)
    files.sha256()
    copy = parts[1].with_suffix(".copy")
    copy.write_bytes(parts[1].read_bytes())
    copy.replace(parts[1])
    parts[0].chmod(0o600)
    files.check()


def test_a_digest_is_of_the_files_as_they_were_at_first(parts: list[Path]) -> None:
    files = ModelFiles(parts)
    before = files.sha256()
    parts[0].write_bytes(b"another model")
    parts[1].unlink()
    assert files.sha256() == before


def test_no_digest_is_taken_of_what_was_replaced_before(parts: list[Path]) -> None:
    files = ModelFiles(parts)
    _replaced_with_its_time(parts[0])
    with pytest.raises(ModelFileError, match="was replaced or changed"):
        files.sha256()


@pytest.mark.parametrize("change", [_same_size_and_time, _replaced_with_its_time])
def test_a_remembered_digest_is_not_that_of_a_file_in_its_place(
    change: Callable[[Path], object], parts: list[Path], tmp_path: Path
) -> None:
    before = file_sha256(parts[0], tmp_path / "cache")
    change(parts[0])
    assert file_sha256(parts[0], tmp_path / "cache") != before


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read .*none.gguf: No such file"):
        ModelFiles([tmp_path / "none.gguf"])
