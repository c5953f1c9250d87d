"""Which tokens are scored."""

import numpy as np

from layertune.quality.pieces import Piece, pieces_of, same_bytes, stages
from layertune.quality.scoring import Scoring

SCORING = Scoring(n_threads=1)


def pieces(kind: str, n_tokens: int, n_bytes: int = 4, bos: int | None = 7) -> list[Piece]:
    tokens = np.arange(n_tokens, dtype=np.int32)
    return list(pieces_of(kind, tokens, np.full(n_tokens, n_bytes), bos, SCORING.n_ctx))


def test_bos_precedes_the_text_and_replaces_the_first_token_of_each_further_context() -> None:
    one, two = pieces("code", 700)
    assert (one.tokens[0], one.tokens[1], len(one.tokens)) == (7, 0, 512)
    assert (two.tokens[0], two.tokens[1], len(two.tokens)) == (7, 512, 189)
    assert (one.end_byte, two.end_byte) == (511 * 4, 700 * 4)
    assert pieces("code", 700, bos=None)[1].tokens[0] == 512


def test_scoring_begins_with_2000_tokens_and_goes_on_to_6000_at_most() -> None:
    texts = [*pieces("english", 2300), *pieces("korean", 9000), *pieces("code", 3000)]
    first, more = stages(texts, SCORING)
    assert sorted((piece.kind, piece.number) for piece in first) == [
        (kind, number) for kind in ("code", "english", "korean") for number in (0, 1)
    ]
    assert {piece.number for piece in more} == {2, 3}
    assert len(first) * 479 >= 2000
    assert (len(first) + len(more)) * 479 <= 6000


def test_one_text_gives_all_tokens() -> None:
    first, more = stages(pieces("mine.txt", 20_000), SCORING)
    assert (len(first), len(more)) == (5, 7)


def test_another_model_is_scored_on_the_same_bytes() -> None:
    reference, _ = stages(pieces("korean", 5000, n_bytes=2), SCORING)
    other = same_bytes(pieces("korean", 3000, n_bytes=5), reference, SCORING)
    assert reference[-1].end_byte == (5 * 512 - 1) * 2
    assert sum(piece.n_bytes.sum() for piece in other) == (5 * 512 - 1) * 2 // 5 * 5
