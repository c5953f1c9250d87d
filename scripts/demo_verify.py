"""Verify the newest study that `make search` made of the demo pair: the record goes into its folder.

python scripts/demo_verify.py [DURATION]
"""

import os
import sys
from pathlib import Path

STUDIES = Path("studies")
MADE = ("demo", "demo-20??????-*")  # by `make search` and by hand; the recorded studies are called demo- too


def main() -> None:
    duration = sys.argv[1] if len(sys.argv) > 1 else "1m"
    made = [path for name in MADE for path in STUDIES.glob(f"{name}/result.json")]
    finished = sorted(made, key=lambda path: path.stat().st_mtime)
    if not finished:
        sys.exit("there is no finished study of the demo pair here; make one with: make search (minutes)")
    folder = finished[-1].parent
    layertune = str(Path(sys.executable).with_name("layertune"))
    command = [layertune, "verify", str(folder), "--duration", duration, "-o", str(folder / "verify.md")]
    print(f"demo: {' '.join(command[1:])}", file=sys.stderr, flush=True)
    os.execv(layertune, command)


if __name__ == "__main__":
    main()
