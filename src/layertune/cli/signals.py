"""What ends a command from outside: the system, or the terminal that is closed."""

import signal
from types import FrameType


def end_as_ctrl_c() -> None:
    """Have SIGTERM and SIGHUP end the command as Ctrl-C does. What is ignored stays ignored, as `nohup` wants it."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """asyncio ends its tasks in order on Ctrl-C, by a handler of its own."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(number, frame)
    else:
        raise KeyboardInterrupt
