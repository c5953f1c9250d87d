"""What ends a command from outside: the system, or the terminal that is closed."""

import signal
from collections.abc import Callable
from types import FrameType


def on_ending(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call `handler` for SIGTERM and SIGHUP. What is ignored already stays ignored, as `nohup` wants it."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
