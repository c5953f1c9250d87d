"""Cores to compute on, read from folders as Linux shows them; no such processor is here."""

from pathlib import Path

import pytest

from layertune.devices.cores import Cores, linux_cores, this_cores
from layertune.devices.host import n_usable_cores


def machine(root: Path, siblings: list[str], *, efficient: str = "", files: dict[str, str] | None = None) -> Path:
    written = {f"sys/devices/system/cpu/cpu{n}/topology/core_cpus_list": each for n, each in enumerate(siblings)}
    written |= {"sys/devices/cpu_atom/cpus": efficient} if efficient else {}
    for name, text in {**written, **(files or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_two_threads_of_a_core_count_once(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0,4", "1,5", "2,6", "3,7"] * 2)
    assert linux_cores(list(range(8)), root) == Cores(8, 4)
    assert linux_cores(list(range(8)), root).n_compute == 4


def test_efficiency_cores_do_not_compute(tmp_path: Path) -> None:
    # An i7-12700H: six performance cores of two threads each, and eight efficiency cores.
    siblings = [f"{2 * (n // 2)}-{2 * (n // 2) + 1}" for n in range(12)] + [str(n) for n in range(12, 20)]
    found = linux_cores(list(range(20)), machine(tmp_path, siblings, efficient="12-19"))
    assert found == Cores(20, 6, 8)
    assert found.n_compute == 6
    assert found.words() == "6 performance + 8 efficiency cores, 20 threads"


def test_only_cores_of_the_affinity_mask_count(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0,4", "1,5", "2,6", "3,7"] * 2)
    assert linux_cores([0, 1, 4], root).n_compute == 2


def test_a_process_on_efficiency_cores_only_computes_there(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0", "1", "2"], efficient="1-2")
    assert linux_cores([1, 2], root).n_compute == 2


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "400000 100000"}, 4.0),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "250000 100000"}, 2.5),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/x",
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
    ],
)
def test_a_quota_of_any_control_group_counts(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    found = linux_cores(list(range(16)), machine(tmp_path, [str(n) for n in range(16)], files=files))
    assert found.quota == quota
    assert found.n_compute == (16 if quota is None else int(quota))


def test_a_system_that_reports_no_topology_counts_its_processors(tmp_path: Path) -> None:
    assert linux_cores([0, 1, 2], tmp_path) == Cores(3, 3)


def test_half_a_core_is_still_one_thread() -> None:
    assert Cores(8, 8, quota=0.5).n_compute == 1
    assert Cores(8, 8, quota=0.5).words() == "8 cores, limited to 0.5 by its container"


def test_this_machine_has_cores() -> None:
    found = this_cores()
    assert found.n_logical == n_usable_cores()
    assert 1 <= found.n_compute <= found.n_logical
