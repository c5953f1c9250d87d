"""The front as a scatter of plain text."""

from collections.abc import Sequence

from layertune.results.result import Result, TrialInfo
from layertune.units import GIB, MIB

_MOST_WIDE, _LEAST_WIDE, _HIGH = 72, 24, 14
_GUTTER = 9  # the widest number on the vertical axis, and a space

Point = tuple[float, float, str]


def front_plot(result: Result, width: int) -> str:
    """Return the first model's speed against the second's, or a single model's against its peak VRAM.

    Trials of the front are drawn as their numbers, other measured trials as dots.
    """
    front = [result.trial(number) for number in result.pareto]
    if not front:
        return "no front to draw"
    others = [trial for trial in result.trials if trial.state == "measured" and trial.number not in result.pareto]
    unit = "tokens/s, EMULATED" if result.hardware.device.kind == "emulated" else "tokens/s"
    models = list(result.models)
    vertical = models[1] if len(models) > 1 else models[0]
    peaks = [trial.vram.peak_bytes for trial in front if trial.vram is not None]
    size, name = (GIB, "GiB") if max(peaks, default=0) >= 16 * GIB else (MIB, "MiB")
    label = f"{models[0]}, {unit}" if len(models) > 1 else f"peak VRAM, {name}"

    def place(trial: TrialInfo, text: str) -> Point:
        x = _speed(trial, models[0]) if len(models) > 1 else _peak_bytes(trial) / size
        return x, _speed(trial, vertical), text

    points = [*(place(trial, "·") for trial in others), *(place(trial, str(trial.number)) for trial in front)]
    more = "" if len(models) < 3 else f"\n{', '.join(models[2:])}: in the table, and in layertune report"
    return f"{vertical}, {unit}\n{scatter(points, width)}\n{label.rjust(_canvas_width(width) + _GUTTER)}{more}"


def scatter(points: Sequence[Point], width: int) -> str:
    """Return the points as text, later ones over earlier ones, in at most `width` columns.

    The axes run from the lowest to the highest value.
    """
    columns = _canvas_width(width)
    left, right = _range([x for x, _, _ in points])
    bottom, top = _range([y for _, y, _ in points])
    canvas = [[" "] * columns for _ in range(_HIGH)]
    for x, y, text in points:
        row = round((top - y) / (top - bottom) * (_HIGH - 1))
        column = min(round((x - left) / (right - left) * (columns - 1)), columns - len(text))
        canvas[row][column : column + len(text)] = text
    labels = {0: _short(top), _HIGH - 1: _short(bottom)}
    lines = [f"{labels.get(at, ''):>{_GUTTER - 2}} │{''.join(row).rstrip()}" for at, row in enumerate(canvas)]
    first = _short(left)
    scale = f"{first}{_short(right):>{columns - len(first)}}"
    return "\n".join([*lines, f"{'':{_GUTTER - 1}}└{'─' * columns}", f"{'':{_GUTTER}}{scale}"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, high + 1)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _canvas_width(width: int) -> int:
    return max(_LEAST_WIDE, min(width - _GUTTER - 1, _MOST_WIDE))


def _speed(trial: TrialInfo, model: str) -> float:
    return (trial.metrics or {})[model]["tokens_per_s"].median


def _peak_bytes(trial: TrialInfo) -> int:
    return trial.vram.peak_bytes if trial.vram is not None else 0
