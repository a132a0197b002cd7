"""The columns that rows are held out by: groups that stay together, and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from polytask.cli._fit_data import Training
    from polytask.cli._roles import Wanted

# Splits of a time column: every fold trains on the past of what it holds out.
_PASTS = 4


def check_one_way(wanted: Wanted) -> None:
    """Refuse groups and time together."""
    if wanted.group and wanted.time:
        raise ParameterError(
            "Rows are held out in one way: choose one of --group and --time; got both."
        )


def folds_of(training: Training, folds: int, seed: int) -> Any:  # noqa: ANN401 - int or splitter
    """Return how a search holds rows out: by groups, by time, or within tasks."""
    from polytask.data import GroupedRows, TimeOrdered

    if training.group is not None:
        return GroupedRows(training.group, n_splits=folds, random_state=seed)
    if training.time is not None:
        return TimeOrdered(training.time, n_splits=_PASTS)
    return folds


def groups_of(table: pd.DataFrame, name: str | None, source: str) -> NDArray[Any] | None:
    """Return the group of every row. Shapes: table (n, d), result (n,)."""
    from polytask.data.tables import get_column

    if name is None:
        return None
    _refuse_gaps(table[name], f"--group {name!r}", "group", source)
    return get_column(table, name)


def times_of(table: pd.DataFrame, name: str | None, source: str) -> NDArray[Any] | None:
    """Return the time of every row. Shapes: table (n, d), result (n,)."""
    import pandas as pd

    from polytask.data.tables import get_column

    if name is None:
        return None
    column = table[name]
    types = pd.api.types
    dates = types.is_datetime64_any_dtype(column)
    numbers = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    if not (dates or numbers):
        raise DataError(
            f"--time {name!r} of {source} must hold numbers or dates such as 2024-05-31; got "
            f"{_first(column)!r}."
        )
    _refuse_gaps(column, f"--time {name!r}", "time", source)
    return get_column(table, name)


def _first(column: pd.Series[Any]) -> object:
    seen = column.dropna()
    return seen.iloc[0] if len(seen) else None


def _refuse_gaps(column: pd.Series[Any], what: str, word: str, source: str) -> None:
    from polytask.data.missing import rows_text

    missing = np.asarray(column.isna())
    if missing.any():
        raise DataError(
            f"{what} of {source} is empty in {rows_text(missing)}, counting from 0: every row "
            f"needs a {word}."
        )
