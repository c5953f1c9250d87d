"""A table of plain text: who shows it decides how wide it may be, and makes its cells printable."""

from collections.abc import Sequence
from dataclasses import dataclass, field

GAP = 2  # columns of a terminal between two of a table


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `heading` line by line. One that `wraps` breaks long cells, others are cut off."""

    heading: tuple[str, ...]
    right: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns."""

    title: str = ""
    columns: list[Column] = field(default_factory=list)
    rows: list[Sequence[str]] = field(default_factory=list)

    def column(self, *heading: str, right: bool = False, wraps: bool = False) -> None:
        self.columns.append(Column(heading, right, wraps))

    def row(self, *cells: str) -> None:
        self.rows.append(cells)

    def width(self) -> int:
        """Return how many characters wide the table is with no cell broken."""
        cells = [[*each.heading, *(row[at] for row in self.rows)] for at, each in enumerate(self.columns)]
        return sum(max(map(len, column), default=0) for column in cells) + GAP * (len(cells) - 1)
