"""Tables: what every figure can be read as, without a picture and without JavaScript."""

from collections.abc import Sequence

from layertune.report.markup import Html, escape, join


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Html]], ids: Sequence[str] = ()) -> Html:
    """Return a table whose first cell of each row names it; `ids` are the rows' anchors.

    On a phone each row of more than two cells is a block of its own, and each cell behind its heading: roles are
    spelled out, since browsers take a table that is not laid out as one for no table.
    """
    head = join(Html(f'<th scope="col" role="columnheader">{escape(each)}</th>') for each in headings)
    kind = "many" if len(headings) > 2 else "few"  # two columns fit a phone
    body = join(_row(headings, row, ids[at] if ids else "") for at, row in enumerate(rows))
    return Html(
        f'<div class="scroll"><table class="{kind}" role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _row(headings: Sequence[str], cells: Sequence[Html], anchor: str) -> Html:
    first, *others = cells
    labels = [escape(heading) for heading in headings]
    content = join(
        Html(f'<td role="cell" data-label="{label}"><div>{cell}</div></td>')
        for label, cell in zip(labels[1:], others, strict=True)
    )
    mark = f' id="{escape(anchor)}"' if anchor else ""
    named = f'<th scope="row" role="rowheader" data-label="{labels[0]}"><div>{first}</div></th>'
    return Html(f'<tr role="row"{mark}>{named}{content}</tr>')
