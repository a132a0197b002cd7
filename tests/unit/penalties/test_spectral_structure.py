"""Alternating structure: against a numerical search over M, against Clustered, and read off."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskRegressor, load, save
from polytask.exceptions import ParameterError
from polytask.penalties import L2, L21, AlternatingStructure, Clustered, parse

SHAPES = [(5, 3), (3, 5), (4, 4), (6, 1), (1, 4)]
ANY_CASE = [(d, T, k) for d, T in SHAPES for k in range(1, max(d, T) + 2)]


def sample(d, T, seed=0):
    return np.random.default_rng([seed, d, T]).normal(size=(d, T))


def projected(M, k):
    """The nearest symmetric matrix with eigenvalues in [0, 1] and the trace k, by bisection."""
    values, vectors = np.linalg.eigh(M)
    low, high = values.min() - 1, values.max()
    for _ in range(50):
        level = 0.5 * (low + high)
        low, high = (level, high) if np.clip(values - level, 0, 1).sum() > k else (low, level)
    return (vectors * np.clip(values - low, 0, 1)) @ vectors.T


def least_over_M(W, eta, k):
    """The minimum over M of tr(W' (eta I + M)^-1 W), and a bound on what is missing to it.

    Projected gradients from a random start. The function is convex, so that the best corner of
    the set along the gradient bounds how far its minimum can lie below.
    """
    d = len(W)
    root = np.random.default_rng(1).normal(size=(d, d))
    M, step = projected(root @ root.T, k), 1.0
    for _ in range(2000):
        V = np.linalg.solve(eta * np.eye(d) + M, W)
        value, gradient = (W * V).sum(), -V @ V.T
        missing = (gradient * M).sum() - np.linalg.eigvalsh(gradient)[:k].sum()
        if missing <= 1e-8 * value:
            break
        for _ in range(60):
            moved = projected(M - step * gradient, k) - M
            there = (W * np.linalg.solve(eta * np.eye(d) + M + moved, W)).sum()
            if there <= value + (gradient * moved).sum() + 0.5 / step * (moved * moved).sum():
                break
            step /= 2
        M, step = M + moved, 1.5 * step
    return value, missing


# ------------------------------------------------------------------ the function


@pytest.mark.parametrize(("d", "T", "k"), [(d, T, k) for d, T, k in ANY_CASE if k <= d])
def test_the_value_is_the_least_over_all_structures(d, T, k):
    W, eta = sample(d, T), 0.3
    least, missing = least_over_M(W, eta, k)
    assert abs(missing) <= 1e-7 * least
    got = AlternatingStructure(0.7, eta, k).value(W)
    assert got == pytest.approx(0.7 * eta * (1 + eta) * least, rel=1e-6)


@pytest.mark.parametrize(("d", "T", "k"), ANY_CASE)
def test_it_is_clustered_with_as_many_clusters(d, T, k):
    """As Zhou, Chen and Ye have shown; also where k exceeds d or T, or both."""
    W = sample(d, T)
    ours, theirs = AlternatingStructure(0.7, 0.3, k), Clustered(0.7, 0.3, k)
    assert ours.value(W) == pytest.approx(theirs.value(W))
    assert ours.conjugate(W) == pytest.approx(theirs.conjugate(W))
    np.testing.assert_allclose(ours.prox(W, 0.6), theirs.prox(W, 0.6), atol=1e-12)
    # Features take the place of tasks.
    assert ours.value(W) == pytest.approx(theirs.value(W.T))
    np.testing.assert_allclose(ours.prox(W, 0.6), theirs.prox(W.T, 0.6).T, atol=1e-12)


@pytest.mark.parametrize(("d", "T"), SHAPES)
def test_as_many_dimensions_as_features_or_columns_are_a_ridge(d, T):
    W, ridge = sample(d, T), L2(2 * 0.7 * 0.3)
    for k in (min(d, T), min(d, T) + 1, 50):
        assert AlternatingStructure(0.7, 0.3, k).value(W) == pytest.approx(ridge.value(W))


def test_shared_directions_cost_less():
    shared = np.outer([1.0, 2.0, 2.0], [1.0, -1.0, 1.0, 3.0])
    alone = np.zeros((3, 4))
    alone[0, 0], alone[1, 1], alone[2, 2] = 6.0, 6.0, 6.0
    assert (shared**2).sum() == (alone**2).sum() == 108
    penalty = AlternatingStructure(1.0, 0.1, 1)
    assert penalty.value(shared) == pytest.approx(0.1 * 108)
    assert penalty.value(alone) > 2 * penalty.value(shared)


def test_what_merges_and_what_is_refused():
    penalty = AlternatingStructure(1.0, 0.5, 3)
    assert penalty.merged(AlternatingStructure(2.0, 0.5, 3)) == AlternatingStructure(3.0, 0.5, 3)
    assert penalty.merged(AlternatingStructure(2.0, 0.5, 2)) is None
    assert penalty.merged(Clustered(2.0, 0.5, 3)) is None
    with pytest.raises(ParameterError, match="ratio of AlternatingStructure must be"):
        AlternatingStructure(1.0, 0.0)
    with pytest.raises(ParameterError, match="n_dimensions of AlternatingStructure must be"):
        AlternatingStructure(1.0, 0.5, 0)


def test_text():
    assert parse("AlternatingStructure(1, 0.5, 3)") == AlternatingStructure(1, 0.5, 3)
    assert parse("AlternatingStructure(n_dimensions=1) + L2(0.1)") == (
        AlternatingStructure(n_dimensions=1) + L2(0.1)
    )


# ------------------------------------------------------------------ what is read off


@pytest.mark.parametrize(("d", "T", "k"), ANY_CASE)
def test_the_structure_attains_the_minimum(d, T, k):
    W, eta = sample(d, T), 0.4
    penalty = AlternatingStructure(0.3, eta, k)
    M = penalty.structure(W)
    inside = np.linalg.eigvalsh(M)
    assert M.shape == (d, d)
    assert inside.min() > -1e-12
    assert inside.max() < 1 + 1e-12
    assert np.trace(M) == pytest.approx(min(k, d, T))
    cost = np.trace(W.T @ np.linalg.solve(eta * np.eye(d) + M, W))
    assert 0.3 * eta * (1 + eta) * cost == pytest.approx(penalty.value(W))


@pytest.mark.parametrize(("d", "T", "k"), ANY_CASE)
def test_the_basis_spans_the_leading_eigenvectors_of_the_structure(d, T, k):
    W = sample(d, T)
    penalty = AlternatingStructure(n_dimensions=k)
    theta = penalty.subspace(W)
    n = min(k, d, T)
    assert theta.shape == (d, n)
    np.testing.assert_allclose(theta.T @ theta, np.eye(n), atol=1e-12)
    largest = np.linalg.eigvalsh(penalty.structure(W))[::-1][:n]
    np.testing.assert_allclose(
        np.trace(theta.T @ penalty.structure(W) @ theta), largest.sum(), rtol=1e-9
    )


def test_of_no_rank_and_of_no_columns():
    penalty = AlternatingStructure(n_dimensions=2)
    one = np.outer(np.arange(1.0, 4.0), np.ones(4))
    assert penalty.subspace(one).shape == (3, 1)
    np.testing.assert_allclose(penalty.structure(one), np.outer(one[:, 0], one[:, 0]) / 14)
    assert penalty.subspace(0 * one).shape == (3, 0)
    assert (penalty.structure(0 * one) == 0).all()
    assert penalty.subspace(one[:, :0]).shape == (3, 0)
    assert penalty.structure(one[:, :0]).shape == (3, 3)
    assert penalty.structure(one.astype(np.float32)).dtype == np.float32


# ------------------------------------------------------------------ fits


def planted(seed=0, d=12, T=15, k=2):
    """Tasks u_t + Theta v_t, with rows enough for all of W only together."""
    rng = np.random.default_rng(seed)
    theta = np.linalg.qr(rng.normal(size=(d, k)))[0]
    W = 3 * theta @ rng.normal(size=(k, T)) + 0.2 * rng.normal(size=(d, T))
    task = np.repeat(np.arange(T), 14)
    X = rng.normal(size=(len(task), d))
    y = np.einsum("ij,ji->i", X, W[:, task]) + rng.normal(size=len(task))
    return X, y, task, W, theta


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_subspace_is_found_and_helps(seed):
    X, y, task, W, theta = planted(seed)
    penalty = AlternatingStructure(1.0, 0.02, 2)
    model = MultiTaskRegressor(penalty, intercept=None).fit(X, y, task=task)
    found = penalty.subspace(model.coef_.T)
    cosines = np.linalg.svd(theta.T @ found, compute_uv=False)
    assert cosines.min() > 0.97
    ridge = MultiTaskRegressor(L2(0.1), intercept=None).fit(X, y, task=task)
    error, without = (np.abs(m.coef_.T - W).mean() for m in (model, ridge))
    assert error < 0.7 * without
    assert model.solution_.gap is not None


@pytest.mark.parametrize("k", [1, 3, 8, 14])
def test_fits_are_those_of_clustered(k):
    X, y, task, *_ = planted(T=8)
    fits = [
        MultiTaskRegressor(kind(0.3, 0.1, k), tol=1e-10).fit(X, y, task=task).coef_
        for kind in (AlternatingStructure, Clustered)
    ]
    np.testing.assert_allclose(*fits, atol=1e-7)


def test_with_classes_and_in_sums():
    X, y, task, *_ = planted(T=6)
    labels = np.array(["low", "middle", "high"])[np.digitize(y, [-1.5, 1.5])]
    model = MultiTaskClassifier(AlternatingStructure(0.1, 0.1, 2)).fit(X, labels, task=task)
    assert model.score(X, labels, task=task) > 0.6
    both = AlternatingStructure(0.2, 0.1, 1) + L21(fraction=0.3)
    mixed = MultiTaskRegressor(both).fit(X, y, task=task)
    assert mixed.solution_.certificate.relative <= mixed.tol


def test_a_saved_model_keeps_it(tmp_path):
    X, y, task, *_ = planted(T=4)
    model = MultiTaskRegressor(AlternatingStructure(0.5, 0.2, 1)).fit(X, y, task=task)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.penalty == model.penalty
    np.testing.assert_array_equal(again.coef_, model.coef_)
