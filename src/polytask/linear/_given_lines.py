"""Tasks of a learned prior that are predicted by coefficients that no posterior explains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.linear._bayes_tasks import BayesTasks
from polytask.linear._prediction import LinearTasks

Array = NDArray[np.float64]


@saveable("linear.given_line")
@dataclass(frozen=True)
class GivenLine:
    """A task whose coefficients were given by ``adapt``, not learned under the prior.

    Its posterior says nothing about how uncertain these coefficients are.

    Attributes
    ----------
    task : int
        Its position.
    deviation : float or None
        Numbers: the standard deviation of a new target in original units, as rows that were
        left out have shown. None for classes.
    unseen : bool
        Classes: whether the coefficients are those of an unseen task, as uncertain as the
        prior is wide; otherwise the probabilities are those at the coefficients.
    """

    task: int
    deviation: float | None
    unseen: bool


def line_given(lines: tuple[GivenLine, ...], task: int) -> GivenLine | None:
    """Return the given coefficients of a task, None if they were learned."""
    return next((line for line in lines if line.task == task), None)


def deviations(tasks: BayesTasks, lines: tuple[GivenLine, ...], X: Any, task: int) -> Array:  # noqa: ANN401
    """Return the standard deviation of new targets, shape (n_rows,), in original units.

    Parameters
    ----------
    tasks : BayesTasks
        Their posteriors.
    lines : tuple of GivenLine
        Tasks that these say nothing about.
    X : ndarray or CSR of shape (n_rows, n_features)
        Original units.
    task : int
        -1 for an unseen task.
    """
    given = line_given(lines, task)
    if given is None or given.deviation is None:
        return tasks.deviation(X, task)
    return np.full(X.shape[0], given.deviation)


def with_lines_of(
    new: LinearTasks, old: LinearTasks, lines: tuple[GivenLine, ...]
) -> tuple[LinearTasks, tuple[GivenLine, ...]]:
    """Put back the coefficients of tasks that have no further rows.

    Parameters
    ----------
    new, old : LinearTasks
        After and before further rows; the tasks of the old one come first in both.
    lines : tuple of GivenLine
        The tasks whose coefficients were given, not learned.

    Returns
    -------
    LinearTasks
        `new`, with the coefficients that `old` has for those tasks.
    tuple of GivenLine
        Those that still have them.
    """
    kept = tuple(line for line in lines if new.counts[line.task] == old.counts[line.task])
    coef, intercept = new.coef.copy(), new.intercept.copy()
    for t in (line.task for line in kept):
        coef[new.slices[t]] = old.coef[old.slices[t]]
        intercept[new.slices[t]] = old.intercept[old.slices[t]]
    return replace(new, coef=coef, intercept=intercept), kept
