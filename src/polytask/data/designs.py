"""The design X: what is accepted, what is refused, and how rows of it are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.data import tables
from polytask.data.missing import rows_text
from polytask.data.tables import Rows
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

# An ndarray, a csr_array or a native data frame; no one type says what they have in common.
Design: TypeAlias = Any

_BLOCK = 2**22  # entries converted at a time, so that a conversion needs no second copy
_EVERYTHING = slice(None)


class Checked(NamedTuple):
    """A design that passed the checks, not yet copied or converted."""

    X: Design
    dtype: np.dtype[Any] | None  # what to convert to when rows are taken; None for tables
    feature_names: tuple[str, ...] | None


def check_design(X: object, owner: Text = "TaskData") -> tuple[Design, tuple[str, ...] | None]:
    """Check a design and convert it to what the estimators work on. Shapes: X (n, d)."""
    checked = inspect(X, owner)
    return arrange(checked), checked.feature_names


def inspect(X: object, owner: Text = "TaskData") -> Checked:
    """Check a design without copying it; see :func:`check_design`."""
    tables.refuse_lazy(X, "X", owner)
    if tables.is_table(X):
        return _inspect_table(X, owner)
    if sp.issparse(X):
        return _inspect_sparse(X, owner)
    return _inspect_array(_as_array(X, owner), owner)


def arrange(checked: Checked, rows: Rows = _EVERYTHING) -> Design:
    """Take rows of a checked design and convert it, in one copy or none."""
    X, dtype = checked.X, checked.dtype
    if dtype is None:
        return tables.take_rows(X, rows)
    if sp.issparse(X) or isinstance(rows, slice) or X.dtype == dtype:
        return _rows_of(X, rows).astype(dtype, copy=False)
    taken = np.empty((len(rows), X.shape[1]), dtype=dtype)
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(rows), step):
        taken[start : start + step] = X[rows[start : start + step]]
    return taken


def take_rows(X: Design, rows: Rows) -> Design:
    """Take rows of a design of any kind."""
    return tables.take_rows(X, rows) if tables.is_table(X) else _rows_of(X, rows)


def without_column(X: NDArray[Any], position: int) -> NDArray[Any]:
    """Return an array without one column: a view where the column is the first or last."""
    last = X.shape[1] - 1
    if position in (0, last):
        return X[:, 1:] if position == 0 else X[:, :-1]
    return np.delete(X, position, axis=1)


def _rows_of(X: Any, rows: Rows) -> Any:  # noqa: ANN401 - ndarray or csr_array
    everything = isinstance(rows, slice) and rows == _EVERYTHING
    if everything or isinstance(rows, slice) or sp.issparse(X):
        return X if everything else X[rows]
    # Nearly twice as fast as X[rows].
    return X.take(rows, axis=0)


def _inspect_table(X: IntoDataFrame, owner: Text) -> Checked:
    frame = tables.open_frame(X)
    _require_entries(frame.shape)
    names = tables.feature_names(X)
    for position, (name, dtype) in enumerate(frame.schema.items()):
        if dtype.is_float():
            infinite = np.isinf(frame[:, position].to_numpy())
            if infinite.any():
                got = LazyMessage(
                    "got.infinity_in", {"column": repr(name), "rows": rows_text(infinite)}
                )
                raise DataError(sentence("X", owner, LazyMessage("allowed.all_finite"), got))
    return Checked(X, None, names)


def _inspect_sparse(X: Any, owner: Text) -> Checked:  # noqa: ANN401 - any sparse container
    _require_matrix(X, owner)
    dtype = _working_dtype(X.dtype, owner)
    X = sp.csr_array(X)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    stored = X.data
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        _refuse_nonfinite(stored, rows, X.indices, owner)
    return Checked(X, dtype, None)


def _inspect_array(X: NDArray[Any], owner: Text) -> Checked:
    _require_matrix(X, owner)
    if X.dtype.kind == "O":
        X = _numbers_of(X, owner)
    dtype = _working_dtype(X.dtype, owner)
    if X.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            total = X.sum()  # a finite sum proves every entry finite, at no memory
        if not np.isfinite(total) and not np.isfinite(X).all():
            rows, columns = np.nonzero(~np.isfinite(X))
            _refuse_nonfinite(X[rows, columns], rows, columns, owner)
    return Checked(X, dtype, None)


def _as_array(X: object, owner: Text) -> NDArray[Any]:
    if np.ma.is_masked(X):
        got = LazyMessage("got.masked_fill")
        raise DataError(sentence("X", owner, LazyMessage("allowed.unmasked"), got))
    try:
        return np.asarray(X)
    except ValueError as error:
        got = LazyMessage("got.ragged", {"error": str(error)})
        raise DataError(sentence("X", owner, LazyMessage("allowed.matrix"), got)) from error


def _require_matrix(X: Any, owner: Text) -> None:  # noqa: ANN401 - ndarray or sparse
    if X.ndim != 2:
        got = LazyMessage("got.dimensions", {"ndim": X.ndim, "shape": X.shape})
        raise DataError(sentence("X", owner, LazyMessage("allowed.two_dimensions"), got))
    _working_dtype(X.dtype, owner)
    _require_entries(X.shape)


def _require_entries(shape: tuple[int, ...]) -> None:
    # Columns first: a data frame without columns has no rows either.
    for count, noun in ((shape[1], "feature(s)"), (shape[0], "sample(s)")):
        if count == 0:
            raise DataError(
                LazyMessage("data.refusal.none_found", {"noun": noun, "shape": tuple(shape)})
            )


def _working_dtype(dtype: np.dtype[Any], owner: Text) -> np.dtype[Any]:
    if dtype.kind == "c":
        raise DataError(LazyMessage("data.refusal.complex_design", {"owner": owner}))
    if dtype.kind not in "biufO":
        got = LazyMessage("got.dtype_text", {"dtype": dtype})
        raise DataError(sentence("X", owner, LazyMessage("allowed.array_of_numbers"), got))
    small = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def _numbers_of(X: NDArray[Any], owner: Text) -> NDArray[np.float64]:
    # A TypeError (an entry that is no number at all) passes: its text says what it is.
    try:
        return X.astype(np.float64)
    except ValueError as error:
        got = LazyMessage("got.error_text", {"error": str(error)})
        raise DataError(
            sentence("X", owner, LazyMessage("allowed.array_of_numbers"), got)
        ) from error


def _refuse_nonfinite(
    values: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], owner: Text
) -> None:
    """Refuse the first entry of `values` that is not finite, by row and column."""
    bad = np.flatnonzero(~np.isfinite(values))
    first = bad[0]
    place = LazyMessage(
        "place.cell", {"row": rows[first], "column": columns[first], "n": len(bad)}
    )
    if np.isnan(values[first]):
        got = LazyMessage("got.nan_at", {"place": place})
    else:
        got = LazyMessage("got.infinity_at", {"place": place})
    raise DataError(sentence("X", owner, LazyMessage("allowed.all_finite"), got))
