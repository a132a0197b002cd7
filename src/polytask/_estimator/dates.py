"""Columns of dates as features of an estimator: found in `fit`, made again for `predict`."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from polytask._estimator.training import is_task_mapping
from polytask.data import Form, TaskData, tables
from polytask.data.dates import DATE_PARTS, add_date_features, date_columns, day_comes_first
from polytask.messages import LazyMessage

# Whether the day comes first in a column of dates; None is not known.
DayFirst = Mapping[str, bool | None]


def with_dates(
    X: Any,  # noqa: ANN401
    others: Container[object],
    day_first: bool | None = None,
) -> tuple[Any, DayFirst]:
    """Replace columns of dates but `others`; return whether the day comes first in each."""
    if is_task_mapping(X):
        made = {label: with_dates(part[0], others, day_first) for label, part in X.items()}
        given = {label: (made[label][0], *part[1:]) for label, part in X.items()}
        orders: dict[str, set[bool]] = {}
        for _, of_table in made.values():
            for name, first in of_table.items():
                orders.setdefault(name, set()).update(() if first is None else (first,))
        # Tables that differ leave it open.
        return given, {n: day.pop() if len(day) == 1 else None for n, day in orders.items()}
    table = X.X if isinstance(X, TaskData) else X
    if not tables.is_table(table):
        return X, {}
    columns = [name for name in date_columns(table) if name not in others]
    found: dict[str, bool | None] = dict.fromkeys(columns, day_first)
    for name in columns if day_first is None else ():
        column = LazyMessage("what.column", {"column": repr(name)})
        found[name] = day_comes_first(tables.get_column(table, name), column)
    return _replaced(X, found, keep=False), found


def dates_again(X: Any, found: DayFirst) -> Any:  # noqa: ANN401 - what `predict` is given
    """Add the features of the dates that `fit` found, where they are lacking."""
    if not found:
        return X
    if is_task_mapping(X):
        pairs = X.items()
        return {
            label: (dates_again(part[0], found), *part[1:])
            if isinstance(part, tuple)
            else dates_again(part, found)
            for label, part in pairs
        }
    table = X.X if isinstance(X, TaskData) else X
    if not tables.is_table(table):
        return X
    names = set(tables.column_names(table))
    lacking = {n: day for n, day in found.items() if n in names and f"{n}=year" not in names}
    return _replaced(X, lacking, keep=True)


def dates_of_features(names: tuple[str, ...]) -> DayFirst:
    """Return the dates that features of a table were made of before `fit`."""
    known = set(names)
    heads = [name.removesuffix("=year") for name in names if name.endswith("=year")]
    return {n: None for n in heads if all(f"{n}={part}" in known for part in DATE_PARTS)}


def names_before(names: tuple[str, ...], found: DayFirst) -> tuple[str, ...]:
    """Return the names of the columns that features were made of."""
    source = {f"{name}={part}": name for name in found for part in DATE_PARTS}
    return tuple(dict.fromkeys(source.get(name, name) for name in names))


def _replaced(X: Any, days: DayFirst, *, keep: bool) -> Any:  # noqa: ANN401
    if not days:
        return X
    table = X.X if isinstance(X, TaskData) else X
    for name, day_first in days.items():
        table = add_date_features(table, [name], day_first, keep=keep)
    if not isinstance(X, TaskData):
        return table
    present = X.present
    if present is not None and X.form is not Form.TARGETS:
        source = {f"{name}={part}": name for name in days for part in DATE_PARTS}
        place = {name: j for j, name in enumerate(tables.column_names(X.X))}
        new = [place[source.get(str(name), name)] for name in tables.column_names(table)]
        present = np.asarray(present)[:, new]
    return X.with_X(table, tables.feature_names(table), present)
