"""Memory as a colour: blue is little, orange is the whole budget. Both stand out on white and on black."""

from layertune.report.chart import text
from layertune.report.markup import Html

_STOPS = ((58, 111, 216), (150, 122, 150), (232, 130, 0))


def ramp(share: float) -> str:
    """Return the colour of a share of the budget; what is beyond 0 or 1 has the end's colour."""
    at = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    first = min(int(at), len(_STOPS) - 2)
    mixed = (
        round(low + (high - low) * (at - first)) for low, high in zip(_STOPS[first], _STOPS[first + 1], strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)


def scale_bar(x: float, y: float, width: float, low: str, high: str) -> Html:
    """Return the key of the ramp, with what its ends stand for."""
    n_steps = 24
    step = width / n_steps
    bars = "".join(
        f'<rect x="{x + at * step:.1f}" y="{y:.1f}" width="{step + 0.5:.1f}" height="8" '
        f'fill="{ramp(at / (n_steps - 1))}"/>'
        for at in range(n_steps)
    )
    budget = f'<path class="budget" d="M{x + width:.1f} {y - 4:.1f}v16"/>'
    return Html(bars + budget + text(x, y + 22, low) + text(x + width, y + 22, high, "end"))
