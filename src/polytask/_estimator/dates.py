"""Columns of dates as features of an estimator: found in `fit`, made again for `predict`."""

from __future__ import annotations

from collections.abc import Collection, Container, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.training import is_task_mapping
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.dates import (
    DATE_PARTS,
    PART_NAMES,
    add_date_features,
    date_columns,
    day_comes_first,
    named_parts,
    read_date_column,
)
from polytask.messages import LazyMessage

# Whether the day comes first in a column of dates; None is not known.
DayFirst = Mapping[str, bool | None]


def with_dates(
    X: Any,  # noqa: ANN401
    others: Container[object],
    day_first: bool | None = None,
) -> tuple[Any, DayFirst]:
    """Replace columns of dates but `others`; return whether the day comes first in each."""
    given: Mapping[Any, Any] = X if is_task_mapping(X) else {None: (X,)}
    found: dict[Hashable, dict[str, bool | None]] = {}
    moments: dict[str, list[NDArray[np.datetime64]]] = {}
    orders: dict[str, set[bool]] = {}
    for label, (part, *_) in given.items():
        table = part.X if isinstance(part, TaskData) else part
        columns = date_columns(table) if tables.is_table(table) else ()
        found[label] = {}
        for name in columns:
            if name in others:
                continue
            first = day_first
            if first is None:
                column = LazyMessage("what.column", {"column": repr(name)})
                first = day_comes_first(tables.get_column(table, name), column)
            found[label][name] = first
            orders.setdefault(name, set()).update(() if first is None else (first,))
            moments.setdefault(name, []).append(read_date_column(table, name, first))
    names = {name: named_parts(dates) for name, dates in moments.items()}
    made = {
        label: (_replaced(part, found[label], names, keep=False), *rest)
        for label, (part, *rest) in given.items()
    }
    # Tables that differ leave the order open.
    days = {name: day.pop() if len(day) == 1 else None for name, day in orders.items()}
    return (made if is_task_mapping(X) else made[None][0]), days


def dates_again(X: Any, found: DayFirst, encoder: TableEncoder | None) -> Any:  # noqa: ANN401
    """Add the features of the dates that `fit` found to what `predict` is given."""
    if not found:
        return X
    if is_task_mapping(X):
        pairs = X.items()
        return {
            label: (dates_again(part[0], found, encoder), *part[1:])
            if isinstance(part, tuple)
            else dates_again(part, found, encoder)
            for label, part in pairs
        }
    table = X.X if isinstance(X, TaskData) else X
    if not tables.is_table(table):
        return X
    given = set(tables.column_names(table))
    lacking = {n: day for n, day in found.items() if n in given and f"{n}=year" not in given}
    # Models of polytask 0.1 took every part as a number.
    numbers = set() if encoder is None else encoder.number_columns()
    names = {
        n: [p for p in PART_NAMES if encoder is not None and f"{n}={p}" not in numbers]
        for n in lacking
    }
    return _replaced(X, lacking, names, keep=True)


def dates_of_features(names: tuple[str, ...]) -> DayFirst:
    """Return the dates that features of a table were made of before `fit`."""
    known = set(names)
    heads = [name.removesuffix("=year") for name in names if name.endswith("=year")]
    return {n: None for n in heads if all(f"{n}={part}" in known for part in DATE_PARTS)}


def date_of_feature(found: DayFirst) -> dict[str, str]:
    """Return the column of dates of each feature that is made of one."""
    return {f"{name}={part}": name for name in found for part in DATE_PARTS}


def names_before(names: tuple[str, ...], found: DayFirst) -> tuple[str, ...]:
    """Return the names of the columns that features were made of."""
    source = date_of_feature(found)
    return tuple(dict.fromkeys(source.get(name, name) for name in names))


def _replaced(
    X: Any,  # noqa: ANN401
    days: DayFirst,
    names: Mapping[str, Collection[str]],
    *,
    keep: bool,
) -> Any:  # noqa: ANN401
    if not days:
        return X
    table = X.X if isinstance(X, TaskData) else X
    for name, day_first in days.items():
        table = add_date_features(table, [name], day_first, names=names[name], keep=keep)
    if not isinstance(X, TaskData):
        return table
    present = X.present
    if present is not None and X.form is not Form.TARGETS:
        source = date_of_feature(days)
        place = {name: j for j, name in enumerate(tables.column_names(X.X))}
        new = [place[source.get(str(name), name)] for name in tables.column_names(table)]
        present = np.asarray(present)[:, new]
    return X.with_X(table, tables.feature_names(table), present)
