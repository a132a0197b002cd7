"""The parts of the coefficients, for penalties of parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.layout import Layout
from polytask._linalg import Array
from polytask.linear._problem import Problem
from polytask.penalties import OutlierTasks, Parts, Penalty, Shifted, Sum
from polytask.solvers import Solution

# What is set after a fit with such a penalty only.
_ATTRIBUTES = ("coef_parts_", "outlier_tasks_")


def parts_of(penalty: object) -> tuple[Parts, Array | None] | None:
    """Return the parts in a penalty and the point that they are shifted by; None without parts."""
    match penalty:
        case Parts():
            return penalty, None
        case Shifted():
            found = parts_of(penalty.penalty)
            return None if found is None else (found[0], penalty.by)
        case Sum():
            held = [parts_of(member) for member in penalty.members]
            return next((found for found in held if found is not None), None)
    return None


def with_parts(solution: Solution, penalty: Penalty) -> Solution:
    """Return a solution that holds its parts, if the penalty has any."""
    found = parts_of(penalty)
    if found is None or solution.parts is not None:
        return solution
    parts, point = found
    if point is None:
        return replace(solution, parts=parts.divided(solution.W))
    # As where parts are shifted one by one, the first contains the point.
    first, *others = parts.divided(solution.W - point)
    return replace(solution, parts=(first + point, *others))


def original_parts(
    problem: Problem,
    solution: Solution,
    precision: Any,  # noqa: ANN401 - a dtype
) -> tuple[NDArray[Any], ...]:
    """Return the parts of a solution in original units, none for other solutions."""
    # Shapes: result (n_columns, n_features).
    nothing = np.zeros(problem.datafit.shape[1])
    parts = () if solution.parts is None else solution.parts
    return tuple(problem.original_units(U, nothing)[0].astype(precision) for U in parts)


def keep_parts(estimator: Any, parts: tuple[NDArray[Any], ...], layout: Layout) -> None:  # noqa: ANN401
    """Set the parts, and the tasks that stand apart, as attributes of an estimator."""
    for name in _ATTRIBUTES:
        if hasattr(estimator, name):
            delattr(estimator, name)
    if not parts:
        return
    estimator.coef_parts_ = parts
    found = parts_of(getattr(estimator, "best_penalty_", estimator.penalty))
    members = () if found is None else found[0].members
    own = [part for part, member in zip(parts, members, strict=True) if _is_outliers(member)]
    if own:
        apart = [any(part[columns].any() for part in own) for columns in layout.slices]
        estimator.outlier_tasks_ = estimator.tasks_[np.array(apart, dtype=bool)]


def _is_outliers(member: Penalty) -> bool:
    return isinstance(member.penalty if isinstance(member, Shifted) else member, OutlierTasks)
