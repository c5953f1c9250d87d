"""Draw a study's front as an SVG of the terminal: python scripts/picture.py STUDY OUTPUT.svg"""

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from layertune.cli.front import front_table
from layertune.results.result import read_result


def main(study: str, output: str) -> None:
    console = Console(record=True, width=110, file=StringIO(), highlight=False)
    console.print(front_table(read_result(Path(study))))
    picture = console.export_svg(title=f"layertune pareto {study}")
    # rich refers to a font on a network; the picture must not.
    Path(output).write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
