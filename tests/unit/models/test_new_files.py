import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from layertune.errors import ModelFileError
from layertune.models.new_files import check_new
from layertune.units import GIB


def test_the_disk_needs_room_for_all_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=20 * GIB))
    sizes = {tmp_path / "new" / "a": 11 * GIB, tmp_path / "new" / "b": 10 * GIB}
    with pytest.raises(ModelFileError, match=r"a, \S*b: 21.00 GiB are needed, and the disk has 20.00 GiB free; make"):
        check_new(sizes, overwrite=True)
    check_new({tmp_path / "new" / "a": 11 * GIB}, overwrite=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match=r"cannot write to \S*/file/in: "):
        check_new({tmp_path / "file" / "in" / "a": 1}, overwrite=False)
