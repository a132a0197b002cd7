"""The square-root loss by noise levels: laws with every penalty, and its extrapolation."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.penalties import L21, Columns
from polytask.solvers import AcceleratedGradient, Concomitant, Status, choose
from polytask.solvers.concomitant import NoisePath
from polytask.testing._problems import square_root_problems
from polytask.testing.solver_laws import _LAWS, _beyond_one_prox, _penalties, _SolverCase


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", square_root_problems(0))
def test_laws_with_every_penalty(name):
    datafit, solver = square_root_problems(1)[name], Concomitant()
    accepted = 0
    for penalty in (*_penalties(datafit), *_beyond_one_prox(datafit)):
        if not solver.accepts(datafit, penalty):
            accepted += 1
            for law in _LAWS:
                law(_SolverCase(solver, name, datafit, penalty, np.random.default_rng(0)))
    assert accepted > 20


@pytest.mark.parametrize("name", square_root_problems(0))
def test_it_is_chosen_and_agrees_with_plain_gradients(name):
    datafit = square_root_problems(2)[name]
    for fraction in (0.5, 0.05):
        penalty = L21(fraction=fraction).bind(Columns.plain(datafit.shape[1]))
        penalty = penalty.resolved(datafit.origin.gradient)
        assert choose(datafit, penalty) == Concomitant()
        one, other = (
            solver.solve(datafit, penalty, tol=1e-8)
            for solver in (Concomitant(), AcceleratedGradient())
        )
        assert one.status is other.status is Status.CONVERGED
        assert one.objective == pytest.approx(other.objective, rel=1e-7)
        np.testing.assert_allclose(one.W, other.W, atol=1e-3)


def test_a_start_is_used():
    datafit = square_root_problems(0)["square root"]
    penalty = L21(fraction=0.1).bind(Columns.plain(datafit.shape[1]))
    penalty = penalty.resolved(datafit.origin.gradient)
    cold = Concomitant().solve(datafit, penalty, tol=1e-8)
    warm = Concomitant().solve(datafit, penalty.with_strength(0.99 * penalty.strength), start=cold)
    assert warm.status is Status.CONVERGED
    assert warm.n_iter < cold.n_iter


def test_extrapolation_finds_a_linear_fixed_point():
    # log sigma -> fixed + A (log sigma - fixed), whose largest eigenvalue is 0.9.
    fixed, A = np.array([0.1, -0.3, 0.2]), np.diag([0.9, 0.5, -0.2])
    owned = np.ones(3, dtype=bool)
    path, sigma = NoisePath(np.full(3, 1e-20), owned), np.exp(fixed + np.array([0.3, 0.2, -0.1]))
    for _ in range(8):
        seen = np.exp(fixed + A @ (np.log(sigma) - fixed))
        sigma = path.next(sigma, seen)
    np.testing.assert_allclose(np.log(sigma), fixed, atol=1e-6)
