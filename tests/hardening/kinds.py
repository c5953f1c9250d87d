"""The kinds of mutated input, by the name of their option."""

from collections.abc import Callable, Mapping

from tests.hardening.attack import Attack
from tests.hardening.configs import Configs
from tests.hardening.headers import Headers
from tests.hardening.journals import Journals
from tests.hardening.results import Results

KINDS: Mapping[str, Callable[[], Attack]] = {
    "headers": Headers,
    "configs": Configs,
    "results": Results,
    "journals": Journals,
}
