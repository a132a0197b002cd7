"""The outcomes y and Y, and the sample weights: what is accepted and what is refused."""

from __future__ import annotations

import decimal
import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import got_shape, sentence
from polytask.data import tables
from polytask.data.missing import (
    distinct_values,
    is_missing,
    member_mask,
    missing_mask,
    rows_text,
    surely_finite,
)
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text

Values = NDArray[Any]
_LARGEST = sys.float_info.max
# Weights whose squares, and whose products with squares of features, neither overflow nor vanish.
_WEIGHTS = 1e-50, 1e50


def check_target(y: object, n: int, parameter: str = "y", owner: Text = "TaskData") -> Values:
    """Check one outcome per row. Shapes: y (n,), result (n,)."""
    values = outcome_values(y, parameter, owner)
    if values.ndim != 1:
        got = LazyMessage("got.wide_target", {"shape": values.shape})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.value_per_row"), got))
    check_length(len(values), n, parameter, owner)
    missing = missing_mask(values)
    if missing.any():
        got = LazyMessage("got.gaps", {"rows": rows_text(missing)})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.target_everywhere"), got))
    refuse_infinite(values, parameter, owner)
    return values


def check_targets(
    Y: object, n: int, owner: Text = "TaskData"
) -> tuple[Values, tuple[str | int, ...]]:
    """Check one column of outcomes per task, with gaps. Shapes: Y (n, T), values (n, T)."""
    names: tuple[str | int, ...] = ()
    if tables.is_table(Y):
        columns = tables.column_names(Y)
        names = tuple(name if isinstance(name, int) else str(name) for name in columns)
    values = outcome_values(Y, "Y", owner)
    if not tables.is_table(Y) and values.ndim == 2:
        names = tuple(range(values.shape[1]))
    if values.ndim != 2 or not names:
        got = got_shape(values.shape)
        raise DataError(sentence("Y", owner, LazyMessage("allowed.targets"), got))
    check_length(len(values), n, "Y", owner)
    if surely_finite(values) and len(values):
        return values, names
    refuse_infinite(values, "Y", owner)
    empty = np.flatnonzero(missing_mask(values).all(axis=0))
    if len(empty):
        fields = {"n": len(empty), "targets": [repr(names[t]) for t in empty[:5]]}
        got = LazyMessage("got.no_label_in_targets", fields)
        raise DataError(sentence("Y", owner, LazyMessage("allowed.observed"), got))
    return values, names


def check_weights(
    sample_weight: object, n: int, owner: Text = "TaskData"
) -> NDArray[np.float64] | None:
    """Check sample weights. Shapes: sample_weight (n,), result (n,)."""
    if sample_weight is None:
        return None
    weights = weight_values(sample_weight, n, owner)
    refuse_all_zero(weights, owner)
    return weights


def weight_values(sample_weight: object, n: int, owner: Text) -> NDArray[np.float64]:
    """Check sample weights of some rows, which may all be zero; see :func:`check_weights`."""
    name = "sample_weight"
    if np.ma.is_masked(sample_weight):
        raise DataError(
            sentence(name, owner, LazyMessage("allowed.unmasked"), LazyMessage("got.masked"))
        )
    column = tables.is_column(sample_weight)
    given = tables.column_values(sample_weight) if column else np.asarray(sample_weight)
    try:
        weights = np.full(n, given, np.float64) if given.ndim == 0 else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            sentence(name, owner, LazyMessage("allowed.array_of_numbers"), str(error))
        ) from error
    if weights.ndim != 1:
        got = got_shape(weights.shape)
        raise DataError(sentence(name, owner, LazyMessage("allowed.weight_per_row"), got))
    check_length(len(weights), n, name, owner)
    low, high = _WEIGHTS
    bad = ~((weights == 0) | ((weights >= low) & (weights <= high)))
    if bad.any():
        value = {"value": str(weights[bad][0]), "rows": rows_text(bad)}
        got = LazyMessage("got.value_in", value)
        raise DataError(sentence(name, owner, LazyMessage("allowed.row_weights"), got))
    return weights


def refuse_all_zero(weights: NDArray[np.float64], owner: Text) -> None:
    """Refuse weights that leave no row."""
    if not weights.any():
        got = LazyMessage("got.all_zero")
        raise DataError(sentence("sample_weight", owner, LazyMessage("allowed.some_weight"), got))


def check_length(length: int, n: int, parameter: Text, owner: Text) -> None:
    """Refuse a `parameter` that is not as long as X."""
    if length != n:
        allowed = LazyMessage("allowed.as_long_as_x", {"n": n})
        got = LazyMessage("got.rows", {"n": length})
        raise DataError(sentence(parameter, owner, allowed, got))


def refuse_infinite(values: Values, parameter: str, owner: Text) -> None:
    """Refuse infinities, by row."""
    if values.dtype.kind not in "fO":
        return
    if values.dtype.kind == "f":
        infinite = np.isinf(values)
    else:
        entries = values.ravel().tolist()
        endless = distinct_values(v for v in entries if isinstance(v, float) and math.isinf(v))
        infinite = member_mask(entries, endless).reshape(values.shape)
    if infinite.any():
        where = rows_text(np.asarray(infinite.reshape(len(values), -1).any(axis=1)))
        got = LazyMessage("got.infinity_where", {"where": where, "dtype": repr(values.dtype)})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.all_finite"), got))


def outcome_values(y: object, parameter: str = "y", owner: Text = "TaskData") -> Values:
    """Return outcomes of any container as an array, numbers as numbers, types unmixed."""
    tables.refuse_lazy(y, parameter, owner)
    if tables.is_table(y):
        values = _columns_of([tables.get_column(y, name) for name in tables.column_names(y)])
        _refuse_kind(values, parameter, owner)
        return values
    if sp.issparse(y) or np.ma.is_masked(y) or isinstance(y, str | bytes | dict):
        got = LazyMessage("got.kind", {"kind": type(y).__name__})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.array_or_column"), got))
    values = tables.column_values(y) if tables.is_column(y) else _as_array(y, parameter, owner)
    if values.dtype.kind in "OT":
        values = infer(values.astype(object))
    _refuse_kind(values, parameter, owner)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _refuse_kind(values: Values, parameter: str, owner: Text) -> None:
    if values.dtype.kind == "c":
        raise DataError(
            LazyMessage("data.refusal.complex", {"parameter": parameter, "owner": owner})
        )
    if values.dtype.kind in "mMV":
        got = f"dtype {values.dtype}"
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.numbers_or_labels"), got))


def infer(values: Values) -> Values:
    """Give an array of objects the dtype that its entries have, if they share one."""
    # Numbers become a numeric array (gaps NaN), booleans without gaps a boolean one; all
    # else stays an array of objects, with None for gaps.
    missing = missing_mask(values)
    kinds = set(map(type, values[~missing].tolist()))
    if kinds and kinds <= {bool, np.bool_}:
        return values.astype(np.bool_) if not missing.any() else _with_gaps(values, missing)
    if all(issubclass(kind, numbers.Real | decimal.Decimal) for kind in kinds):
        whole = all(issubclass(kind, numbers.Integral) for kind in kinds) and not missing.any()
        numeric = np.where(missing, np.nan, values) if missing.any() else values
        try:
            return values.astype(np.int64) if whole else numeric.astype(np.float64)
        except OverflowError:  # the largest of numbers become infinite, which is refused
            finite = [float(v) if abs(v) <= _LARGEST else math.inf for v in values.flat]
            return np.array(finite).reshape(values.shape)
    if complex in kinds:
        return values.astype(np.complex128)
    return _with_gaps(values, missing)


def _with_gaps(values: Values, missing: NDArray[np.bool_]) -> Values:
    gapped = values.copy()
    gapped[missing] = None
    return gapped


def _as_array(y: object, parameter: str, owner: Text) -> Values:
    try:
        values = np.asarray(y)
        # A list of text and numbers would become all text.
        if isinstance(y, list | tuple) and values.dtype.kind in "US":
            objects = np.array(y, dtype=object)
            values = values if set(map(type, objects.ravel().tolist())) == {str} else objects
    except ValueError as error:
        raise DataError(
            sentence(parameter, owner, LazyMessage("allowed.array"), str(error))
        ) from error
    if values.ndim == 0:
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.one_per_row"), repr(y)))
    return values


def _columns_of(columns: Sequence[Values]) -> Values:
    inferred = [infer(column) if column.dtype.kind == "O" else column for column in columns]
    if all(column.dtype.kind in "biuf" for column in inferred):
        return np.column_stack(inferred) if inferred else np.empty((0, 0))
    objects = np.empty((len(inferred[0]), len(inferred)), dtype=object)
    for position, column in enumerate(inferred):
        if column.dtype.kind in "cmMV":
            return column[:, np.newaxis]  # refused by the caller, by dtype
        objects[:, position] = [None if is_missing(v) else v for v in column.tolist()]
    return objects
