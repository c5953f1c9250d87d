import mmap
import subprocess
import sys

import pytest

from layertune.devices.host import n_usable_cores, peak_rss_bytes, reset_peak_rss, this_machine
from layertune.units import MIB


def touch(size_bytes: int) -> None:
    """Make that many bytes resident and give them back."""
    with mmap.mmap(-1, size_bytes) as pages:
        pages.write(b"\1" * size_bytes)


def test_the_peak_outlives_the_memory_that_made_it() -> None:
    touch(64 * MIB)
    assert peak_rss_bytes() >= 64 * MIB


def test_a_reset_peak_forgets_what_was_given_back() -> None:
    touch(128 * MIB)
    before_bytes = peak_rss_bytes()
    if not reset_peak_rss():
        pytest.skip("this system cannot reset the peak")
    assert peak_rss_bytes() <= before_bytes - 64 * MIB
    touch(128 * MIB)
    assert peak_rss_bytes() >= 128 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it without the parent's")
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
