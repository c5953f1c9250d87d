"""Whatever a user names instead of a file, it is refused in words, and at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from layertune.config import load_config, load_hardware
from layertune.config.env_file import load_env
from layertune.config.scenario_file import load_scenarios
from layertune.errors import LayertuneError
from layertune.models.disk_cache import add_entries, read_entries
from layertune.prediction.prediction_file import is_prediction, load_prediction
from layertune.regular_files import is_folder, is_there
from layertune.results.result import read_result

READERS: list[Callable[[Path], object]] = [
    load_config,
    load_hardware,
    load_scenarios,
    load_env,
    read_result,
    load_prediction,
]


def a_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def a_large_file(folder: Path) -> Path:
    (folder / "large").touch()
    os.truncate(folder / "large", 2**40)  # a hole: it takes no room
    return folder / "large"


NAMES: dict[str, Callable[[Path], Path]] = {
    "it is not a regular file": a_fifo,
    "Too many levels of symbolic links": a_loop,
    "it is larger than": a_large_file,
    "File name too long": lambda folder: folder / ("n" * 256),
    "no file can have that name": lambda folder: folder / "a\0b",
    "No such file": lambda folder: folder / "missing",
}
if Path("/dev/zero").exists():
    NAMES["not a regular file"] = lambda _folder: Path("/dev/zero")
EXIST = ("it is not a regular file", "it is larger than", "not a regular file")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs, and asks for a privilege to link")


@pytest.mark.parametrize("words", NAMES)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_name_of_no_regular_file_is_refused_in_one_sentence(
    read: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LayertuneError, match=words) as caught:
        read(NAMES[words](tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", NAMES)
def test_a_question_about_a_name_raises_nothing(words: str, tmp_path: Path) -> None:
    path = NAMES[words](tmp_path)
    assert not is_folder(path)
    assert is_there(path) is (words in EXIST)
    assert not is_prediction(path)
    assert read_entries(path) == {}


def test_a_cache_that_something_else_wrote_or_changed_has_no_entries(tmp_path: Path) -> None:
    store = tmp_path / "cache.json"
    add_entries(store, {"key": {"n": 1}})
    assert read_entries(store) == {"key": {"n": 1}}
    written = store.read_text()
    for damage in (written.replace("1}", '"1"}'), '{"key": {"n": "1"}}', written + " ", ""):
        store.write_text(damage)
        assert read_entries(store) == {}
