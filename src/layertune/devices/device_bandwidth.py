"""How fast a real GPU's memory is, asked in a process of its own: a loaded backend would hold device memory here.

Run on one GPU so far, an H200.
"""

import json
import subprocess
import sys

from layertune.devices.bandwidth import MeasuredBandwidth
from layertune.units import MIB, format_bytes

# Larger than a GPU's caches (an RTX 4090 has 72 MiB), and small beside the smallest card.
_SIZE_BYTES = 256 * MIB
_MAX_SHARE_OF_FREE = 8
_N_COPIES = 5
_TIMEOUT_S = 120.0


def device_bandwidth(gpu_index: int) -> MeasuredBandwidth | None:
    """Return what llama.cpp's GPU of that number copies; None where it cannot be measured."""
    command = [sys.executable, "-m", "layertune.devices.device_bandwidth", str(gpu_index)]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told(answer.stdout) if answer.returncode == 0 else None


def told(answer: bytes) -> MeasuredBandwidth | None:
    """Return what the child process told."""
    size_bytes, samples = json.loads(answer)
    if not samples:
        return None
    what = f"{format_bytes(size_bytes)} copied on the device by llama.cpp, bytes read and written"
    return MeasuredBandwidth(tuple(samples), what)


def main(gpu_index: int) -> None:
    from layertune.engine import ggml, library
    from layertune.engine.device_copy import copy_bandwidths

    library.load()
    gpu = [device for device in ggml.devices() if ggml.props(device).is_gpu][gpu_index]
    free_bytes, _total_bytes = ggml.memory(gpu)
    size_bytes = min(_SIZE_BYTES, free_bytes // _MAX_SHARE_OF_FREE)
    sys.stdout.write(json.dumps([size_bytes, copy_bandwidths(gpu, size_bytes, _N_COPIES)]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
