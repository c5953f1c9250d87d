"""Names beside points, where there is room for them."""

from collections.abc import Iterator, Sequence

from layertune.report.chart import text
from layertune.report.markup import Html

# Of the page's 11 px figure font: a mean advance, and the height of a line.
_ADVANCE, _HEIGHT, _GAP = 6.4, 12.0, 12.0

Box = tuple[float, float, float, float]


def place(points: Sequence[tuple[float, float, str]], inside: Box, taken: Sequence[Box] = ()) -> Html:
    """Return a label for each (x, y, words), in that order, unless it would cover another or leave `inside`.

    Where the words find no place, their first one is tried. What finds none is left out: the point still tells its
    name, and the table has it.
    """
    boxes, drawn = list(taken), list[Html]()
    for x, y, words in points:
        for told in dict.fromkeys((words, words.split(" ")[0])):
            box = next((box for box in _places(x, y, told) if _free(box, inside, boxes)), None)
            if box is not None:
                boxes.append(box)
                drawn.append(text(box[0], box[3] - 2, told, kind="name"))
                break
    return Html("".join(drawn))


def _places(x: float, y: float, words: str) -> Iterator[Box]:
    """Give the places right of a point, above, below and left of it."""
    width = _ADVANCE * len(words)
    for left, middle in (
        (x + _GAP, y),
        (x - width / 2, y - _GAP - _HEIGHT / 2),
        (x - width / 2, y + _GAP + _HEIGHT / 2),
        (x - _GAP - width, y),
    ):
        yield left, middle - _HEIGHT / 2, left + width, middle + _HEIGHT / 2


def _free(box: Box, inside: Box, boxes: Sequence[Box]) -> bool:
    return _within(box, inside) and not any(_overlap(box, other) for other in boxes)


def _within(box: Box, inside: Box) -> bool:
    return box[0] >= inside[0] and box[1] >= inside[1] and box[2] <= inside[2] and box[3] <= inside[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
