"""adelie: multi-response groups on shared designs, a block-diagonal design on separate ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import adelie as ad
import numpy as np
import scipy.sparse as sp
from problems import Problem

Solve = Callable[[float], list[np.ndarray]]


def prepare(problem: Problem) -> Solve:
    """Return the solver of a problem."""
    warnings.simplefilter("ignore")
    return (_shared if problem.card.design == "shared" else _separate)(problem)


def _shared(problem: Problem) -> Solve:
    # Its loss is divided by the number of entries of Y, ours by the number of rows.
    T = problem.n_tasks
    dense = isinstance(problem.X, np.ndarray)
    X = np.asfortranarray(problem.X) if dense else problem.X.tocsc()
    matrix = ad.matrix.dense(X) if dense else ad.matrix.sparse(X)
    path = np.array(problem.card.strengths) / T

    def solve(tol: float) -> list[np.ndarray]:
        glm = ad.glm.multigaussian(np.ascontiguousarray(problem.Y))
        d = problem.X.shape[1]
        state = ad.grpnet(matrix, glm, lmda_path=path, **_options(tol, np.ones(d)))
        return [np.asarray(b.todense()).reshape(d, T) for b in state.betas]

    return solve


def _separate(problem: Problem) -> Solve:
    T, n, d = problem.cube().shape
    tasks, rows, features = np.meshgrid(*(np.arange(k) for k in (T, n, d)), indexing="ij")
    columns = (features * T + tasks).ravel()
    cells = (problem.X.ravel(), ((tasks * n + rows).ravel(), columns))
    X = sp.csc_matrix(cells, shape=(T * n, d * T))
    matrix = ad.matrix.sparse(X)
    path = np.array(problem.card.strengths) / T
    groups = np.arange(0, d * T, T)

    def solve(tol: float) -> list[np.ndarray]:
        glm = ad.glm.gaussian(np.ascontiguousarray(problem.Y))
        options = _options(tol, np.ones(d)) | {"groups": groups}
        state = ad.grpnet(matrix, glm, lmda_path=path, **options)
        return [np.asarray(b.todense()).reshape(d, T) for b in state.betas]

    return solve


def _options(tol: float, penalty: np.ndarray) -> dict[str, object]:
    return {
        "tol": tol,
        "penalty": penalty,
        "intercept": False,
        "early_exit": False,
        "progress_bar": False,
        "n_threads": 1,
        "max_iters": 10**7,
    }
