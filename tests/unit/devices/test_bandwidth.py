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


def test_host_bandwidth_is_measured_with_every_usable_core() -> None:
    measured = host_read_bandwidth(16 * MIB, n_passes=3)
    assert measured is not None
    assert measured.n_threads == n_usable_cores()
    assert len(measured.samples) == 3
    assert min(measured.samples) > 0
    assert measured.what.startswith("16.0 MiB read by ")


def test_host_bandwidth_is_none_with_too_little_memory() -> None:
    assert host_read_bandwidth(0) is None


def test_the_bandwidth_is_the_median_and_the_text_gives_the_range() -> None:
    measured = MeasuredBandwidth((3e9, 1e9, 2e9), "8 B read by 1 thread", 1)
    assert measured.bytes_per_s == 2e9
    assert measured.how() == "8 B read by 1 thread, median of 3 passes, 1.0 to 3.0 GB/s"


def test_copies_on_the_cpu_device_are_timed() -> None:
    found = copied(16 * MIB)
    assert found is not None
    assert len(found) == 3
    assert min(found) > 1e8


def test_device_bandwidth_is_none_without_room_for_both_buffers() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux refuses so much memory at once")
    assert copied(2**50) is None


def test_a_reply_without_samples_is_none() -> None:
    assert parse_reply(b"[1048576, null]") is None
    measured = parse_reply(b"[1048576, [2e11, 4e11, 3e11]]")
    assert measured is not None
    assert measured.bytes_per_s == 3e11
    assert measured.n_threads is None
    assert "1.0 MiB copied on the device" in measured.how()
