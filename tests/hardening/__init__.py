"""Mutated input through the functions that commands use: `__main__` is the command, `attack` says how to add a kind."""

import sys
from pathlib import Path

# The studies that tests share; pytest has the folder on its path, `python -m tests.hardening` has not.
sys.path.append(str(Path(__file__).parents[1] / "support"))
