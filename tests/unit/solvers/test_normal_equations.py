"""Small quadratic problems on moments are solved at once, certified as by Newton's steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.solvers.shared_designs import INTERCEPTS, design, resolved, statistics

from polytask.datafits import (
    Features,
    SquaredStatistics,
    Stacked,
    collect_stacked,
)
from polytask.penalties import L2, along_time, toward_mean
from polytask.solvers import Newton, Status
from polytask.solvers import newton as module
from polytask.solvers.newton import diagonal_less_square
from polytask.solvers.objective import Objective

PENALTIES = {
    "L2": L2(0.1),
    "mean": toward_mean(0.5) + L2(0.1),
    "time": along_time(0.3) + L2(0.02),
    "faint": toward_mean(1e3) + L2(1e-9),
}


def stacked(n, d, T, mode, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n * T, d)) + 0.5, rng.normal(size=n * T)
    own = Stacked(Features(X), np.arange(0, n * T + 1, n), np.arange(T))
    moments = collect_stacked(own, y, np.ones(n * T), rng.uniform(0.5, 2.0, T))
    return SquaredStatistics(moments, INTERCEPTS[mode](T))


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(2, 30), st.integers(1, 12), st.integers(1, 6)),
    seed=st.integers(0, 1000),
    mode=st.sampled_from(sorted(INTERCEPTS)),
    name=st.sampled_from(sorted(PENALTIES)),
    one_design=st.booleans(),
    by_task=st.booleans(),
)
def test_it_agrees_with_the_steps_of_newton(shape, seed, mode, name, one_design, by_task):
    if one_design:
        datafit = statistics(*design(*shape, seed), mode)
    else:
        datafit = stacked(*shape, mode, seed)
    bound = resolved(datafit, PENALTIES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALL", 0 if by_task else module._SMALL)
        found = Newton().followed(datafit, bound, 1e-8, 100, None)
        patch.setattr(module, "_SMALL", 0)
        patch.setattr(module, "_FEATURES", 0)
        steps = Newton().solve(datafit, bound, tol=1e-8)
    if found is None or not steps.status.ok:
        return
    size = steps.certificate.reference
    assert found.objective <= steps.objective + 1e-10 * size
    there = datafit.value_at(found.W, found.intercept) + bound.value(found.W)
    assert found.objective == pytest.approx(there, abs=1e-9 * size)
    if found.status is Status.CONVERGED:
        assert 0 <= found.gap <= 1e-8 * size
        assert found.intercept == pytest.approx(steps.intercept, abs=1e-3)


@pytest.mark.parametrize("mode", INTERCEPTS)
def test_gap_and_residual_are_those_of_the_objective(mode, monkeypatch):
    datafit = stacked(20, 4, 5, mode, 0)
    bound = resolved(datafit, PENALTIES["mean"])
    # An answer that is not exact has a gap that can be compared.
    solve = module.lapack.dposv
    monkeypatch.setattr(module.lapack, "dposv", lambda *given: (None, 1.01 * solve(*given)[1], 0))
    found = Newton().followed(datafit, bound, 1e-8, 100, None)
    objective = Objective(datafit, bound)
    at = Newton().method(objective, 1e-8).judged(found.W, objective.evaluate(found.W, None))
    assert found.status is Status.STALLED
    assert found.gap == pytest.approx(at.gap, rel=1e-8)
    assert found.residual == pytest.approx(at.residual, rel=1e-8)
    assert found.objective == pytest.approx(at.value, rel=1e-12)
    # What is not certified goes the way of other problems.
    assert Newton().solve(datafit, bound, tol=1e-8).status is Status.CONVERGED


@pytest.mark.parametrize("mode", INTERCEPTS)
@pytest.mark.parametrize("name", ["L2", "mean", "faint"])
@pytest.mark.parametrize("tol", [1e-3, 1e-8])
def test_many_tasks_are_solved_from_the_matrix_of_each(mode, name, tol):
    datafit = stacked(20, 12, 30, mode, 0)
    bound = resolved(datafit, PENALTIES[name])
    found = Newton().followed(datafit, bound, tol, 100, None)
    if name == "L2" and not datafit.intercepts.couples:
        assert found is None, "nothing couples the tasks"
        return
    objective = Objective(datafit, bound)
    at = Newton().method(objective, tol).judged(found.W, objective.evaluate(found.W, None))
    assert found.status is Status.CONVERGED
    assert found.objective == pytest.approx(at.value, rel=1e-9)
    assert at.gap <= tol * objective.reference
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEATURES", 0)
        steps = Newton().solve(datafit, bound, tol=1e-10)
    assert pytest.approx(steps.W, abs=1e-4 if name == "faint" else 1e-8) == found.W


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("entries", ["all", "two", "none"])
def test_a_matrix_is_a_diagonal_less_a_square(n, entries):
    rng = np.random.default_rng(n)
    diagonal, g = rng.normal(size=n), rng.uniform(0.1, 2.0, n)
    g[{"all": n, "two": 2, "none": 0}[entries] :] = 0.0
    matrix = np.diag(diagonal) - np.multiply.outer(g, g)
    found, shared = diagonal_less_square(matrix)
    assert np.diag(found) - np.multiply.outer(shared, shared) == pytest.approx(matrix, abs=1e-12)


@pytest.mark.parametrize("matrix", [[[1.0, 0.5], [0.5, 1.0]], -np.eye(4)[::-1]])
def test_a_matrix_of_another_kind_is_no_diagonal_less_a_square(matrix):
    assert diagonal_less_square(np.array(matrix)) is None


def test_penalties_of_another_kind_and_large_problems_are_left_to_the_steps():
    datafit = stacked(20, 4, 5, "free", 0)
    for penalty in (toward_mean(0.5), L2(0.1).shifted(np.ones((4, 5)))):
        assert Newton().followed(datafit, resolved(datafit, penalty), 1e-8, 100, None) is None
    large = statistics(*design(80, 70, 5))
    assert Newton().followed(large, resolved(large, L2(0.1)), 1e-8, 100, None) is None
