"""How relatedness shows itself: sentences, a table, a picture."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask import _charts
from polytask._messages import Speech, clean
from polytask.analysis import _related_sentences as says
from polytask.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from polytask.analysis._related_result import Relatedness

# Cells of a map per side.
_CELLS = 60


@dataclass(frozen=True, eq=False)
class Drawn:
    """A map that fits on a picture. Shapes: values (k, k)."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    tree: tuple[tuple[int, int, float, int], ...]
    binned: bool


def drawn_map(result: Relatedness) -> Drawn:
    """Return the map of a result, many tasks as runs of neighbours."""
    names = task_names([result.tasks[place].task for place in result.order])
    matrix, n = result.matrix, len(result.order)
    if n <= _CELLS:
        return Drawn(matrix, tuple(names), result.tree, binned=False)
    ends = np.linspace(0, n, _CELLS + 1).astype(int)
    starts, sizes = ends[:-1], np.diff(ends)
    # The correlation of a task with itself says nothing about its run.
    off = matrix - np.eye(n)
    sums = np.add.reduceat(np.add.reduceat(off, starts, axis=0), starts, axis=1)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    means = np.divide(sums, pairs, out=np.ones_like(sums), where=pairs > 0)
    return Drawn(means, tuple(names[k] for k in starts), (), binned=True)


def task_names(tasks: Sequence[Hashable]) -> list[str]:
    """Return a name for each task; those that look alike are told apart by type."""
    texts = [clean(str(task)) for task in tasks]
    counts = Counter(texts)
    return [
        text if counts[text] == 1 else clean(repr(task))
        for text, task in zip(texts, tasks, strict=True)
    ]


def opening(result: Relatedness, lang: str = "en") -> str:
    """Return the answer in one or two sentences."""
    return says.opening(result, Speech(lang))


def summary(result: Relatedness, lang: str = "en") -> str:
    """Return what was found, a line for each sentence."""
    return "\n".join(says.lines(result, Speech(lang)))


def task_table(result: Relatedness) -> pd.DataFrame:
    """Return one row per task, as in the data."""
    import pandas as pd

    tasks = result.tasks
    return pd.DataFrame(
        {
            "task": _labels([one.task for one in tasks]),
            "rows": np.array([one.rows for one in tasks], dtype=int),
            "closeness": np.array([one.closeness for one in tasks], dtype=float),
            "nearest": _labels([one.nearest for one in tasks]),
            "similarity": np.array([one.similarity for one in tasks], dtype=float),
            "group": pd.array([one.group for one in tasks], dtype="Int64"),
        }
    )


def _labels(values: Sequence[object]) -> pd.Series[Any]:
    import pandas as pd

    out = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # one by one: a tuple is one label
        out[place] = value
    return pd.Series(out, dtype=object)


def html_table(result: Relatedness) -> str:
    """Return the tasks, closest first, as a plain HTML table with the answer as its caption."""
    lines = [result.tasks[place] for place in result.order]
    lines = sorted(lines, key=lambda line: -line.closeness)[:_CELLS]
    heads = ("task", "rows", "closeness", "nearest", "similarity", "group")
    cells = [
        [clean(str(one.task)), f"{one.rows:,}", f"{one.closeness:.2f}", clean(str(one.nearest)),
         f"{one.similarity:.2f}", "" if one.group is None else str(one.group)]
        for one in lines
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in cells)
    caption = html.escape(opening(result))
    return (
        f'<table><caption style="text-align: left">{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str) -> str:
    return f'<td dir="auto">{html.escape(text)}</td>'


def plot(result: Relatedness, ax: Axes | None = None) -> Axes:
    """Draw the map of the tasks, its tree above it; see :meth:`Relatedness.plot`."""
    if not result.order:
        raise DataError("There is no map to draw: no task says anything about its coefficients.")
    drawn = drawn_map(result)
    if ax is None:
        side = 2.5 + 0.16 * max(len(drawn.names), 6)
        ax = _charts.new_axes(side + 0.8, side)
    return _charts.task_map(ax, drawn.values, drawn.names, drawn.tree)
