"""scikit-learn: MultiTaskLasso, warm-started along a path."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from problems import Problem
from sklearn.linear_model import MultiTaskLasso

Solve = Callable[[float], list[np.ndarray]]


def prepare(problem: Problem) -> Solve:
    """Return the solver of a problem."""
    warnings.simplefilter("ignore")
    X = problem.X if not hasattr(problem.X, "tocsc") else problem.X.tocsc()
    X = np.asfortranarray(X) if isinstance(X, np.ndarray) else X

    def solve(tol: float) -> list[np.ndarray]:
        model = MultiTaskLasso(fit_intercept=False, warm_start=True, tol=tol, max_iter=100000)
        answers = []
        for strength in problem.card.strengths:
            model.set_params(alpha=strength).fit(X, problem.Y)
            answers.append(model.coef_.T.copy())
        return answers

    return solve
