"""Runs scoring in a child process: whatever it does, every item gets an answer.

A child that dies or stops answering loses the item that it works on; another child goes on with the rest.
"""

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO

from pydantic import ValidationError

from layertune.devices import lifetime
from layertune.errors import DeviceError
from layertune.quality.scoring import JOB, MESSAGE, Job, Message, Progress, Refused, Scored, TooShort
from layertune.quality.texts import too_short

_COMMAND = (sys.executable, "-m", "layertune.quality.scoring_worker")
_END_S = 10.0
_SILENCE_S = 1800.0  # 512 tokens of a 70B on two cores take 20 minutes

Answer = Scored | Refused


def score(
    job: Job,
    on_progress: Callable[[Progress], None],
    on_answer: Callable[[int, Answer], None],
    *,
    command: Sequence[str] = _COMMAND,
    silence_s: float = _SILENCE_S,
) -> None:
    """Score a job's items, and report each item's answer with its index as soon as it is there.

    Args:
        job: The items and their reference.
        on_progress: Called for each piece of text.
        on_answer: Called once for each item.
        command: The worker's program.
        silence_s: The longest time between two messages.

    Raises:
        DeviceError: a process cannot be started.
        ConfigError: a text is too short.
    """
    left = list(range(len(job.items)))
    while left:
        order = tuple(left)
        at: int | None = None  # the item that the child works on, None for the reference
        short: TooShort | None = None
        why = "the process that scores texts ended without an answer"
        for message in _messages(replace(job, items=tuple(job.items[item] for item in order)), command, silence_s):
            if isinstance(message, str):
                why = message
                continue
            if isinstance(message, TooShort):
                short = message
                continue
            at = None if message.item is None else order[message.item]
            if isinstance(message, Progress):
                on_progress(replace(message, item=at))
            elif at is not None:
                left.remove(at)
                on_answer(at, replace(message, item=at))
            elif isinstance(message, Refused):
                why = message.reason
        if short is not None:
            raise too_short(short.kind, f"{short.n_tokens} tokens of {job.reference.candidate.path.name}")
        if left and at is None:
            for item in left:
                on_answer(item, Refused(item, f"the reference cannot be scored: {why}"))
            return
        if left and at in left:
            left.remove(at)
            on_answer(at, Refused(at, why))


def _messages(job: Job, command: Sequence[str], silence_s: float) -> Iterator[Message | str]:
    """Yield a child's messages; if it did not end by itself, how it ended comes last."""
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen([*command, str(os.getpid())], stdin=pipe, stdout=pipe, stderr=complaints)
        except OSError as error:
            raise DeviceError(f"{command[0]} cannot be started: {error.strerror}", remedy="try again") from error
        try:
            lines = _start(process, job)
            while (line := lines.get(timeout=silence_s)) is not None:
                yield MESSAGE.validate_json(line)
            status = lifetime.wait(process, _END_S)
            if status != 0:
                yield _last_words(complaints, status)
        except queue.Empty:
            yield f"llama.cpp did not answer for {silence_s:.0f} s"
        except ValidationError:
            yield "the process that scores texts sent no valid answer"
        finally:
            lifetime.end(process)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()


def _start(process: "subprocess.Popen[bytes]", job: Job) -> "queue.Queue[bytes | None]":
    """Send the job, and return the lines of the answer as they come; None is their end."""
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        if process.stdout is not None:
            with contextlib.suppress(OSError, ValueError):  # closed while it was read
                for line in process.stdout:
                    lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="scores", daemon=True).start()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it died at once; its status shows that
            process.stdin.write(JOB.dump_json(job) + b"\n")
            process.stdin.flush()
    return lines


def _last_words(complaints: IO[bytes], status: int | None) -> str:
    """Return how a child ended, with the last line that it wrote, such as an assertion that failed."""
    complaints.seek(0)
    words = complaints.read().decode(errors="replace").strip().splitlines()
    end = "llama.cpp did not end" if status is None else f"llama.cpp ended with {lifetime.describe_exit(status)}"
    return f"{end}: {words[-1]}" if words else end
