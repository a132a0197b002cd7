"""Statistics of a part of the rows, which may lack labels or weights that other parts have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from polytask._checks import sentence
from polytask._estimator.training import is_wide
from polytask.data import Form, TableEncoder, tables
from polytask.data.missing import missing_mask
from polytask.data.outcomes import outcome_values
from polytask.exceptions import DataError
from polytask.messages import LazyMessage
from polytask.statistics.task_statistics import TaskStatistics, collect


def is_nothing(y: Any, weight: Any) -> bool:  # noqa: ANN401 - arrays, columns or tables
    """Say whether all rows of a part have no weight, or none of several targets has a label."""
    if weight is not None and bool(np.all(np.asarray(weight) == 0)):
        return True
    return is_wide(y) and bool(missing_mask(outcome_values(y)).all())


def collect_part(
    X: Any,  # noqa: ANN401 - array or table
    y: Any,  # noqa: ANN401 - array or table
    task: Any,  # noqa: ANN401 - array or column
    weight: Any,  # noqa: ANN401 - array or column
    fold: Any,  # noqa: ANN401 - array or column
    task_column: str | int | None,
    encoder: TableEncoder | None,
) -> TaskStatistics | None:
    """Return the statistics of a part, None where it has no weight or no label."""
    if is_nothing(y, weight):
        return None
    known = {"sample_weight": weight, "fold": fold, "task_column": task_column}
    if not is_wide(y):
        return collect(X, y, task, **known, encoder=encoder)
    columns = tables.column_names(y) if tables.is_table(y) else ()
    names = tuple(name if isinstance(name, int) else str(name) for name in columns)
    names = names or tuple(range(np.shape(y)[1]))
    seen = np.flatnonzero(~missing_mask(outcome_values(y)).all(axis=0))
    own = tables.select(y, [columns[t] for t in seen]) if columns else np.asarray(y)[:, seen]
    found = collect(X, own, task, **known, encoder=encoder)
    cells = tuple(replace(c, tasks=tuple(seen[list(c.tasks)].tolist())) for c in found.cells)
    return replace(found, tasks=names, cells=cells)


def joined(one: TaskStatistics | None, other: TaskStatistics | None) -> TaskStatistics | None:
    """Return the statistics of two parts together."""
    return one if other is None else other if one is None else one + other


def of_all_parts(found: TaskStatistics | None, owner: str) -> TaskStatistics:
    """Return statistics of all parts, refused where nothing is known of a target."""
    if found is None:
        raise DataError(LazyMessage("statistics.refusal.no_rows", {"owner": owner}))
    counts = zip(found.tasks, found.rows_per_task, strict=True)
    empty = [repr(task) for task, n in counts if not n]
    if empty and found.form is Form.TARGETS:
        got = LazyMessage("got.no_label_in_targets", {"n": len(empty), "targets": empty[:5]})
        raise DataError(sentence("y", owner, LazyMessage("allowed.observed"), got))
    return found
