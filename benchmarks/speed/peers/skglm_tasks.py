"""skglm: MultiTaskLasso, along a path."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from problems import Problem
from skglm import MultiTaskLasso

Solve = Callable[[float], list[np.ndarray]]


def prepare(problem: Problem) -> Solve:
    """Return the solver of a problem."""
    warnings.simplefilter("ignore")
    dense = isinstance(problem.X, np.ndarray)
    X = np.asfortranarray(problem.X) if dense else problem.X.tocsc()
    Y = np.asfortranarray(problem.Y)

    def solve(tol: float) -> list[np.ndarray]:
        model = MultiTaskLasso(
            fit_intercept=False, warm_start=True, tol=tol, max_iter=1000, max_epochs=100000
        )
        answers = []
        for strength in problem.card.strengths:
            model.set_params(alpha=strength).fit(X, Y)
            answers.append(np.array(model.coef_).T.copy())
        return answers

    return solve
