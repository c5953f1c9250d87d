"""Captures llama.cpp's log, the only place where it reports buffer sizes and why it refuses something."""

from collections import deque
from itertools import islice
from types import ModuleType
from typing import TextIO

DEBUG, INFO, ERROR, CONTINUED = 1, 2, 4, 5  # ggml.h, enum ggml_log_level; warnings are 3

_KEPT_LINES = 4000


class LogCapture:
    """Keeps the last 4000 lines of llama.cpp's log.

    Continued lines are joined. Debug lines are dropped, apart from those that `keep_debug` selects.
    """

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_KEPT_LINES)
        self._n_lines = 0
        self._partial = ""
        self._level = INFO
        self._callback: object | None = None
        self._echo: TextIO | None = None
        self._debug_words: tuple[bytes, ...] = ()

    def install(self, llama_cpp: ModuleType) -> None:
        """Make this the log callback of llama.cpp, in place of the one that llama_cpp installs on import."""
        self._callback = llama_cpp.llama_log_callback(self._receive)  # kept: ctypes frees it otherwise
        llama_cpp.llama_log_set(self._callback, None)

    def copy_to(self, stream: TextIO) -> None:
        """Also write every kept line to `stream`, so that the log survives this process."""
        self._echo = stream

    def keep_debug(self, *words: str) -> None:
        """Also keep debug lines that contain one of `words`.

        From now on all lines are kept, not only the last 4000, since there is such a line for every tensor or layer.
        """
        self._debug_words = tuple(word.encode() for word in words)
        self._lines = deque(self._lines)

    def mark(self) -> int:
        """Return the current end of the log, for `since`."""
        return self._n_lines

    def since(self, mark: int) -> list[str]:
        """Return the lines logged after `mark` that are still kept."""
        return [text for _, text in self._since(mark)]

    def first_error_since(self, mark: int) -> str | None:
        """Return the first error after `mark`, which names the cause; later ones only report that loading failed."""
        return next((text.strip() for level, text in self._since(mark) if level == ERROR), None)

    def tail(self, n_lines: int) -> list[str]:
        """Return the last `n_lines` lines."""
        return [text for _, text in list(self._lines)[-n_lines:]]

    def _since(self, mark: int) -> list[tuple[int, str]]:
        newest_first = islice(reversed(self._lines), self._n_lines - mark)
        return list(newest_first)[::-1]

    def _receive(self, level: int, text: bytes, _user_data: object) -> None:
        if level != CONTINUED:
            self._level = level
        if self._level == DEBUG and not any(word in text for word in self._debug_words):
            return
        *complete, self._partial = (self._partial + text.decode(errors="replace")).split("\n")
        for line in complete:
            self._lines.append((self._level, line))
            self._n_lines += 1
            if self._echo is not None:
                self._echo.write(f"{line}\n")
