"""celer: MultiTaskLasso, along a path, and its cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from celer import MultiTaskLassoCV
from celer.homotopy import mtl_path
from problems import Problem

Solve = Callable[[float], list[np.ndarray]]


def prepare(problem: Problem) -> Solve:
    """Return the solver of a problem."""
    warnings.simplefilter("ignore")
    if not isinstance(problem.X, np.ndarray):
        raise SystemExit("celer takes no sparse design with several tasks")
    X, Y = np.asfortranarray(problem.X), np.asfortranarray(problem.Y)

    def search(tol: float) -> list[np.ndarray]:
        settings = {"fit_intercept": False, "tol": tol, "max_iter": 1000, "max_epochs": 100000}
        strengths = np.array(problem.card.strengths)
        found = MultiTaskLassoCV(alphas=strengths, cv=problem.splits(), **settings).fit(X, Y)
        return [found.coef_.T, np.array(found.alpha_)]

    def solve(tol: float) -> list[np.ndarray]:
        strengths = np.array(problem.card.strengths)
        coefs = mtl_path(X, Y, alphas=strengths, tol=tol, max_iter=1000, max_epochs=100000)[1]
        return [coefs[:, :, k].T for k in range(len(strengths))]

    return search if problem.card.folds else solve
