import json
import subprocess
import sys

import pytest

from layertune.devices.bandwidth import MeasuredBandwidth, host_read_bandwidth, parse_reply
from layertune.devices.host import n_usable_cores
from layertune.units import MIB

# In a process of its own: this one must not load llama.cpp.
COPY_ON_THE_CPU = """
import json
from layertune.engine import ggml, library
from layertune.engine.device_copy import copy_bandwidths
library.load()
print(json.dumps(copy_bandwidths(ggml.cpu_device(), {size_bytes}, 3)))
"""


def copied(size_bytes: int) -> list[float] | None:
    command = [sys.executable, "-c", COPY_ON_THE_CPU.format(size_bytes=size_bytes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[float] | None = json.loads(answer.stdout)
    return found


def test_memory_is_read_with_every_usable_core_and_says_so() -> None:
    measured = host_read_bandwidth(16 * MIB, n_passes=3)
    assert measured is not None
    assert measured.n_threads == n_usable_cores()
    assert len(measured.samples) == 3
    assert min(measured.samples) > 0
    assert measured.what.startswith("16.0 MiB read by ")


def test_too_little_memory_measures_nothing() -> None:
    assert host_read_bandwidth(0) is None


def test_the_figure_is_the_median_and_says_how_far_the_passes_lie_apart() -> None:
    measured = MeasuredBandwidth((3e9, 1e9, 2e9), "8 B read by 1 thread", 1)
    assert measured.bytes_per_s == 2e9
    assert measured.how() == "8 B read by 1 thread, median of 3 passes, 1.0 to 3.0 GB/s"


def test_llama_cpp_copies_on_its_own_device() -> None:
    found = copied(16 * MIB)
    assert found is not None
    assert len(found) == 3
    assert min(found) > 1e8


def test_a_device_without_room_for_both_sides_measures_nothing() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux refuses so much memory at once")
    assert copied(2**50) is None


def test_what_the_child_process_could_not_measure_is_not_known() -> None:
    assert parse_reply(b"[1048576, null]") is None
    measured = parse_reply(b"[1048576, [2e11, 4e11, 3e11]]")
    assert measured is not None
    assert measured.bytes_per_s == 3e11
    assert measured.n_threads is None
    assert "1.0 MiB copied on the device" in measured.how()
