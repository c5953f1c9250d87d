"""A lock on an open file, the system's own: it ends when the file is closed or its process does, however that dies."""

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def lock_file(file: IO[str]) -> None:
        """Raises BlockingIOError or PermissionError where another process has it, OSError where there are no locks."""
        # A byte far behind the text, which stays readable for others: Windows locks are mandatory.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def lock_file(file: IO[str]) -> None:
        """Raises BlockingIOError or PermissionError where another process has it, OSError where there are no locks."""
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
