"""The kinds of mutated input, by the name of their option."""

from collections.abc import Callable, Mapping

from tests.hardening.attack import Attack
from tests.hardening.headers import Headers

KINDS: Mapping[str, Callable[[], Attack]] = {"headers": Headers}
