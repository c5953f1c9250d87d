"""A prediction as a table."""

from collections.abc import Sequence

from layertune.prediction.prediction_file import Interval, Prediction
from layertune.tables import Table
from layertune.units import format_bytes

_MOST_ROWS = 16


def prediction_table(prediction: Prediction) -> Table:
    shown = shown_places(prediction)
    table = Table(_title(prediction, len(shown)))
    for name in prediction.models:
        table.column(name, "layers", right=True)
        table.column("", "-c -b", right=True)
        table.column("PREDICTED", "tokens/s alone", right=True)
    table.column("planned", "VRAM", right=True)
    table.column("", "pick", wraps=True)
    for place in shown:
        table.row(*_row(prediction, place))
    return table


def shown_places(prediction: Prediction) -> list[int]:
    """Return the picks and, spread evenly over the front, as many others as people read."""
    places = range(len(prediction.front))
    picks = set(prediction.picks.values())
    n_others = max(_MOST_ROWS - len(picks), 2)
    if len(places) <= _MOST_ROWS:
        return list(places)
    spread = {round(each * (len(places) - 1) / (n_others - 1)) for each in range(n_others)}
    return sorted(picks | spread)


def _title(prediction: Prediction, n_shown: int) -> str:
    card, capacity_bytes = prediction.card, prediction.budget.capacity_bytes() or 0
    plural = "" if card.n_threads == 1 else "s"
    threads = f", {card.n_threads} device thread{plural}" if card.n_threads else ""
    emulated = ", EMULATED" if prediction.emulated else ""
    n_front = len(prediction.front)
    shown = f"{n_front} settings" if n_shown == n_front else f"{n_shown} of {n_front} settings, all with --json"
    return (
        f"PREDICTED front on {card.profile} ({card.name}, {format_bytes(card.vram_bytes)}{threads}{emulated}, "
        f"budget {format_bytes(capacity_bytes)}): {shown}"
    )


def _row(prediction: Prediction, place: int) -> Sequence[str]:
    setting = prediction.front[place]
    cells = []
    for name, engine in setting.models.items():
        layers = engine.settings.layers(prediction.models[name].n_layer) + ("*" if engine.beyond else "")
        sizes = f"{engine.settings.n_ctx} {engine.settings.n_batch}"
        cells += [layers, sizes, interval_text(engine.tokens_per_s)]
    picks = ", ".join(pick for pick, at in prediction.picks.items() if at == place)
    return [*cells, format_bytes(setting.planned_bytes), picks]


def interval_text(interval: Interval) -> str:
    return f"{interval.expected:.1f} ({interval.low:.1f} to {interval.high:.1f})"
