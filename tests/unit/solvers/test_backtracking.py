"""Accelerated gradient where the curvature has no bound: every step is short enough."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.datafits import Features, NoIntercepts, Samples, ScalarBlock, Shared, TiedIntercepts
from polytask.losses import Gamma, Poisson, Squared
from polytask.penalties import L2, L21, Columns, TraceNorm
from polytask.solvers import AcceleratedGradient, Newton, Solution

LOSSES = [Poisson(), Gamma()]


def _samples(loss, level=0.0, free=True, stretch=1.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) * [1.0, 1.0, 3.0, stretch]
    mean = np.exp(level + X[:, :2] @ rng.normal(size=(2, 3)) / 2)
    counts = isinstance(loss, Poisson)
    y = rng.poisson(mean).astype(float) if counts else rng.gamma(2.0, mean / 2)
    design = Shared(Features(X), np.arange(3))
    block = ScalarBlock(design, loss, y, np.full(y.shape, 1 / 60))
    held = TiedIntercepts(np.arange(3)) if free else NoIntercepts()
    return Samples((block,), held, 4, 3)


def _bound(penalty, datafit):
    return penalty.bind(Columns.plain(3)).resolved(datafit.origin.gradient)


def test_only_exponentials_have_no_bound():
    assert not any(_samples(loss).is_bounded for loss in LOSSES)
    assert _samples(Squared()).is_bounded


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("level", "free"), [(-1.0, True), (0.0, True), (14.0, True), (-1.0, False), (4.0, False)]
)
@pytest.mark.parametrize("penalty", [L21(fraction=0.05), TraceNorm(fraction=0.05)])
def test_it_converges_whatever_the_size_of_the_targets(loss, free, level, penalty):
    datafit = _samples(loss, level, free)
    found = AcceleratedGradient().solve(datafit, _bound(penalty, datafit), tol=1e-7)
    assert found.status.ok
    assert found.gap <= 1e-7 * found.certificate.reference


@pytest.mark.parametrize("loss", LOSSES)
def test_it_finds_what_newton_finds(loss):
    datafit = _samples(loss, stretch=50.0, free=False)
    penalty = _bound(L2(1e-2), datafit)
    found = AcceleratedGradient().solve(datafit, penalty, tol=1e-9)
    exact = Newton().solve(datafit, penalty, tol=1e-12)
    assert found.objective == pytest.approx(exact.objective, rel=1e-8)


def test_the_objective_never_rises_from_a_far_start():
    datafit = _samples(Poisson(), free=False)
    penalty = _bound(L21(fraction=0.1), datafit)
    solver, values = AcceleratedGradient(), []
    best = solver.solve(datafit, penalty, tol=1e-10)
    far = Solution(best.W + 3.0, best.intercept, np.inf, best.certificate, best.status, 0, 0.0)
    assert datafit.value_at(far.W, far.intercept) > 1e3 * datafit.origin.value
    for n_iter in (10, 100, 1000):
        values.append(solver.solve(datafit, penalty, max_iter=n_iter, start=far).objective)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(best.objective, rel=1e-5)
