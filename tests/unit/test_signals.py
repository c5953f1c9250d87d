"""The tests can be run where the shell ignores SIGINT, as in `nohup make test &` and on some CI systems."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.skipif(os.name != "posix", reason="a shell's ignored signals are POSIX'")
def test_a_test_that_sends_sigint_passes_where_sigint_is_ignored() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(TESTS / "trial" / "test_process_runner.py"),
    ]
    answer = subprocess.run(
        ["/bin/sh", "-c", 'trap "" INT TERM; exec "$@"', "sh", *command, "-k", "SIGINT or SIGTERM", "--timeout=60"],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parents[1],
    )
    assert answer.returncode == 0, answer.stdout
