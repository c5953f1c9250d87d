"""A PostgreSQL cluster of the tests' own, on a socket in a temporary folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_USER = "layertune"


@contextmanager
def cluster() -> Iterator[Path]:
    """Give the folder of a running server's socket; skip with the reason where none can run here."""
    if sys.platform == "win32":
        pytest.skip("these tests reach PostgreSQL over a socket in the file system")
    programs, owner = _programs(), _owner()
    # Not pytest's folder: the server's own user may not look into it, and a socket's path has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="layertune-pg-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        data, log = folder / "data", folder / "log"
        _run(
            owner,
            programs / "initdb",
            "-D",
            data,
            "-U",
            _USER,
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--no-locale",
        )
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run(owner, programs / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield folder
        finally:
            _run(owner, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def new_database(socket: Path, name: str) -> str:
    """Return the URL of a new, empty database."""
    with psycopg.connect(f"host={socket} user={_USER} dbname=postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"postgresql://{_USER}@/{name}?host={socket}"


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in reversed(folders):
        if (folder / "pg_ctl").exists() and (folder / "initdb").exists():
            return folder
    pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")


def _owner() -> str | None:
    """Return whom the server runs as where this is root, as whom it refuses to run."""
    if os.geteuid() != 0:
        return None
    import pwd

    there = {each.pw_name for each in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in there:
            return name
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _run(owner: str | None, *command: str | Path) -> None:
    groups = None if owner is None else []
    # No pipes: the server would keep them open, and whoever reads one waits for its end.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, user=owner, extra_groups=groups, cwd="/", stdout=output, stderr=output, check=False
        )
        output.seek(0)
        assert done.returncode == 0, output.read().decode()
