"""A seeded random order of very many indices."""

import random
from collections.abc import Iterator


def permuted(n: int, generator: random.Random) -> Iterator[int]:
    """Yield 0 … n − 1 in random order, by Fisher and Yates' shuffle; only the moved numbers are stored."""
    moved: dict[int, int] = {}
    for place in range(n):
        other = generator.randrange(place, n)
        yield moved.get(other, other)
        moved[other] = moved.pop(place, place)
