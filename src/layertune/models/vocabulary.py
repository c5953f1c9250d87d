"""An invented byte-level BPE vocabulary of a given size, which can tokenize any text.

Its order is that of Qwen2.5's: 256 byte symbols, one token for each merge, the control tokens, padding. It also takes
about as many bytes of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from string import ascii_lowercase

# tokenizer_config.json of Qwen2.5-Instruct, in the order of their ids from 151643 on.
CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
N_REGULAR = 151_643  # byte symbols and merges, from Qwen2.5's vocab.json

_NORMAL, _CONTROL, _UNUSED = 1, 3, 5  # llama.h, enum llama_token_type

# The number of words of 4 and of 8 letters; the rest have 12. With these the mean length is that of Qwen2.5's words.
_N_FOURS, _N_EIGHTS = 10_000, 86_000


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`types` and `tokens` by id; `merges` in order of rank."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    end_of_text: int
    end_of_turn: int


def make_vocabulary(n_vocab: int) -> Vocabulary:
    """Return a vocabulary of `n_vocab` tokens, which must be enough for 256 byte symbols and the control tokens."""
    n_merges = min(N_REGULAR, n_vocab - len(CONTROL_TOKENS)) - 256
    merges = list(islice(_merges(), n_merges))
    regular = [*_byte_symbols(), *(left + right for left, right in merges)]
    padding = [f"[PAD{number}]" for number in range(len(regular) + len(CONTROL_TOKENS), n_vocab)]
    return Vocabulary(
        tokens=[*regular, *CONTROL_TOKENS, *padding],
        types=[_NORMAL] * len(regular) + [_CONTROL] * len(CONTROL_TOKENS) + [_UNUSED] * len(padding),
        merges=[f"{left} {right}" for left, right in merges],
        end_of_text=len(regular) + CONTROL_TOKENS.index("<|endoftext|>"),
        end_of_turn=len(regular) + CONTROL_TOKENS.index("<|im_end|>"),
    )


def _byte_symbols() -> list[str]:
    """Return GPT-2's printable characters for the 256 bytes, in byte order (openai/gpt-2, encoder.py,
    bytes_to_unicode)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _merges() -> Iterator[tuple[str, str]]:
    """Yield distinct merges of earlier tokens: pairs of letters, then words of 4, 8 and 12 letters."""
    twos = [(left, right) for left in ascii_lowercase for right in ascii_lowercase]
    yield from twos
    pairs = [left + right for left, right in twos]
    fours = [(left, right) for left in pairs for right in pairs][:_N_FOURS]
    yield from fours
    words = [left + right for left, right in fours]
    eights = [(left, words[(index * 7 + shift) % _N_FOURS]) for shift in range(9) for index, left in enumerate(words)]
    yield from eights[:_N_EIGHTS]
    yield from ((left + right, words[index % _N_FOURS]) for index, (left, right) in enumerate(eights[:_N_EIGHTS]))
