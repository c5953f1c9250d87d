"""A model's tokenizer, and the properties that two models must share before their logits can be compared."""

import ctypes
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layertune.engine import library
from layertune.engine.context import Tokens
from layertune.engine.model import Model

_MOST_PIECE_BYTES = 1024
_MOST_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """The properties of a tokenizer, without its vocabulary.

    Attributes:
        n_vocab: The number of tokens.
        words_sha256: The SHA-256 of all tokens' texts, in order.
        pre: The name of the pre-tokenizer, empty without one.
        bos: The token that is added before every text, None if none is.
    """

    n_vocab: int
    words_sha256: str
    pre: str
    bos: int | None


class Tokenizer:
    """The tokenizer of a loaded model; do not use it after the model is closed."""

    def __init__(self, model: Model) -> None:
        self._llama_cpp = library.load()
        self._model = model
        self._vocabulary = self._llama_cpp.llama_model_get_vocab(model.pointer)
        self.facts = self._facts()

    def _facts(self) -> TokenizerFacts:
        words = hashlib.sha256()
        for token in range(self._model.n_vocab):
            words.update(self._llama_cpp.llama_vocab_get_text(self._vocabulary, token) + b"\0")
        adds_bos = self._llama_cpp.llama_vocab_get_add_bos(self._vocabulary)
        return TokenizerFacts(
            self._model.n_vocab,
            words.hexdigest(),
            self._metadata(b"tokenizer.ggml.pre"),
            self._llama_cpp.llama_vocab_bos(self._vocabulary) if adds_bos else None,
        )

    def tokens(self, text: str) -> Tokens:
        """Return the text's tokens; no special token is added or parsed."""
        data = text.encode()
        room = np.empty(len(data) + 16, dtype=np.int32)  # a token has at least one byte, apart from a leading space
        pointer = room.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        n_tokens = self._llama_cpp.llama_tokenize(self._vocabulary, data, len(data), pointer, len(room), False, False)
        return room[: max(n_tokens, 0)].copy()

    def n_bytes(self, tokens: Tokens) -> NDArray[np.int64]:
        """Return how many bytes of text each token stands for."""
        room = ctypes.create_string_buffer(_MOST_PIECE_BYTES)
        piece = self._llama_cpp.llama_token_to_piece
        lengths = {
            token: abs(piece(self._vocabulary, token, room, _MOST_PIECE_BYTES, 0, True))
            for token in set(tokens.tolist())
        }
        return np.array([lengths[token] for token in tokens.tolist()], dtype=np.int64)

    def _metadata(self, key: bytes) -> str:
        room = ctypes.create_string_buffer(_MOST_NAME_BYTES)
        found = self._llama_cpp.llama_model_meta_val_str(self._model.pointer, key, room, _MOST_NAME_BYTES)
        return room.value.decode(errors="replace") if found >= 0 else ""
