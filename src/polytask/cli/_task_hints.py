"""Which columns of a table may hold the task labels, and which may be identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FEWEST, MOST = 2, 10_000
ROWS_PER_TASK = 4
SHOWN = 5
NEARLY_ALL = 0.95
FEW_ROWS = 20

# Words that names of task columns often hold, in the order of how much they promise.
_WORDS = re.compile(
    r"task|group|school|site|store|shop|hospital|clinic|ward|region|country|city|plant|sensor"
    r"|machine|patient|subject|user|customer|branch|station|centre|center|(^|_)id$"
    r"|任务|组|学校|医院|地区|城市|门店|站|编号",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class TaskHint:
    """A column that may hold task labels."""

    name: str
    n_values: int


def likely_tasks(table: pd.DataFrame) -> tuple[TaskHint, ...]:
    """Return the columns that may hold task labels, the likeliest first. Shapes: table (n, d)."""
    ranked: list[tuple[tuple[bool, bool, int], TaskHint]] = []
    for position, name in enumerate(table.columns):
        column = table[name]
        if not may_be_labels(column):
            continue
        count = int(column.nunique())
        if FEWEST <= count <= min(MOST, len(column) // ROWS_PER_TASK):
            told = _WORDS.search(str(name)) is not None
            rank = (not told, _is_number(column), position)
            ranked.append((rank, TaskHint(str(name), count)))
    return tuple(hint for _, hint in sorted(ranked, key=lambda pair: pair[0])[:SHOWN])


def may_be_labels(column: pd.Series[Any]) -> bool:
    """Tell whether a column holds text, categories or whole numbers without gaps."""
    import pandas as pd

    types = pd.api.types
    if types.is_bool_dtype(column) or types.is_datetime64_any_dtype(column):
        return False
    return not types.is_float_dtype(column) and not column.isna().any()


def _is_number(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column))


def looks_like_identifier(column: pd.Series[Any], n_values: int) -> bool:
    """Tell whether a column names its rows by text, or numbers them."""
    from polytask._estimator.data_checks import numbers_rows

    if _is_number(column):
        values = column.to_numpy(float, na_value=np.nan)
        return numbers_rows(values, str(column.name))
    present = int(column.notna().sum())
    few = present < FEW_ROWS or n_values <= NEARLY_ALL * present
    return not few and may_be_labels(column)
