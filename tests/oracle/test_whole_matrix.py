"""Optima of squared.json that say what other penalties on the whole of W have to find.

At its optimum a penalty has the slope of another one at a strength that the optimum tells; what is
left of the targets after one part of W is explained by the other part.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.penalties import Clustered, LearnedCovariance, OutlierTasks
from polytask.solvers import AcceleratedGradient, ExtrapolatedGradient, ProximalNewton

FOLDER = Path(__file__).parent
PROBLEMS = {p["key"]: p for p in json.loads((FOLDER / "squared.json").read_text())["problems"]}
STORED = np.load(FOLDER / "squared.npz")
DATA = {t: (STORED[f"X_{t}"], STORED[f"y_squared_{t}"]) for t in range(4)}
SOLVERS = ["auto", AcceleratedGradient(), ExtrapolatedGradient()]


def fitted(penalty, data, solver="auto"):
    model = MultiTaskRegressor(
        penalty, intercept=None, task_weight="equal", solver=solver, tol=1e-13, max_iter=100_000
    )
    return model.fit(data)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_learned_covariance_has_the_slope_of_a_trace_norm(solver):
    problem, W = PROBLEMS["squared__trace"], STORED["squared__trace__W"]
    size = np.linalg.svd(W, compute_uv=False).sum()
    strength = problem["params"]["lam"]
    model = fitted(LearnedCovariance(strength / size), DATA, solver)
    np.testing.assert_allclose(model.coef_.T, W, atol=1e-5)
    wanted = problem["objective"] - 0.5 * strength * size
    assert model.solution_.objective == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("key", ["robust_mtl", "robust_mtfl"])
def test_outlier_tasks_are_what_the_shared_part_leaves(key, solver):
    problem = PROBLEMS[f"squared__{key}"]
    shared, own = STORED[f"squared__{key}__P"], STORED[f"squared__{key}__Q"]
    left = {t: (X, y - X @ shared[:, t]) for t, (X, y) in DATA.items()}
    model = fitted(OutlierTasks(problem["params"]["lam2"]), left, solver)
    np.testing.assert_allclose(model.coef_.T, own, atol=2e-5)
    assert ((model.coef_ == 0).all(axis=1) == (np.abs(own).max(axis=0) < 1e-6)).all()
    strength = problem["params"]["lam1"]
    # The shared part is penalised by its singular values, or by its rows.
    norms = {
        "robust_mtl": np.linalg.svd(shared, compute_uv=False),
        "robust_mtfl": np.linalg.norm(shared, axis=1),
    }
    whole = model.solution_.objective + strength * norms[key].sum()
    assert whole == pytest.approx(problem["objective"], rel=1e-8)


def test_the_relaxed_assignment_is_the_one_that_was_found():
    problem = PROBLEMS["squared__cmtl"]
    p = problem["params"]
    penalty = Clustered(p["rho1"], p["rho2"] / p["rho1"], p["k"])
    model = fitted(penalty, DATA)
    M = penalty.membership(model.coef_.T)
    np.testing.assert_allclose(M, STORED["squared__cmtl__M"], atol=1e-4)
    assert np.trace(M) == pytest.approx(p["k"])


def test_the_solvers_of_other_losses_find_the_same_clusters():
    labelled = {t: (X, (y > np.median(y)).astype(int)) for t, (X, y) in DATA.items()}
    found = [
        MultiTaskClassifier(Clustered(0.05, 0.5, 2), solver=solver, tol=1e-10).fit(labelled)
        for solver in ("auto", AcceleratedGradient(), ProximalNewton())
    ]
    objectives = [model.solution_.objective for model in found]
    assert objectives == pytest.approx([objectives[0]] * 3, rel=1e-8)
    assert all(model.solution_.gap is not None for model in found)
