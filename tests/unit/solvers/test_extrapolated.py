"""Extrapolated proximal gradient for penalties on the whole of W."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask import MultiTaskRegressor
from polytask.datafits import (
    Features,
    Samples,
    SquaredStatistics,
    Stacked,
    TiedIntercepts,
    collect_stacked,
)
from polytask.exceptions import IncompatibleError
from polytask.losses import Logistic, Squared
from polytask.penalties import L2, L21, Columns, TraceNorm, dirty, toward_mean
from polytask.solvers import AcceleratedGradient, ExtrapolatedGradient, Status
from polytask.testing import _problems, check_solver

PENALTIES = [
    TraceNorm(fraction=0.1),
    TraceNorm(fraction=0.02),
    TraceNorm(fraction=0.1) + L2(0.1),
    TraceNorm(fraction=0.1) + toward_mean(0.5),
]
MODES = _problems.intercept_modes()


def bound(datafit, penalty):
    return penalty.bind(Columns.plain(datafit.shape[1])).resolved(datafit.origin.gradient)


@pytest.mark.slow
def test_the_laws_of_solvers():
    check_solver(ExtrapolatedGradient())


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PENALTIES), st.sampled_from(sorted(MODES)))
def test_the_answer_is_that_of_accelerated_gradient(seed, penalty, mode):
    for make in (_problems.stacked_statistics, _stacked):
        datafit = make(MODES[mode], seed)
        p = bound(datafit, penalty)
        found = ExtrapolatedGradient().solve(datafit, p, tol=1e-10)
        wanted = AcceleratedGradient().solve(datafit, p, tol=1e-10)
        assert found.status.ok
        reference = found.certificate.reference
        assert abs(found.objective - wanted.objective) <= 1e-8 * reference


def _stacked(intercepts, seed):
    return _problems.stacked_samples(Squared(), intercepts, seed)


def test_a_curvature_that_was_underestimated_is_raised(monkeypatch):
    datafit = _stacked(MODES["free"], 0)
    p = bound(datafit, PENALTIES[0])
    wanted = ExtrapolatedGradient().solve(datafit, p, tol=1e-9)
    low, plain = _stacked(MODES["free"], 0), Samples.lipschitz
    monkeypatch.setattr(Samples, "lipschitz", lambda self, scale: 0.3 * plain(self, scale))
    found = ExtrapolatedGradient().solve(low, p, tol=1e-9)
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(wanted.objective, rel=1e-8)


def test_what_it_refuses():
    squared = _stacked(MODES["free"], 0)
    logistic = _problems.stacked_samples(Logistic(), MODES["pulled"], 0)
    pairs = [(squared, L21(0.1)), (logistic, TraceNorm(0.1)), (squared, TraceNorm(0.0))]
    for datafit, penalty in pairs:
        with pytest.raises(IncompatibleError, match="ExtrapolatedGradient needs"):
            ExtrapolatedGradient().solve(datafit, penalty)


def test_features_of_all_sizes_end_with_a_status():
    datafit = _stacked(MODES["none"], 0)
    X = datafit.blocks[0].design.features.matrix
    X *= np.geomspace(1e-4, 1e4, X.shape[1])
    found = ExtrapolatedGradient().solve(datafit, bound(datafit, PENALTIES[1]), max_iter=3000)
    assert found.status in (Status.CONVERGED, Status.STALLED, Status.MAX_ITER)
    assert found.objective <= found.certificate.reference


def ill_conditioned(seed, condition):
    """Return eight tasks whose features have singular values from 1 down to 1 / condition."""
    rng = np.random.default_rng(seed)
    d, tasks, n = 20, 8, 40
    left, _ = np.linalg.qr(rng.normal(size=(n * tasks, d)))
    right, _ = np.linalg.qr(rng.normal(size=(d, d)))
    X = (left * np.geomspace(1.0, 1.0 / condition, d)) @ right.T * np.sqrt(n * tasks)
    W = right @ rng.normal(size=(d, 3)) @ rng.normal(size=(3, tasks))
    W *= np.geomspace(1.0, 1e3, d)[:, None]
    design = Stacked(Features(X), n * np.arange(tasks + 1), np.arange(tasks))
    y, weight = design.forward(W) + 0.1 * rng.normal(size=n * tasks), np.full(n * tasks, 1 / n)
    moments = collect_stacked(design, y, weight, design.collect(weight))
    return SquaredStatistics(moments, TiedIntercepts(np.arange(tasks)))


@pytest.mark.slow
@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    condition=st.sampled_from([1e4, 1e8]),
    fraction=st.sampled_from([1e-2, 1e-4, 1e-5]),
    max_iter=st.sampled_from([100, 4000]),
)
def test_ill_conditioned_problems_end_with_a_true_status(seed, condition, fraction, max_iter):
    datafit = ill_conditioned(seed, condition)
    p = bound(datafit, TraceNorm(fraction=fraction))
    found = ExtrapolatedGradient().solve(datafit, p, max_iter=max_iter)
    assert found.status.ok == (found.certificate.relative <= 1e-6)
    if not found.status.ok:
        # It does not give up while the objective falls: only where a step more or less decides.
        stalled = found.status is Status.STALLED and found.certificate.relative < 2e-6
        assert stalled or (found.status is Status.MAX_ITER and found.n_iter == max_iter)
    value = datafit.value_at(found.W, found.intercept) + p.value(found.W)
    assert value == pytest.approx(found.objective, rel=1e-9)
    better = AcceleratedGradient().solve(datafit, p, tol=1e-7)
    assert found.objective - better.objective <= found.gap + 1e-12 * found.certificate.reference


@pytest.mark.parametrize("seed", range(4))
def test_it_goes_on_while_the_objective_falls(seed, monkeypatch):
    """Seeds at which the gap rests for more checks in a row than a solver waits."""
    datafit = ill_conditioned(seed, 1e4)
    p = bound(datafit, TraceNorm(fraction=1e-5))
    monkeypatch.setattr(ExtrapolatedGradient, "fallback", lambda *args: None)
    assert ExtrapolatedGradient().solve(datafit, p).status is Status.CONVERGED


@pytest.mark.parametrize("excess", [1e-2, 1e-3, 1e-4])
def test_nearly_equal_features_do_not_hold_it_up(excess):
    # Only the penalty tells them apart, so steps from one to the other all have the same length.
    rng, task = np.random.default_rng(0), np.repeat(np.arange(5), 30)
    X = rng.normal(size=(150, 3))
    X[:, 1] = (1 + excess) * X[:, 0]
    y = X[:, 0] + X[:, 2] + 0.1 * rng.normal(size=150)
    model = MultiTaskRegressor(
        dirty(0.1, 0.08), solver=ExtrapolatedGradient(), tol=1e-6, max_iter=500
    )
    solution = model.fit(X, y, task=task).solution_
    assert solution.status is Status.CONVERGED
    assert not solution.W[0].any()
