"""Further rows of a penalised model: their statistics, and where the solver starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from polytask._estimator.training import TaskColumn, is_wide, refuse_beside_statistics
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.messages import LazyMessage
from polytask.solvers import Solution
from polytask.statistics import TaskStatistics
from polytask.statistics.one_part import collect_part


def further_statistics(
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    sample_weight: Any,  # noqa: ANN401
    task_column: TaskColumn,
    owner: str,
) -> TaskStatistics:
    """Return the statistics of rows, or those that were given."""
    if isinstance(X, TaskStatistics):
        refuse_beside_statistics(owner, y, task, sample_weight)
        return X
    found = collect_part(X, y, task, sample_weight, None, task_column, None)
    if found is None:
        raise DataError(LazyMessage("statistics.refusal.no_rows", {"owner": owner}))
    return found


def refuse_nameless(
    earlier: TaskStatistics,
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    task_column: TaskColumn,
    owner: str,
) -> None:
    """Refuse rows of which it is not said which of several tasks they belong to."""
    named = task is not None or task_column is not None or isinstance(X, TaskData | Mapping)
    if named or is_wide(y) or len(earlier.tasks) < 2:
        return
    fields = {"owner": owner, "n": len(earlier.tasks)}
    raise DataError(LazyMessage("estimator.refusal.which_task", fields))


def placed(solution: Solution, before: TaskStatistics, now: TaskStatistics) -> Solution:
    """Return a solution for statistics that may know more tasks and features than it does."""
    if (before.tasks, before.feature_names) == (now.tasks, now.feature_names):
        return solution
    columns = [now.tasks.index(task) for task in before.tasks]
    names = now.feature_names
    rows = [*range(now.n_features)]
    if names is not None and before.feature_names is not None:
        rows = [names.index(name) for name in before.feature_names]
    W, b = np.zeros((now.n_features, len(now.tasks))), np.zeros(len(now.tasks))
    W[np.ix_(rows, columns)], b[columns] = solution.W, solution.intercept
    return replace(solution, W=W, intercept=b, memory=(), parts=None, factors=None)
