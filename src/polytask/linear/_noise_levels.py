"""The noise level of every task, for losses that measure by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.datafits import Rooted
from polytask.linear._problem import Problem
from polytask.solvers import Solution

_ATTRIBUTE = "noise_"


def keep_noise(estimator: Any, problem: Problem, solution: Solution) -> None:  # noqa: ANN401
    """Set the root mean square that is left of every task as an attribute of an estimator."""
    if hasattr(estimator, _ATTRIBUTE):
        delattr(estimator, _ATTRIBUTE)
    datafit = problem.datafit
    if not isinstance(datafit, Rooted):
        return
    found = np.where(datafit.owned, datafit.noise(solution.W, solution.intercept), np.nan)
    slices = problem.layout.slices
    # Tasks of numbers have one column; of the others every column is NaN, or there is none.
    own = [float(found[part].sum()) if part.stop > part.start else np.nan for part in slices]
    estimator.noise_ = np.array(own) * problem.targets.scale
