"""One server process of the emulated card: `python -m layertune.devices.emulated.server`, started by `card`."""

import os
import sys

from layertune.devices import lifetime
from layertune.devices.emulated.backend import CardBackend
from layertune.devices.emulated.ledger import Ledger
from layertune.engine import ggml, library
from layertune.errors import LayertuneError


def main(arguments: list[str]) -> int:
    parent_pid, descriptor, server, port, n_threads = (int(argument) for argument in arguments)
    lifetime.die_with_parent(parent_pid)
    lifetime.watch_standard_input()
    try:
        library.load()
        backend = CardBackend(Ledger(descriptor), server)
        backend.install()
        ggml.serve_rpc(f"127.0.0.1:{port}", backend.device, n_threads)
    except LayertuneError as error:
        sys.stderr.write(f"{error}\n")
    # serve_rpc returns only where the port cannot be opened; skip exit handlers, llama.cpp's threads may be running.
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
