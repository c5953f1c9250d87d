import mmap
import subprocess
import sys

import pytest

from layertune.devices.host import (
    Battery,
    PowerSource,
    battery,
    n_usable_cores,
    peak_rss_bytes,
    power_source,
    reset_peak_rss,
    this_machine,
)
from layertune.units import MIB


def touch(size_bytes: int) -> None:
    """Make that many bytes resident and give them back."""
    with mmap.mmap(-1, size_bytes) as pages:
        pages.write(b"\1" * size_bytes)


def test_peak_rss_includes_memory_that_was_freed() -> None:
    touch(64 * MIB)
    assert peak_rss_bytes() >= 64 * MIB


def test_a_reset_peak_excludes_memory_that_was_freed_before() -> None:
    touch(128 * MIB)
    before_bytes = peak_rss_bytes()
    if not reset_peak_rss():
        pytest.skip("this system cannot reset the peak")
    assert peak_rss_bytes() <= before_bytes - 64 * MIB
    touch(128 * MIB)
    assert peak_rss_bytes() >= 128 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports it without the parent's")
def test_a_process_does_not_inherit_its_parents_peak() -> None:
    script = "from layertune.devices.host import peak_rss_bytes; print(peak_rss_bytes())"
    with mmap.mmap(-1, 256 * MIB) as pages:
        pages.write(b"\1" * len(pages))
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0 < int(child.stdout) < 256 * MIB


def test_this_machine_has_a_processor_with_a_name_and_memory() -> None:
    machine = this_machine()
    assert machine.cpu_model
    assert machine.n_cores == n_usable_cores() >= 1
    assert machine.ram_bytes > 64 * MIB


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (None, None),
        (Battery(50, None), None),
        (Battery(50, plugged_in=True), "mains"),
        (Battery(50, plugged_in=False), "battery"),
    ],
)
def test_the_power_source_follows_from_the_battery(found: Battery | None, source: PowerSource | None) -> None:
    assert power_source(found) == source


def test_reading_this_machines_battery_never_fails() -> None:
    found = battery()
    assert found is None or 0 <= found.percent <= 100
