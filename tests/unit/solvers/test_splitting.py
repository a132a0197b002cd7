"""Sums of penalties without a common prox: against plain iterations and exact reductions."""

from __future__ import annotations

import numpy as np
import pytest

import polytask
from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV
from polytask.exceptions import ConvergenceWarning, IncompatibleError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    FusedTasks,
    GroupNorm,
    OutlierTasks,
    TraceNorm,
    parse,
    toward_mean,
)
from polytask.penalties.decomposition import separate
from polytask.solvers import AcceleratedGradient, Splitting, Status

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8)) * np.geomspace(0.5, 2.0, 8)
SLOPES = RNG.normal(size=(8, 2)) @ RNG.normal(size=(2, 4)) * (RNG.random((8, 1)) < 0.5)
Y = X @ SLOPES + 0.5 * RNG.normal(size=(60, 4))
SUMS = [
    L21(fraction=0.1) + TraceNorm(fraction=0.2),
    TraceNorm(fraction=0.1) + L1(fraction=0.1) + toward_mean(0.1),
    FusedTasks(0.05, 0.02) + TraceNorm(fraction=0.1) + L2(0.05),
    L21(fraction=0.1) + Clustered(0.1, 0.2, 2),
    L1(fraction=0.05) + OutlierTasks(fraction=0.2) + TraceNorm(fraction=0.1),
]


def fitted(penalty, X=X, Y=Y, **settings):
    settings = {"intercept": None, "tol": 1e-9} | settings
    return MultiTaskRegressor(penalty, task_weight="equal", **settings).fit(X, Y)


def alternating(sparse, low_rank, n_iter=3000):
    """Return the objective of L21 + TraceNorm by alternating directions, with formulas."""
    n, rho = len(X), 1.0
    V, U, A, B = (np.zeros((8, 4)) for _ in range(4))
    inverse = np.linalg.inv(X.T @ X / n + 2 * rho * np.eye(8))
    for _ in range(n_iter):
        W = inverse @ (X.T @ Y / n + rho * (V - A + U - B))
        rows = W + A
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        V = rows * np.maximum(1 - sparse / rho / np.maximum(length, 1e-300), 0)
        left, s, right = np.linalg.svd(W + B, full_matrices=False)
        U = left * np.maximum(s - low_rank / rho, 0) @ right
        A, B = A + W - V, B + W - U
    norms = np.linalg.norm(W, axis=1).sum(), np.linalg.svd(W, compute_uv=False).sum()
    return 0.5 * np.sum((Y - X @ W) ** 2) / n + sparse * norms[0] + low_rank * norms[1], V


def test_two_norms_against_alternating_directions():
    wanted, V = alternating(0.3, 0.8)
    model = fitted(L21(0.3) + TraceNorm(0.8), tol=1e-10)
    assert model.solution_.objective == pytest.approx(wanted, rel=1e-8)
    np.testing.assert_array_equal((model.coef_ == 0).all(axis=0), (V == 0).all(axis=1))
    assert 0 < (model.coef_ == 0).all(axis=0).sum() < 8


@pytest.mark.parametrize("penalty", SUMS, ids=repr)
def test_the_answer_is_certified_and_no_neighbour_is_better(penalty):
    model = fitted(penalty)
    found = model.solution_
    assert found.status is Status.CONVERGED
    assert found.gap <= 1e-9 * found.certificate.reference
    resolved = fitted(penalty, tol=1e-4)
    assert resolved.solution_.objective - found.objective <= resolved.solution_.gap + 1e-12


def test_tasks_apart_with_an_exact_prox_of_each():
    both = fitted(L1(0.1) + OutlierTasks(0.5)).solution_.objective
    one = L1(0.1) + GroupNorm(0.5, [list(range(8))], (1.0,))
    alone = [fitted(one, Y=y[:, None]).solution_.objective for y in Y.T]
    assert both == pytest.approx(sum(alone), rel=1e-8)


def test_one_task_makes_two_norms_one():
    two = fitted(TraceNorm(0.3) + OutlierTasks(0.2), Y=Y[:, :1], tol=1e-13)
    one = fitted(TraceNorm(0.5), Y=Y[:, :1], solver=AcceleratedGradient(), tol=1e-13)
    np.testing.assert_allclose(two.coef_, one.coef_, atol=1e-5)


def test_terms_that_combine_stay_together_and_rows_come_first():
    split = separate(TraceNorm(1.0) + L1(1.0) + L2(0.5) + toward_mean(2.0) + L21(1.0))
    assert [type(part).__name__ for part in split.others] == ["TraceNorm"]
    assert type(split.proximable).__name__ == "Ridged"
    assert split.smooth == toward_mean(2.0)


def test_classes_and_free_intercepts():
    labels = np.where(Y > 0.3, "yes", "no")
    penalty = L1(fraction=0.1) + TraceNorm(fraction=0.1)
    model = MultiTaskClassifier(penalty, tol=1e-7).fit(X, labels)
    assert model.solution_.gap <= 1e-7 * model.solution_.certificate.reference
    joint = fitted(L21(fraction=0.1) + TraceNorm(fraction=0.1), Y=Y + 7.0, intercept="task")
    moved = fitted(L21(fraction=0.1) + TraceNorm(fraction=0.1), intercept="task")
    np.testing.assert_allclose(joint.coef_, moved.coef_, atol=1e-6)


def test_a_start_with_dual_variables_needs_few_steps_and_one_without_works():
    cold = fitted(SUMS[0])
    model = MultiTaskRegressor(SUMS[0], intercept=None, tol=1e-9, warm_start=True)
    again = model.fit(X, Y).fit(X, Y)
    assert again.solution_.n_iter == 0
    again.fit(X, 1.01 * Y)
    assert 0 < again.solution_.n_iter < cold.solution_.n_iter


def test_cross_validation_begins_where_nothing_is_left():
    model = MultiTaskRegressorCV(L21() + TraceNorm(), alphas=8, cv=3).fit(X, Y)
    assert model.score(X, Y) > 0.8
    assert len(model.alphas_) == 8
    settings = {"intercept": "task", "standardize": True, "scale_targets": "auto"}
    empty, full = (
        fitted(model.best_penalty_.with_strength(c * model.alphas_.max()), **settings)
        for c in (1.0, 0.3)
    )
    assert not empty.coef_.any()
    assert full.coef_.any()


def test_text_and_files(tmp_path):
    model = fitted(parse("L21(0.1) + TraceNorm(0.2)"), solver=Splitting())
    polytask.save(model, tmp_path / "m.polytask")
    again = polytask.load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.solver == Splitting()
    assert again.solution_.memory == ()


def test_what_it_is_not_for_is_refused_in_words():
    with pytest.raises(IncompatibleError, match=r"has one\. Use AcceleratedGradient"):
        fitted(L21(0.1), solver=Splitting())


def test_too_few_steps_are_said():
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        fitted(SUMS[1], max_iter=3)
