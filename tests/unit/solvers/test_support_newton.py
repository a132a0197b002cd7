"""Newton's method on the support, where sweeps over coupled features are slow."""

from __future__ import annotations

import numpy as np
import pytest
from unit.solvers.shared_designs import INTERCEPTS, agrees, resolved, samples, statistics

from polytask.penalties import L1, L2, L21, ElasticNet, SparseGroup
from polytask.solvers import BlockDescent, Status, _support_newton
from polytask.solvers import block_descent as inner
from polytask.solvers import block_descent as pools
from polytask.solvers._block_data import shared_data
from polytask.solvers._separate_terms import row_terms

PENALTIES = (
    L21(fraction=1e-3),
    L1(fraction=1e-3),
    SparseGroup(fraction=1e-3, l1_ratio=0.3),
    ElasticNet(fraction=1e-3, l1_ratio=0.7),
    L21(fraction=1e-3) + L2(1e-3),
)


def coupled(n, d, T, seed=0):
    """Return features with correlation 0.9 between any two, all of them in use."""
    rng = np.random.default_rng(seed)
    X = np.sqrt(0.1) * rng.normal(size=(n, d)) + np.sqrt(0.9) * rng.normal(size=(n, 1))
    eta = X @ rng.normal(size=(d, T))
    return X, eta + rng.normal(size=eta.shape) * np.linalg.norm(eta) / np.sqrt(9 * eta.size)


@pytest.fixture
def leaps(monkeypatch):
    """Try Newton's method at once; count how often it was worth it."""
    seen, learn = [], _support_newton.NewtonSteps.learn
    monkeypatch.setattr(_support_newton, "_FIRST", 10)
    monkeypatch.setattr(
        _support_newton.NewtonSteps,
        "learn",
        lambda self, sweeps, better: seen.append(better) or learn(self, sweeps, better),
    )
    return seen


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("make", [samples, statistics])
def test_the_answer_is_that_of_another_solver(penalty, make, leaps):
    agrees(make(*coupled(120, 60, 3), "free"), penalty, 1e-8)
    assert sum(leaps) > 0


@pytest.mark.parametrize("mode", INTERCEPTS)
@pytest.mark.parametrize(("n", "d"), [(90, 40), (25, 60)])
@pytest.mark.parametrize("gram", [True, False])
def test_weights_intercepts_and_engines(mode, n, d, gram, leaps, monkeypatch):
    if not gram:
        monkeypatch.setattr(pools.Pool, "in_gram_domain", lambda self, size: False)
    rng = np.random.default_rng(1)
    factors = rng.uniform(0.3, 2.0, n), rng.uniform(0.3, 2.0, 3)
    agrees(samples(*coupled(n, d, 3), mode, *factors), L21(fraction=1e-2), 1e-8)
    assert sum(leaps) > 0


@pytest.mark.parametrize("gram", [True, False])
@pytest.mark.parametrize("mode", ["none", "pulled"])
@pytest.mark.parametrize("penalty", [L21(0.01), L21(0.01) + L2(0.1), SparseGroup(0.01)], ids=repr)
def test_the_step_solves_the_system_of_newton(penalty, mode, gram, monkeypatch):
    X, Y = coupled(30, 40, 3)
    datafit = samples(X, Y, mode)
    pool = pools.Pool(shared_data(datafit))
    W = np.random.default_rng(2).normal(size=(40, 3))
    W[3:9], W[12, 1] = 0.0, 0.0
    if not gram:
        monkeypatch.setattr(pools.Pool, "in_gram_domain", lambda self, size: False)
    split = resolved(datafit, penalty)
    kernel = L21(0.01).row_kernel()
    slope = -datafit.evaluate(W).gradient
    engine = pool.engine(np.arange(40), W.copy(), slope, 0.0, kernel)
    terms = row_terms(inner_penalty(split))
    monkeypatch.setattr(_support_newton, "_ACCURACY", 1e-12)
    support = _support_newton._Support(engine, terms)
    step = support.step()
    assert set(support.index) == set(range(40)) - set(range(3, 9))
    wanted = support._slope()
    np.testing.assert_allclose(support._hessian(step), wanted, atol=1e-6 * np.abs(wanted).max())
    # Where no row meets zero, the engine ends at the point with all that belongs to it.
    short = 1e-4 * step / np.abs(step).max()
    engine.set_state(support.state(short))
    moved = W.copy()
    moved[support.index] += short
    np.testing.assert_allclose(engine.W, moved, atol=1e-15)
    np.testing.assert_allclose(engine.slope(), -datafit.evaluate(moved).gradient, atol=1e-9)
    # Rows and entries that would pass zero stop there.
    engine.set_state(support.state(-2 * support.W - short))
    assert not engine.W.any()


def inner_penalty(penalty):
    from polytask.penalties import decompose

    return decompose(penalty).proximable


def test_it_is_not_tried_while_sweeps_are_fast(leaps):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 40))
    found = BlockDescent().solve(samples(X, X[:, :4]), L21(0.01))
    assert found.status is Status.CONVERGED
    assert not leaps


@pytest.mark.parametrize("n", [200, 100])
def test_few_sweeps_are_enough_where_they_used_to_be_too_many(n):
    """Before, ten thousand sweeps ended with gaps of a few per cent here."""
    datafit = samples(*coupled(n, 200, 3), "none")
    found = BlockDescent().solve(datafit, resolved(datafit, L21(fraction=1e-3)), max_iter=1500)
    assert found.status is Status.CONVERGED


def test_an_attempt_that_fails_leaves_everything_as_it_was(leaps, monkeypatch):
    monkeypatch.setattr(_support_newton._Support, "step", lambda self: 100.0 * (1.0 + self.W))
    monkeypatch.setattr(inner.NewtonSteps, "due", lambda self, sweeps: sweeps % 10 == 0)
    datafit = samples(*coupled(60, 20, 3), "none")
    agrees(datafit, L21(fraction=0.05), 1e-7)
    assert leaps
    assert not any(leaps)
