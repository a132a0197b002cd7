"""Tasks of a learned prior that are predicted by coefficients that no posterior explains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.linear.bayes_tasks import BayesTasks
from polytask.linear.prediction import LinearTasks

Array = NDArray[np.float64]


@saveable("linear.given_line")
@dataclass(frozen=True)
class AdaptedCoefficients:
    """A task whose coefficients were given by ``adapt``, not learned under the prior."""

    # Its posterior says nothing about how uncertain these coefficients are.

    task: int
    deviation: float | None
    unseen: bool


def line_given(lines: tuple[AdaptedCoefficients, ...], task: int) -> AdaptedCoefficients | None:
    """Return the given coefficients of a task, None if they were learned."""
    return next((line for line in lines if line.task == task), None)


def deviations(
    tasks: BayesTasks,
    lines: tuple[AdaptedCoefficients, ...],
    X: Any,  # noqa: ANN401 - dense or sparse
    task: int,
) -> Array:
    """Return the standard deviation of new targets, shape (n_rows,), in original units."""
    # Shapes: X (n_rows, n_features).
    given = line_given(lines, task)
    if given is None or given.deviation is None:
        return tasks.deviation(X, task)
    return np.full(X.shape[0], given.deviation)


def with_lines_of(
    new: LinearTasks, old: LinearTasks, lines: tuple[AdaptedCoefficients, ...]
) -> tuple[LinearTasks, tuple[AdaptedCoefficients, ...]]:
    """Put back the coefficients of tasks that have no further rows."""
    kept = tuple(line for line in lines if new.counts[line.task] == old.counts[line.task])
    coef, intercept = new.coef.copy(), new.intercept.copy()
    for t in (line.task for line in kept):
        coef[new.slices[t]] = old.coef[old.slices[t]]
        intercept[new.slices[t]] = old.intercept[old.slices[t]]
    return replace(new, coef=coef, intercept=intercept), kept
