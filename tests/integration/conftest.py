"""What several integration tests share, started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgresql import cluster


@pytest.fixture(autouse=True)
def _kill_leftovers(kill_leftovers: None) -> None:
    """Every test here may start a search or a server."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Path]:
    """Give the folder of a running PostgreSQL's socket; each test makes a database of its own."""
    with cluster() as socket:
        yield socket
