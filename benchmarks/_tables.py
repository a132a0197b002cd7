"""Tables of results in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table without the columns in which no row has anything."""
    lines = [[str(cell) for cell in row] for row in rows]
    shown = [k for k in range(len(head)) if any(line[k] for line in lines)]
    rule = "|" + "---|" * len(shown)
    first, *rest = ("| " + " | ".join(line[k] for k in shown) + " |" for line in (head, *lines))
    return "\n".join([first, rule, *rest])
