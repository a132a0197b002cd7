"""The network lasso: a closed form for two tasks, reductions, clusters, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import polytask
from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import L2, L21, FusedTasks, NetworkLasso, parse
from polytask.solvers import AcceleratedGradient, Status

RNG = np.random.default_rng(0)
N, D = 40, 3
X = np.linalg.qr(RNG.normal(size=(N, D)))[0] * np.sqrt(N)
PAIR = X @ RNG.normal(size=(D, 2)) + RNG.normal(size=(N, 2))
GROUPS = np.repeat([0, 1, 2], 3)
Y = X @ RNG.normal(size=(D, 3))[:, GROUPS] + 0.5 * RNG.normal(size=(N, 9))
CHAIN = {(t, t + 1): 1.0 for t in range(8)}


def fitted(penalty, Y=Y, **settings):
    settings = {"intercept": None, "task_weight": "equal", "tol": 1e-9} | settings
    return MultiTaskRegressor(penalty, **settings).fit(X, Y)


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.4, 20.0])
def test_two_tasks_of_one_orthonormal_design(alpha, weight):
    alone = X.T @ PAIR / N
    mean, apart = alone.mean(axis=1), alone[:, 0] - alone[:, 1]
    kept = max(0.0, 1 - 2 * alpha * weight / np.linalg.norm(apart))
    model = fitted(NetworkLasso(alpha, {(0, 1): weight}), PAIR)
    wanted = np.array([mean + kept * apart / 2, mean - kept * apart / 2])
    np.testing.assert_allclose(model.coef_, wanted, atol=1e-7)
    assert np.array_equal(model.coef_[0], model.coef_[1]) == (kept == 0)


def test_neighbours_in_a_cluster_are_exactly_equal():
    for penalty in (NetworkLasso(0.3, CHAIN), NetworkLasso(0.3, CHAIN) + L2(0.01)):
        model = fitted(penalty)
        np.testing.assert_array_equal(NetworkLasso.clusters(model.coef_.T), GROUPS)
        assert len(np.unique(model.coef_, axis=0)) == 3
        assert model.solution_.status is Status.CONVERGED


def test_one_feature_is_the_fused_lasso():
    one = X[:, :1]
    settings = {"intercept": None, "task_weight": "equal", "tol": 1e-9}
    network = MultiTaskRegressor(NetworkLasso(0.2, CHAIN), **settings).fit(one, Y)
    fused = MultiTaskRegressor(FusedTasks(0.2), **settings).fit(one, Y)
    np.testing.assert_allclose(network.coef_, fused.coef_, atol=1e-6)
    wanted = fused.solution_.objective
    assert network.solution_.objective == pytest.approx(wanted, rel=1e-8)


def test_a_strong_one_makes_all_joined_tasks_one():
    joined = {(s, t): 1.0 for s in range(9) for t in range(s)}
    model = fitted(NetworkLasso(50.0, joined))
    np.testing.assert_allclose(model.coef_, np.tile((X.T @ Y / N).mean(axis=1), (9, 1)), atol=1e-7)


def test_with_other_norms_it_is_certified_by_a_gap():
    model = fitted(NetworkLasso(0.2, CHAIN) + L21(0.15), tol=1e-8)
    found = model.solution_
    assert found.gap <= 1e-8 * found.certificate.reference
    assert found.status is Status.CONVERGED
    loose = fitted(NetworkLasso(0.2, CHAIN) + L21(0.15), tol=1e-3).solution_
    assert loose.objective - found.objective <= loose.gap


def test_no_neighbour_of_the_answer_is_better():
    penalty = NetworkLasso(0.3, CHAIN)
    W = fitted(penalty).coef_.T

    def objective(V):
        differences = np.diff(V, axis=1)
        return 0.5 * np.sum((Y - X @ V) ** 2) / N + 0.3 * np.linalg.norm(differences, axis=0).sum()

    rng = np.random.default_rng(1)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            assert objective(W + size * rng.normal(size=W.shape)) >= objective(W)


def test_classes_are_joined_as_their_tasks_are():
    task = np.repeat(["a", "b"], 60)
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(120, D))
    label = np.argmax(rows @ rng.normal(size=(D, 3)) + rng.gumbel(size=(120, 3)), axis=1)
    penalty = NetworkLasso(5.0, {("a", "b"): 1.0}) + L2(0.1)
    model = MultiTaskClassifier(penalty, loss="multinomial", tol=1e-6).fit(rows, label, task=task)
    first, second = model.coef_[:3], model.coef_[3:]
    np.testing.assert_array_equal(first, second)
    assert np.abs(first[0] - first[1]).max() > 1e-3


def test_search_text_and_files(tmp_path):
    rows, task = np.tile(X, (3, 1)), np.repeat(["x", "y", "z"], N)
    y = Y[:, [0, 1, 8]].T.ravel()
    penalty = parse("NetworkLasso(1, {('x', 'y'): 1, ('y', 'z'): 1}) + 0.01 * L2")
    model = MultiTaskRegressorCV(penalty, alphas=4, cv=2, intercept=None, task_weight="equal")
    model.fit(rows, y, task=task)
    assert model.score(rows, y, task=task) > 0.5
    polytask.save(model, tmp_path / "m.polytask")
    again = polytask.load(tmp_path / "m.polytask")
    assert again.penalty == penalty
    np.testing.assert_array_equal(again.coef_, model.coef_)


def test_what_is_refused():
    with pytest.raises(ParameterError, match="symmetric"):
        NetworkLasso(1.0, [[0.0, 1.0], [2.0, 0.0]])
    with pytest.raises(ParameterError, match="of shape"):
        fitted(NetworkLasso(1.0, np.ones((2, 2))))
    with pytest.raises(IncompatibleError, match=r"neither a gradient nor .*Use Splitting"):
        fitted(NetworkLasso(1.0, CHAIN), solver=AcceleratedGradient())
