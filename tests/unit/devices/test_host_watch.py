"""What the watch reads from real processes. The machine under these tests is shared, so amounts are compared with what
a process is known to have used, and nothing asserts that the rest of the machine was quiet."""

import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from layertune.devices.host import n_usable_cores
from layertune.devices.host_conditions import Finding, HostUse
from layertune.devices.host_watch import HostWatch

pytestmark = pytest.mark.usefixtures("kill_leftovers")

BURNT_S = 1.0
# The clock's ticks and the interpreters that start and answer; far less than BURNT_S.
TOLERANCE_S = 0.4

KEEP_TO = "import os, sys; sys.argv[1:] and os.sched_setaffinity(0, {int(sys.argv[1])})"

BURN = f"""{KEEP_TO}
import time
while time.process_time() < {BURNT_S}:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""

WATCH = f"""{KEEP_TO}
import json
from dataclasses import asdict
from layertune.devices.host import n_usable_cores
from layertune.devices.host_watch import HostWatch
watch = HostWatch(n_usable_cores())
answers = {{
    "start": watch.start,
    "use": lambda: asdict(watch.use()),
    "stop": lambda: [asdict(found) for found in watch.stop()],
}}
for line in sys.stdin:
    print(json.dumps(answers[line.strip()]()), flush=True)
"""


@contextmanager
def child(script: str, core: int | None) -> Iterator[subprocess.Popen[str]]:
    arguments = [] if core is None else [str(core)]
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def burnt(core: int | None = None, *, and_ended: bool = False) -> Iterator[None]:
    """Use BURNT_S of CPU time in a child, which then waits or has ended. It is bounded by what it uses."""
    with child(BURN, core) as hog:
        assert hog.stdout is not None
        assert hog.stdout.readline() == "burnt\n"
        if not and_ended:
            yield
    if and_ended:
        yield


class Watcher:
    """A watch in a child of this process: to it, another child is a stranger."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ask("start")

    def use(self) -> HostUse:
        return HostUse(**self._ask("use"))

    def stop(self) -> list[Finding]:
        return [Finding(**found) for found in self._ask("stop")]

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question + "\n")
        return json.loads(self._process.stdout.readline())


@contextmanager
def watcher(core: int | None = None) -> Iterator[Watcher]:
    with child(WATCH, core) as process:
        yield Watcher(process)


@pytest.mark.parametrize(
    "and_ended",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows forgets children that ended")
        ),
    ],
    ids=["a child that lives", "a child that ended"],
)
def test_a_childs_cpu_time_is_own_time_and_foreign_to_a_sibling(and_ended: bool) -> None:
    # The sibling's window holds ours, so whatever else the machine does counts in its foreign time, too.
    with watcher() as sibling:
        watch = HostWatch(1)
        watch.start()
        with burnt(and_ended=and_ended):
            ours = watch.use()
            theirs = sibling.use()
    assert ours.own_cpu_s is not None
    assert ours.foreign_cpu_s is not None
    assert theirs.foreign_cpu_s is not None
    assert ours.own_cpu_s >= BURNT_S - TOLERANCE_S
    assert theirs.foreign_cpu_s - ours.foreign_cpu_s >= BURNT_S - TOLERANCE_S


def test_a_busy_program_disturbs_models_that_use_all_cores() -> None:
    with watcher() as sibling, burnt():
        found = sibling.stop()
    assert [each.disturbs for each in found if "other programs took" in each.text] == [True]


def test_the_parents_cpu_time_is_not_foreign() -> None:
    with watcher() as worker:
        end_s = time.process_time() + BURNT_S
        while time.process_time() < end_s:
            pass
        use = worker.use()
    assert use.own_cpu_s is not None
    assert use.own_cpu_s >= BURNT_S - TOLERANCE_S


@pytest.mark.skipif(sys.platform != "linux" or n_usable_cores() < 2, reason="needs two cores to choose from")
def test_a_program_on_an_unusable_core_is_not_counted() -> None:
    here, elsewhere, *_ = os.sched_getaffinity(0)
    with watcher() as wide, watcher(core=here) as narrow, burnt(core=elsewhere):
        counted_narrow = narrow.use().foreign_cpu_s
        counted_wide = wide.use().foreign_cpu_s
    assert counted_narrow is not None
    assert counted_wide is not None
    assert counted_wide - counted_narrow >= BURNT_S - TOLERANCE_S


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="only some systems let a file out of the page cache")
def test_pages_read_from_a_disk_are_counted(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "weights"
    path.write_bytes(os.urandom(64 * mmap.PAGESIZE))
    watch = HostWatch(1)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        pages.madvise(mmap.MADV_RANDOM)
        watch.start()
        n_before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        assert sum(pages[:: mmap.PAGESIZE]) >= 0
        n_faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - n_before
        use = watch.use()
    if n_faults == 0:
        pytest.skip("this file system keeps its files in memory")
    assert use.n_major_faults is not None
    assert use.n_major_faults >= n_faults


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports all values")
def test_linux_reports_every_value_except_the_battery() -> None:
    watch = HostWatch(1)
    watch.start()
    use = watch.use()
    assert None not in (use.own_cpu_s, use.foreign_cpu_s, use.stolen_cpu_s, use.n_major_faults, use.swapped_in_bytes)


def test_a_restarted_watch_drops_earlier_findings() -> None:
    watch = HostWatch(1)
    watch.start()
    with burnt():
        first = watch.use()
        watch.start()
        second = watch.use()
    assert first.own_cpu_s is not None
    assert second.own_cpu_s is not None
    assert second.own_cpu_s < first.own_cpu_s


def test_stopping_a_watch_that_was_not_started_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        HostWatch(1).stop()
