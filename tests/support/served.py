"""Real llama-servers of the measured llama.cpp, started as an export says, on this machine's CPU."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parents[2] / "build" / "tools" / "bin"
WITHOUT_GPU = ("--device", "none")
_START_S = 120


@dataclass(frozen=True)
class Served:
    port: int
    log: Path

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def served(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Start a command with a port of its own behind it, and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / f"{port}.log"
    environment = {"PATH": f"{TOOLS}{os.pathsep}{os.defpath}", "HOME": str(folder), "LLAMA_ARG_LOG_VERBOSITY": "4"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | dict(variables or {}),
        )
    server = Served(port, log)
    try:
        _wait(process, server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], server: Served) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise AssertionError(f"llama-server ended with {process.returncode}: {server.logged()[-3000:]}")
        try:
            server.ask("/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"llama-server did not answer: {server.logged()[-3000:]}")


def context_value(log: str, field: str) -> str:
    """Return what llama.cpp says of the context that it made."""
    match = re.search(rf"llama_context: {field}\s+= (\S+)", log)
    assert match is not None, f"{field} is not in {log[-3000:]}"
    return match[1]
