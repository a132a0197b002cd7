"""Single cells so far from the others of their column that these are lost beside them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.places import row_place
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.exceptions import DataWarning

# No column is looked at closely that holds nothing larger.
_LARGE = 1e12
# Cells below this share of the largest keep no digit once its mean is taken off.
_LOST = float(np.finfo(np.float64).eps)


def warn_of_far_cells(data: TaskData, bound: float = float("inf")) -> None:
    """Warn of cells of encoded features and of targets that drown their column.

    Parameters
    ----------
    data : TaskData
        Encoded.
    bound : float, default=inf
        No cell of X is larger, as far as is known without looking.

    Warns
    -----
    DataWarning
        Naming column and row, if the median of the other cells is less than the rounding of
        the largest.
    """
    for name, row, cell, usual in _found_in(data, bound <= _LARGE):
        warnings.warn(
            f"{name} holds {cell:.3g} in {row_place(data, row)}, counting from 0, where its cells "
            f"are usually of size {usual:.2g}: beside it they count for nothing, and scores say "
            "little. Correct or drop that row.",
            DataWarning,
            stacklevel=4,
        )


def place_of_largest(values: Any, data: TaskData) -> str:  # noqa: ANN401 - dense or sparse
    """Return column and row of the largest of the features, or of the targets, in words."""
    if is_sparse(values):
        at = int(np.argmax(np.abs(values.data)))
        row = int(np.searchsorted(values.indptr, at, side="right")) - 1
        column = int(values.indices[at])
    else:
        wide = np.nan_to_num(np.abs(values), nan=0.0).reshape(len(values), -1)
        row, column = divmod(int(np.argmax(wide)), wide.shape[1])
    where = f"{row_place(data, row)}, counting from 0"
    if values.ndim == 1:
        return where
    feature = values is data.X
    name = f"column {_column(data, column)}" if feature else f"target {data.tasks[column]!r}"
    return f"{name}, {where}"


def _column(data: TaskData, j: int) -> str:
    return f"{j}" if data.feature_names is None else repr(data.feature_names[j])


def _found_in(data: TaskData, fine: bool) -> list[tuple[str, int, float, float]]:
    """Return column, row, cell and usual size of the cells that drown others.

    X is left out where it is known to be `fine`.
    """
    found = []
    for j in () if fine else _large_columns(data.X):
        column = data.X[:, [j]].toarray().ravel() if is_sparse(data.X) else data.X[:, j]
        found.append((f"Column {_column(data, j)} of X", *_far(np.asarray(column))))
    y = np.asarray(data.y)
    targets = data.form is Form.TARGETS
    numbers = y.reshape(len(y), -1) if y.dtype.kind == "f" else np.empty((len(y), 0))
    for t in _large_columns(numbers):
        name = f"The target {data.tasks[t]!r}" if targets else "The target"
        found.append((name, *_far(numbers[:, t])))
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
