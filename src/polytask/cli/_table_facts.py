"""What can be seen in a table without fitting anything."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli._kinds import Demand, TargetOptions, target_of
from polytask.cli._roles import matching, require
from polytask.cli._task_hints import likely_tasks, looks_like_identifier

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ColumnFacts:
    """One column."""

    name: str
    kind: str
    missing: float
    distinct: int
    example: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """The tasks of a table."""

    column: str
    count: int
    smallest: int
    median: float
    largest: int
    of_one_row: int
    missing: int


@dataclass(frozen=True)
class TargetFacts:
    """One target: what it is and why."""

    name: str
    kind: str
    reason: str
    missing: int


@dataclass(frozen=True)
class TableFacts:
    """A table."""

    path: str
    rows: int
    columns: tuple[ColumnFacts, ...]
    tasks: TaskFacts | None
    targets: tuple[TargetFacts, ...]
    likely_tasks: tuple[tuple[str, int], ...]


def table_facts(
    table: pd.DataFrame,
    path: str,
    task: str | None,
    targets: tuple[str, ...],
    decimal: str | None = None,
) -> TableFacts:
    """Look at a table. Shapes: table (n, d)."""
    names = [str(name) for name in table.columns]
    if task is not None:
        require(task, names, path)
    chosen = matching(targets, names, path)
    twins = _twins(table)
    others = table.drop(columns=list(chosen))
    likely = () if task is not None else likely_tasks(others)
    return TableFacts(
        path=path,
        rows=len(table),
        columns=tuple(_column(table[name], name, twins.get(name), task) for name in names),
        tasks=None if task is None else _tasks(table[task], task),
        targets=tuple(_target(table[name], name, path, decimal) for name in chosen),
        likely_tasks=tuple((hint.name, hint.n_values) for hint in likely),
    )


def _column(column: pd.Series[Any], name: str, twin: str | None, task: str | None) -> ColumnFacts:
    from polytask._estimator.far_cells import decisive_text

    distinct = int(column.nunique())
    missing = float(column.isna().mean())
    remarks = []
    if distinct == 0:
        remarks.append("empty")
    elif distinct == 1 and not missing:
        remarks.append("constant")
    if twin is not None:
        remarks.append(f"same as {twin}")
    if name != task and looks_like_identifier(column, distinct):
        remarks.append("nearly every value different: an identifier? (--id)")
    kind = _kind(column)
    if kind in ("numbers", "whole numbers"):
        far = decisive_text(column.to_numpy(float, na_value=np.nan), lambda row: f"row {row}")
        remarks += [far] if far else []
    if kind == "dates":
        remarks.append("not encoded: --drop, or turn into numbers")
    return ColumnFacts(name, kind, missing, distinct, _example(column, kind), tuple(remarks))


def _kind(column: pd.Series[Any]) -> str:
    import pandas as pd

    types = pd.api.types
    if not column.notna().any():
        return "empty"
    checks = {
        "categories": isinstance(column.dtype, pd.CategoricalDtype),
        "true/false": types.is_bool_dtype(column),
        "dates": types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column),
        "whole numbers": types.is_integer_dtype(column),
        "numbers": types.is_numeric_dtype(column),
    }
    return next((kind for kind, holds in checks.items() if holds), "text")


def _example(column: pd.Series[Any], kind: str) -> str:
    if kind == "empty":
        return ""
    if kind in ("numbers", "whole numbers"):
        return f"{column.min():.6g} to {column.max():.6g}"
    if kind == "dates":
        return f"{column.min()} to {column.max()}"
    counts = column.value_counts()
    return f"{counts.index[0]} ({int(counts.iloc[0]):,}x)"


def _twins(table: pd.DataFrame) -> dict[str, str]:
    """Return, for each column that repeats an earlier one, that column."""
    import pandas as pd

    seen: dict[int, list[str]] = defaultdict(list)
    twins: dict[str, str] = {}
    for name in table.columns:
        column = table[name]
        codes = pd.util.hash_pandas_object(column, index=False)
        key = int(np.bitwise_xor.reduce(np.asarray(codes) * _odd(len(codes)))) if len(codes) else 0
        same = [other for other in seen[key] if table[other].equals(column)]
        if same and column.notna().any():
            twins[str(name)] = str(same[0])
        seen[key].append(name)
    return twins


def _odd(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    # Different factors, so that columns with the same cells in another order differ.
    return np.arange(n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _tasks(column: pd.Series[Any], name: str) -> TaskFacts:
    sizes = np.asarray(column.value_counts())
    few = len(sizes) == 0
    return TaskFacts(
        column=name,
        count=len(sizes),
        smallest=0 if few else int(sizes.min()),
        median=0.0 if few else float(np.median(sizes)),
        largest=0 if few else int(sizes.max()),
        of_one_row=int((sizes == 1).sum()),
        missing=int(column.isna().sum()),
    )


def _target(column: pd.Series[Any], name: str, path: str, decimal: str | None) -> TargetFacts:
    demand = Demand("auto", "--loss auto")
    found = target_of(column, name, path, demand, TargetOptions(decimal))
    word = "classification" if found.kind.is_class else "regression"
    return TargetFacts(name, word, found.kind.reason, int(found.column.isna().sum()))
