"""Classes of a new domain: coefficients averaged over what the domain may be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit

from polytask import BayesianMultiTaskClassifier, adapt
from polytask.transfer._pulled import FACTORS, factor_shares, level_factor

D, MEAN = 5, np.array([1.5, -1.5, 1.0, 0.0, 0.5])


def rows_of(w, level, n, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D))
    return X, (rng.random(n) < expit(X @ w + level)).astype(int)


@pytest.fixture(scope="module")
def source():
    parts = [rows_of(MEAN, 0.2, 120, seed) for seed in range(3)]
    X, y = np.vstack([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    return BayesianMultiTaskClassifier("none").fit(X, y, task=np.repeat(["a", "b", "c"], 120))


def loss(model, X, y):
    chance = model.predict_proba(X, task=np.full(len(y), "new"))[:, 1]
    return float(-np.mean(np.log(np.where(y == 1, chance, 1 - chance))))


def test_coefficients_of_no_use_are_let_go(source):
    """Though no task differs from another by more than its level."""
    X, y = rows_of(np.zeros(D), 1.0, 40, 7)
    new = adapt(source, X, y, task="new", domain="new")
    held = adapt(source, X, y, task="new")
    assert np.linalg.norm(new.coef_[-1]) < 0.5 * np.linalg.norm(held.coef_[-1])
    test = rows_of(np.zeros(D), 1.0, 2000, 8)
    assert loss(new, *test) < loss(held, *test) - 0.05


def test_coefficients_like_the_known_ones_are_kept(source):
    X, y = rows_of(MEAN, 0.2, 40, 9)
    new = adapt(source, X, y, task="new", domain="new")
    held = adapt(source, X, y, task="new")
    assert_allclose(new.coef_[-1], held.coef_[-1], atol=0.1)
    assert new.adaptation_.chosen == "adapted"


def test_few_rows_move_halfway(source):
    """Five rows of one class neither prove that the domain is another one nor refute it."""
    X = rows_of(MEAN, 0.0, 5, 3)[0]
    new = adapt(source, X, np.ones(5, dtype=int), task="new", domain="new")
    share = new.coef_[-1] @ MEAN / (source.coef_.mean(axis=0) @ MEAN)
    assert 0.2 < share < 0.8
    # Rows of one class say nothing about what a model of them alone would lose on others.
    assert "one class" in new.adaptation_.untried["target"]
    assert new.adaptation_.chosen != "target"
    assert logit(0.5) < new.intercept_[-1] < logit(0.999)


def test_known_tasks_stay_and_further_rows_count(source):
    X, y = rows_of(np.zeros(D), 2.0, 10, 4)
    new = adapt(source, X, y, task="new", domain="new")
    assert_allclose(new.coef_[:3], source.coef_)
    # Rows of another task leave the average alone; rows of its own are learned from.
    before, more = new.coef_[-1].copy(), rows_of(MEAN, 0.0, 30, 5)
    new.partial_fit(*more, task=np.full(30, "a"))
    assert_allclose(new.coef_[-1], before)
    new.partial_fit(*more, task=np.full(30, "new"))
    assert np.abs(new.coef_[-1] - before).max() > 0.1


def test_tasks_of_one_domain_are_weighed_together(source):
    """One row says little by itself; with those of another task it knows the relation."""
    X, y = rows_of(np.zeros(D), 0.0, 41, 6)
    both = adapt(source, {"x": (X[:40], y[:40]), "y": (X[40:], y[40:])}, domain="new")
    alone = adapt(source, X[40:], y[40:], task="y", domain="new")
    assert np.linalg.norm(both.coef_[-1]) < 0.7 * np.linalg.norm(alone.coef_[-1])


def test_shares_are_those_of_a_cauchy_prior():
    flat = factor_shares(np.zeros((2, len(FACTORS))))
    assert_allclose(flat.sum(), 1.0)
    assert_array_equal(flat[0], flat[1])
    # A t distribution with one degree of freedom: 1 / factor has a gamma distribution.
    density = FACTORS**-0.5 * np.exp(-0.5 / FACTORS)
    assert_allclose(2 * flat[0], density / density.sum())
    assert level_factor(lambda factor: -abs(np.log(factor / 100.0)) * 50) == pytest.approx(100.0)
