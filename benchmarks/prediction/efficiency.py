"""The modules of benchmarks/search_efficiency, whose folder is no package."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "search_efficiency"))

race, truth = import_module("race"), import_module("truth")
