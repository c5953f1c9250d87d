"""Files are whole or as they were, whatever they are and whatever happens in between."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from layertune.written_files import replacing, write_text

PART = ".layertune-part"


def run(code: str, *arguments: object, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_file_is_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "first")
    first = (tmp_path / "a").stat().st_ino
    write_text(tmp_path / "a", "second\n")
    assert (tmp_path / "a").read_bytes() == b"second\n"
    assert (tmp_path / "a").stat().st_ino != first
    assert names(tmp_path) == ["a"]


def test_a_reader_finds_the_old_or_the_new_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with replacing(path) as file:
        file.write(b"n" * 100_000)
        assert path.read_text() == "old"
    assert path.read_text() == "n" * 100_000


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(TypeError), replacing(tmp_path / "a") as file:
        file.write("text")  # type: ignore[arg-type]
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("old", ["a"])


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    code = """
import resource, sys
from pathlib import Path
from layertune.written_files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(Path(sys.argv[1]), "x" * 2000)
except OSError as error:
    sys.exit(error.strerror)
"""
    assert run(code, tmp_path / "a").stderr.strip() == os.strerror(errno.EFBIG)
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("old", ["a"])


KILLED = """
import os, sys
from pathlib import Path
from layertune.written_files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"new")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_leaves_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    assert run(KILLED, path).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [name.endswith(PART) for name in names(tmp_path)] == [True, False]
    write_text(path, "next")
    assert (path.read_text(), names(tmp_path)) == ("next", ["a"])


def test_only_files_left_by_a_write_of_the_same_name_are_removed(tmp_path: Path) -> None:
    living = f".a.{os.getppid()}{PART}"
    others = [living, ".b.4194301.layertune-part", ".a.4194301.part", "a.4194301.part", "a.part", ".a.x.layertune-part"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    write_text(tmp_path / "a", "new")
    assert names(tmp_path) == sorted(["a", *others])


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    write_text(tmp_path / "there" / "target", "old")
    (tmp_path / "link").symlink_to("there/target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "target").read_text() == "new"
    (tmp_path / "dangling").symlink_to("there/not yet")
    write_text(tmp_path / "dangling", "made")
    assert (tmp_path / "there" / "not yet").read_text() == "made"
    assert names(tmp_path / "there") == ["not yet", "target"]


def test_a_loop_of_links_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "a", "new")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    path.chmod(mode)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


AS_NOBODY = """
import os, sys
from pathlib import Path
from layertune.written_files import write_text
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    write_text(Path(sys.argv[1]), "new")
except OSError as error:
    sys.exit(error.strerror)
"""


def as_somebody_else(path: Path) -> str:
    """Write to `path` without a superuser's rights; return what the system says against it."""
    for folder in (path.parent, *path.parent.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    return run(AS_NOBODY, path).stderr.strip()


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    path.chmod(0o444)
    tmp_path.chmod(0o777)
    assert as_somebody_else(path) == os.strerror(errno.EACCES)
    assert path.read_text() == "old"


def test_a_file_in_a_folder_that_may_not_be_written_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old and longer")
    path.chmod(0o666)
    tmp_path.chmod(0o555)
    try:
        assert as_somebody_else(path) == ""
        assert as_somebody_else(path.with_name("new")) == os.strerror(errno.EACCES)
    finally:
        tmp_path.chmod(0o755)
    assert path.read_text() == "new"


def test_a_file_that_is_mounted_by_itself_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_text(path, "old and longer")

    def busy(_part: Path, _target: Path) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(Path, "replace", busy)
    write_text(path, "new")
    assert (path.read_text(), names(tmp_path)) == ("new", ["a"])


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["pipe"]


TO_STANDARD_OUTPUT = """
import sys
from pathlib import Path
from layertune.written_files import write_text
write_text(Path("/dev/stdout"), "x" * 100_000)
print("after", file=sys.stderr)
"""


def test_standard_output_is_written_where_it_is(tmp_path: Path) -> None:
    with (tmp_path / "log").open("a") as log:
        log.write("before\n")
        log.flush()
        assert run(TO_STANDARD_OUTPUT, stdout=log.fileno()).returncode == 0
        log.write("\nafter")
    assert (tmp_path / "log").read_text() == "before\n" + "x" * 100_000 + "\nafter"


def test_a_reader_that_stops_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        answer = run(TO_STANDARD_OUTPUT, stdout=write)
    finally:
        os.close(write)
    assert (answer.returncode, answer.stderr) == (0, "after\n")


def test_devices_are_written_as_they_are(tmp_path: Path) -> None:
    write_text(Path(os.devnull), "nowhere")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_text(Path("/dev/full"), "nowhere")
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "nowhere")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("가" * 85)  # 255 bytes
    write_text(path, "new")
    assert run(KILLED, path).returncode == -signal.SIGKILL
    write_text(path, "next")
    assert (names(tmp_path), path.read_text()) == ([path.name], "next")


def test_a_name_that_is_no_utf_8_and_its_text_are_kept_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    write_text(path, path.name)
    assert path.read_bytes() == b"caf\xe9"
