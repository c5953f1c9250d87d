"""The memory accounting of an emulated card: a shared page that the card's servers write and the search reads.

The page is in an unnamed file, and the servers inherit its descriptor. So a killed process leaves nothing behind, and a
process left over from an earlier run cannot write into a later card.
"""

import fcntl
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

MAX_SERVERS = 16  # ggml-rpc.h: GGML_RPC_MAX_SERVERS

_CARD = struct.Struct("<5Q")  # cap, used, peak, n_refused, excess
_SERVER = struct.Struct("<2Q")  # used, n_queries
_FOREIGN = struct.Struct("<Q")  # peak of other programs' bytes
_FOREIGN_OFFSET = _CARD.size + MAX_SERVERS * _SERVER.size
SIZE_BYTES = _FOREIGN_OFFSET + _FOREIGN.size
_BYTES_LOCK, _COMPUTE_LOCK, _QUEUE_LOCK = 0, 1, 2  # which byte of the file is locked


@dataclass(frozen=True, slots=True)
class CardState:
    """The card's memory at one moment.

    Attributes:
        cap_bytes: The card's size.
        used_bytes: In use by all servers.
        peak_bytes: Largest use since the last `reset_peak`.
        n_refused: Number of refused allocations.
        excess_bytes: Bytes by which the last refused allocation exceeded the cap.
    """

    cap_bytes: int
    used_bytes: int
    peak_bytes: int
    n_refused: int
    excess_bytes: int


class Ledger:
    """A view of the shared page.

    Its locks are POSIX record locks: they belong to a process, end with it, and are not inherited by a fork.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, SIZE_BYTES)

    @classmethod
    def create(cls, cap_bytes: int) -> "Ledger":
        """Create the ledger of a new card of `cap_bytes`."""
        descriptor = _unnamed_file()
        os.truncate(descriptor, SIZE_BYTES)
        ledger = cls(descriptor)
        ledger._write(CardState(cap_bytes, 0, 0, 0, 0))
        return ledger

    def state(self) -> CardState:
        """Return the card's memory now."""
        return CardState(*_CARD.unpack_from(self._page, 0))

    def take(self, server: int, size_bytes: int) -> bool:
        """Count an allocation of a server against the cap; return whether it fits."""
        with self._locked(_BYTES_LOCK):
            card = self.state()
            excess_bytes = card.used_bytes + size_bytes - card.cap_bytes
            if excess_bytes > 0:
                self._write(
                    CardState(card.cap_bytes, card.used_bytes, card.peak_bytes, card.n_refused + 1, excess_bytes)
                )
                return False
            self._add(card, server, size_bytes)
            return True

    def give_back(self, server: int, size_bytes: int) -> None:
        """Count a free of a server."""
        with self._locked(_BYTES_LOCK):
            self._add(self.state(), server, -size_bytes)

    def restore(self, card: CardState) -> None:
        """Restore an earlier state, so that a check before the first model leaves no trace."""
        with self._locked(_BYTES_LOCK):
            self._write(card)
            self._write_foreign_peak(self.foreign_bytes())

    def reset_peak(self) -> None:
        """Begin a trial: set the peaks to what is in use now."""
        with self._locked(_BYTES_LOCK):
            card = self.state()
            self._write(CardState(card.cap_bytes, card.used_bytes, card.used_bytes, card.n_refused, card.excess_bytes))
            self._write_foreign_peak(self.foreign_bytes())

    def server_bytes(self, server: int) -> int:
        """Return the bytes in use by one server."""
        return self._server(server)[0]

    def foreign_bytes(self) -> int:
        """Return the bytes in use by other programs.

        A server counts as another program while it has no memory query. `EmulatedCard` queries each of its servers when
        it starts it.
        """
        return sum(used_bytes for used_bytes, n_queries in map(self._server, range(MAX_SERVERS)) if n_queries == 0)

    def foreign_peak_bytes(self) -> int:
        """Return the largest use by other programs since the last `reset_peak`."""
        (peak_bytes,) = _FOREIGN.unpack_from(self._page, _FOREIGN_OFFSET)
        return int(peak_bytes)

    def count_query(self, server: int) -> None:
        """Count a memory query of a server. It shows a client that the server it reached belongs to this card."""
        with self._locked(_BYTES_LOCK):
            used_bytes, n_queries = self._server(server)
            self._write_server(server, used_bytes, n_queries + 1)

    def n_queries(self, server: int) -> int:
        """Return the number of a server's memory queries."""
        return self._server(server)[1]

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold the card's compute lock, so that the servers compute one graph at a time and alternate.

        The next server in line holds the queue lock, so a server that has just computed cannot overtake it. With the
        compute lock alone, a server with a long prompt took it again for seconds, each time before the other woke up.
        """
        with ExitStack() as units:
            with self._locked(_QUEUE_LOCK):
                units.enter_context(self._locked(_COMPUTE_LOCK))
            yield

    def close(self) -> None:
        """Close this view and its descriptor."""
        self._page.close()
        os.close(self.descriptor)

    def _add(self, card: CardState, server: int, size_bytes: int) -> None:
        used_bytes = card.used_bytes + size_bytes
        self._write(
            CardState(card.cap_bytes, used_bytes, max(card.peak_bytes, used_bytes), card.n_refused, card.excess_bytes)
        )
        server_bytes, n_queries = self._server(server)
        self._write_server(server, server_bytes + size_bytes, n_queries)
        if n_queries == 0:
            self._write_foreign_peak(max(self.foreign_peak_bytes(), self.foreign_bytes()))

    def _write(self, card: CardState) -> None:
        _CARD.pack_into(
            self._page, 0, card.cap_bytes, card.used_bytes, card.peak_bytes, card.n_refused, card.excess_bytes
        )

    def _server(self, server: int) -> tuple[int, int]:
        used_bytes, n_queries = _SERVER.unpack_from(self._page, _CARD.size + server * _SERVER.size)
        return used_bytes, n_queries

    def _write_server(self, server: int, used_bytes: int, n_queries: int) -> None:
        _SERVER.pack_into(self._page, _CARD.size + server * _SERVER.size, used_bytes, n_queries)

    def _write_foreign_peak(self, peak_bytes: int) -> None:
        _FOREIGN.pack_into(self._page, _FOREIGN_OFFSET, peak_bytes)

    @contextmanager
    def _locked(self, byte: int) -> Iterator[None]:
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, byte)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, byte)


def _unnamed_file() -> int:
    """Return the descriptor of an unnamed file, in memory on Linux.

    On a full disk, the first write to a mapped page of an ordinary file would end the process with SIGBUS.
    """
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    return os.memfd_create("layertune-ledger")
