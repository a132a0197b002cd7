"""Single cells so far from the others of their column that they decide or drown it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.leaks import targets_of
from polytask._estimator.number_columns import NumberColumns
from polytask._estimator.places import counted, row_message
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.exceptions import DataWarning
from polytask.messages import LazyMessage

# No column is looked at closely that holds nothing larger.
_LARGE = 1e12
# Cells below this share of the largest keep no digit once its mean is taken off.
_LOST = float(np.finfo(np.float64).eps)


def warn_of_far_cells(data: TaskData, bound: float = float("inf")) -> None:
    """Warn of cells of encoded features and of targets that drown their column."""
    for what, row, cell, usual in _found_in(data, bound <= _LARGE):
        message = _drowning(data, what, row, cell, usual)
        warnings.warn(DataWarning(message), stacklevel=4)


def _drowning(
    data: TaskData, what: LazyMessage, row: int, cell: float, usual: float
) -> LazyMessage:
    fields = {"what": what.node, "cell": f"{cell:.3g}", "place": row_message(data, row).node}
    return LazyMessage("far.drowning", fields | {"usual": f"{usual:.2g}"})


def place_of_largest(values: Any, data: TaskData) -> LazyMessage:  # noqa: ANN401 - dense or sparse
    """Return column and row of the largest of the features, or of the targets, in words."""
    if is_sparse(values):
        at = int(np.argmax(np.abs(values.data)))
        row = int(np.searchsorted(values.indptr, at, side="right")) - 1
        column = int(values.indices[at])
    else:
        wide = np.nan_to_num(np.abs(values), nan=0.0).reshape(len(values), -1)
        row, column = divmod(int(np.argmax(wide)), wide.shape[1])
    where = counted(row_message(data, row))
    if values.ndim == 1:
        return where
    feature = values is data.X
    name = _column(data, column) if feature else repr(data.tasks[column])
    kind = "feature" if feature else "target"
    return LazyMessage(f"place.{kind}", {"name": name, "place": where})


def _column(data: TaskData, j: int) -> str:
    return f"{j}" if data.feature_names is None else repr(data.feature_names[j])


def _found_in(data: TaskData, fine: bool) -> list[tuple[LazyMessage, int, float, float]]:
    """Return column, row, cell and usual size of the cells that drown others."""
    # X is left out where it is known to be `fine`.
    found = []
    for j in () if fine else _large_columns(data.X):
        column = data.X[:, [j]].toarray().ravel() if is_sparse(data.X) else data.X[:, j]
        what = LazyMessage("far.column", {"name": _column(data, j)})
        found.append((what, *_far(np.asarray(column))))
    y = np.asarray(data.y)
    key = "far.target_named" if data.form is Form.TARGETS else "far.target"
    numbers = y.reshape(len(y), -1) if y.dtype.kind == "f" else np.empty((len(y), 0))
    for t in _large_columns(numbers):
        what = LazyMessage(key, {"name": repr(data.tasks[t])})
        found.append((what, *_far(numbers[:, t])))
    return [one for one in found if one[3] < _LOST * abs(one[2])]


def _large_columns(values: Any) -> NDArray[np.intp]:  # noqa: ANN401 - dense or sparse
    stored = values.data if is_sparse(values) else values
    if not stored.size or _is_small(stored):
        return np.empty(0, dtype=np.intp)
    if is_sparse(values):
        return np.unique(values.indices[np.abs(stored) > _LARGE])
    with np.errstate(invalid="ignore"):
        return np.flatnonzero((np.abs(values) > _LARGE).any(axis=0))


def _is_small(values: NDArray[Any]) -> bool:
    """Say whether no value is large, from one pass where there is none."""
    flat = values.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        if np.dot(flat, flat) <= _LARGE**2:
            return True
    return max(float(values.max()), -float(values.min())) <= _LARGE


def _far(column: NDArray[Any]) -> tuple[int, float, float]:
    """Return the row of the largest cell, the cell, and the median size of those not zero."""
    size = np.abs(np.nan_to_num(column.astype(np.float64), nan=0.0))
    row = int(np.argmax(size))
    return row, float(column[row]), float(np.median(size[size > 0]))


# Cells that decide ---------------------------------------------------------------------------

# Cells decide a column if they carry more than half of its sum of squares around the median and
# are farther off than a heavy tail explains. With distances t_1 >= t_2 >= ... from the median,
# the steps log t_j - log t_(j+1) of a Pareto tail are independent exponential variables with
# means in proportion to 1 / j, whatever its index (Renyi, 1953). The step below the cells must
# be so long, beside the steps that follow it, that its chance is below 1 in 1,000; in lighter
# tails long steps are rarer. Simulated columns of 50, 300, 1,000, 10,000 and 100,000 rows, 6,400
# of each kind, that were named: none of normal, uniform, exponential, lognormal (sigma 1, 1.5 and
# 2.5), Poisson, negative binomial and binary ones, and of those that are mostly 0 (with lognormal
# or Poisson amounts); 7 of t with 2 degrees of freedom, 9 of Pareto with index 1, 16 of Cauchy.
# A column of fewer cells, or with fewer that differ from its median, says too little.
_FEWEST = 20
_MOST_DECISIVE = 3
_TAIL = 50
_CHANCE = 1e-3


def far_cell_sentences(data: TaskData, columns: NumberColumns) -> list[LazyMessage]:
    """Return a message for every column and target of raw data that far cells decide or drown."""
    found = []
    for target in targets_of(data):
        what = LazyMessage("far.target_named" if target.label else "far.target",
                           {"name": target.label})  # fmt: skip
        found.append(_far_sentence(data, what, target.numbers))
    for chosen, block in columns.blocks(_stored_enough(columns)):
        for k in np.flatnonzero(_may_be_decided(block)):
            what = LazyMessage("far.column", {"name": columns.labels[chosen[k]]})
            found.append(_far_sentence(data, what, block[k]))
    return [message for message in found if message is not None]


def _far_sentence(
    data: TaskData, what: LazyMessage, column: NDArray[np.float64]
) -> LazyMessage | None:
    if np.max(np.abs(column), where=np.isfinite(column), initial=0.0) > _LARGE:
        row, cell, usual = _far(column)
        if usual < _LOST * abs(cell):
            return _drowning(data, what, row, cell, usual)
    found = decisive_message(column, lambda i: row_message(data, i))
    return found and LazyMessage("far.holds", {"what": what.node, "cells": found.node})


def decides_result(message: LazyMessage) -> bool:
    """Say whether a message is about far cells of a target, or such as drown a column."""
    # Marks of missing cells are far off, and too many for single ones to decide.
    if message.key in ("far.holds", "doubt.marker"):
        return str(message.fields["what"]["key"]).startswith("far.target")
    return message.key == "far.drowning"


def decisive_message(
    column: NDArray[np.float64], place: Callable[[int], LazyMessage]
) -> LazyMessage | None:
    """Name the cells that decide a column, the range of the others, and what to do, if any do."""
    decisive = decisive_cells(column)
    if decisive is None:
        return None
    rows, share = decisive
    others = np.delete(column, rows)
    others = others[np.isfinite(others)]
    cells = [
        LazyMessage("far.cell", {"cell": f"{column[i]:.7g}", "place": place(i).node}) for i in rows
    ]
    named = functools.reduce(
        lambda a, b: LazyMessage("list.and", {"before": a.node, "after": b.node}), cells
    )
    # Never all of the variation: the other cells vary too.
    percent = f"{min(100 * share, 99.9):.3g}"
    ends = {"low": f"{others.min():.7g}", "high": f"{others.max():.7g}"}
    fields = {"cells": named.node, "percent": percent, "n": len(rows), **ends}
    return LazyMessage("far.decisive", fields)


def decisive_cells(column: NDArray[np.float64]) -> tuple[list[int], float] | None:
    """Return the rows of one to three cells that decide a column, and their share of it."""
    finite = np.isfinite(column)
    rows = np.flatnonzero(finite)
    if len(rows) < _FEWEST:
        return None
    values = column[rows] / (np.abs(column[rows]).max() or 1.0)
    distance = np.abs(values - np.median(values))
    k = min(_TAIL, int(np.count_nonzero(distance)) // 2)
    if 2 * k < _FEWEST:
        return None
    total = float(np.sum(distance**2))
    top = np.argpartition(distance, -k)[-k:]
    top = top[np.argsort(-distance[top], kind="stable")]
    t = distance[top]
    for m in range(1, min(_MOST_DECISIVE, max(1, len(rows) // 100)) + 1):
        share = float(np.sum(t[:m] ** 2)) / total
        # Values of few digits leave no step between them: half the size is within any tail.
        spread = max(float(np.log(t[m] / t[-1])), float(np.log(2)))
        steps = m * float(np.log(t[m - 1] / t[m])) / spread
        j = np.arange(m + 1, k)
        if share > 0.5 and np.prod(j / (j + steps)) < _CHANCE:
            return [int(rows[i]) for i in sorted(top[:m])], share
    return None


def _stored_enough(columns: NumberColumns) -> NDArray[np.intp]:
    """Return the columns to look at: of sparse ones those that one cell may decide."""
    stored = columns.stored()
    if stored is None:
        return np.arange(len(columns))
    # Cells that are not stored are 0, which is the median where most are not.
    near = (columns.largest_share() > 0.5 / _MOST_DECISIVE) | (2 * stored > columns.n_rows)
    return np.flatnonzero((stored >= _FEWEST) & near)


def _may_be_decided(block: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say in which rows of a block a cell may carry a sixth of the squares around the median."""
    # A median is at most one standard deviation from the mean, so such a cell is far from the
    # mean as well, which is found without sorting.
    has = np.isfinite(block)
    whole = bool(has.all())
    size = np.max(np.abs(block), axis=1, where=has, initial=0.0)
    scaled = block / np.where(size > 0, size, 1.0)[:, None]
    if not whole:
        scaled[~has] = 0.0
    n = has.sum(axis=1) if not whole else np.full(len(block), block.shape[1])
    scaled -= (scaled.sum(axis=1) / np.maximum(n, 1))[:, None]
    if not whole:
        scaled[~has] = 0.0
    squares = np.einsum("ij,ij->i", scaled, scaled)
    peak = np.maximum(scaled.max(axis=1), -scaled.min(axis=1))
    least = np.maximum(np.sqrt(0.5 / _MOST_DECISIVE) - 1 / np.sqrt(np.maximum(n, 1)), 0.0)
    return np.asarray((peak**2 >= least**2 * squares) & (size > 0))
