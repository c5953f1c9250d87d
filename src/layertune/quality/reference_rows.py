"""The reference's distributions on disk, and the comparison of another file's with them.

Each row of logits is kept in 16 bits over its whole range. The steps, of less than 0.001, may change the divergence
of one row by a few tenths of a percent, and the mean of thousands by less than 0.1 %. Keeping only the largest logits
and the sum of the others would make the mean 15 % too small for 64 of them, and 7 % for 256. Only one row is in memory
at a time: a vocabulary of 262,144 takes 1 MiB as floats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray

from layertune.quality.blocks import Against

_STEPS = 65535

Row = NDArray[np.float32]


class NotFinite(Exception):
    """A model computed logits that are not finite."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One row of logits, relative to its largest.

    Attributes:
        shifted: The logits minus the largest one.
        powers: Their exponentials.
        log_sum: The logarithm of the sum of these.
        top: The most likely token.
    """

    shifted: Row
    powers: Row
    log_sum: float
    top: int

    @classmethod
    def of(cls, logits: Row) -> "Scores":
        """Raises NotFinite."""
        top = int(logits.argmax())
        if not isfinite(logits[top]) or not isfinite(logits.min()):
            raise NotFinite
        return cls._of_shifted(logits - logits[top], top)

    @classmethod
    def _of_shifted(cls, shifted: Row, top: int) -> "Scores":
        powers = np.exp(shifted)
        return cls(shifted, powers, log(powers.sum(dtype=np.float64)), top)

    def nll(self, token: int) -> float:
        """Return the negative log-likelihood of a token."""
        return self.log_sum - float(self.shifted[token])

    def divergence_from(self, reference: "Scores") -> float:
        """Return the KL divergence of this distribution from the reference's, in nats."""
        weighted = float(np.dot(reference.powers, reference.shifted - self.shifted))
        return weighted / float(np.exp(reference.log_sum)) + self.log_sum - reference.log_sum


class ReferenceRows:
    """Rows in a file, in order."""

    def __init__(self, file: BufferedIOBase, n_vocab: int) -> None:
        self._file = file
        self._rows: list[tuple[float, int, float]] = []
        self._row = np.empty(n_vocab, dtype=np.uint16)

    def add(self, scores: Scores, nll: float) -> None:
        """Add a row, and the negative log-likelihood of the text's next token.

        Raises:
            OSError: the disk is full.
        """
        span = -float(scores.shifted.min())
        scaled = (scores.shifted + np.float32(span)) * np.float32(_STEPS / span if span > 0 else 0)
        self._file.write(np.rint(scaled).astype(np.uint16).data)
        self._rows.append((span, scores.top, nll))

    def compare(self) -> Iterator["ReferenceRow"]:
        """Yield the rows from the first one on."""
        self._file.seek(0)
        for span, top, nll in self._rows:
            self._file.readinto(self._row.data)
            shifted = self._row * np.float32(span / _STEPS) - np.float32(span)
            shifted[top] = 0
            yield ReferenceRow(Scores._of_shifted(shifted, top), nll)


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """One row of the reference, and the negative log-likelihood of the text's next token by the exact logits."""

    scores: Scores
    nll: float

    def against(self, scores: Scores) -> Against:
        """Compare another file's row with it."""
        divergence = max(scores.divergence_from(self.scores), 0.0)
        return Against(divergence, int(scores.top == self.scores.top), self.nll)
