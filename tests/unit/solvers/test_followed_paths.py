"""Paths on moments, followed in compiled code: certificates are those of the solver itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.solvers.shared_designs import INTERCEPTS, design, resolved, statistics

from polytask.penalties import L1, L2, L21, ElasticNet, SparseGroup, toward_mean
from polytask.solvers import AcceleratedGradient, BlockDescent
from polytask.solvers import block_descent as module
from polytask.solvers.objective import Objective

PENALTIES = {
    "L21": L21(1.0),
    "L1": L1(1.0),
    "SparseGroup": SparseGroup(1.0, l1_ratio=0.4),
    "ElasticNet": ElasticNet(1.0, l1_ratio=0.6),
    "sum": L21(1.0) + L2(0.02),
}


def followed(datafit, penalty, strengths, tol):
    """Solve along the strengths; return pairs of penalties and solutions."""
    last, found = None, []
    for strength in strengths:
        bound = penalty.with_strength(float(strength))
        last = BlockDescent().solve(datafit, bound, tol=tol, start=last)
        found.append((bound, last))
    return found


def grid(datafit, penalty, size=12):
    bound = resolved(datafit, penalty)
    top = bound.null_strength(datafit.origin.gradient)
    return bound, top * np.geomspace(1.0, 1e-3, size)


@settings(max_examples=10)
@given(
    shape=st.tuples(st.integers(2, 40), st.integers(1, 60), st.integers(1, 6)),
    seed=st.integers(0, 1000),
    mode=st.sampled_from(sorted(INTERCEPTS)),
    name=st.sampled_from(sorted(PENALTIES)),
    tol=st.sampled_from([1e-4, 1e-8]),
)
def test_the_certificates_of_a_path_hold(shape, seed, mode, name, tol):
    X, Y = design(*shape, seed)
    X[:, 0] = 1.0  # a feature that nothing can move
    datafit = statistics(X, Y, mode)
    bound, strengths = grid(datafit, PENALTIES[name])
    for penalty, solution in followed(datafit, bound, strengths, tol):
        if not solution.status.ok:
            continue
        exact = AcceleratedGradient().solve(datafit, penalty, tol=1e-9)
        reference = max(datafit.origin.value, 1e-300)
        there = datafit.value_at(solution.W, solution.intercept) + penalty.value(solution.W)
        assert solution.objective == pytest.approx(there, abs=1e-10 * reference)
        assert solution.objective - exact.objective <= solution.gap + 1e-9 * reference
        assert solution.certificate.relative <= tol


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("mode", INTERCEPTS)
def test_gap_and_residual_are_those_of_the_objective(name, mode):
    X, Y = design(80, 40, 5)
    datafit = statistics(X, Y, mode)
    bound, strengths = grid(datafit, PENALTIES[name])
    path = followed(datafit, bound, strengths, 1e-6)
    assert datafit.derived(module._Path).strengths[1] == pytest.approx(path[-1][0].strength)
    for penalty, solution in path[1:]:
        objective = Objective(datafit, penalty)
        method = BlockDescent().method(objective, 1e-6)
        found = method.judged(solution.W, objective.evaluate(solution.W, None))
        assert solution.gap == pytest.approx(found.gap, abs=1e-12 * objective.reference)
        assert solution.residual == pytest.approx(found.residual, rel=1e-6, abs=1e-12)
        assert solution.certificate.reference == objective.reference
        assert solution.intercept == pytest.approx(found.at.intercept, abs=1e-10)


def test_a_start_that_was_changed_is_noticed():
    X, Y = design(80, 40, 5)
    datafit = statistics(X, Y)
    bound, strengths = grid(datafit, L21(1.0), 6)
    path = followed(datafit, bound, strengths, 1e-6)
    start = path[3][1]
    start.W[...] = np.random.default_rng(0).normal(size=start.W.shape)
    found = BlockDescent().solve(datafit, path[4][0], tol=1e-6, start=start)
    assert found.status.ok
    assert found.objective == pytest.approx(
        path[4][1].objective, abs=2e-6 * found.certificate.reference
    )


def test_strengths_in_any_order_have_the_same_answers():
    X, Y = design(80, 40, 5)
    datafit = statistics(X, Y)
    bound, strengths = grid(datafit, SparseGroup(1.0), 8)
    forward = followed(datafit, bound, strengths, 1e-7)
    order = np.random.default_rng(1).permutation(8)
    for k, (_, solution) in zip(
        order, followed(datafit, bound, strengths[order], 1e-7), strict=True
    ):
        size = solution.certificate.reference
        assert solution.objective == pytest.approx(forward[k][1].objective, abs=2e-7 * size)


def test_the_end_of_a_path_where_all_is_zero_says_so():
    X, Y = design(80, 40, 5)
    datafit = statistics(X, Y)
    bound, strengths = grid(datafit, L21(1.0), 4)
    followed(datafit, bound, strengths, 1e-6)
    start = BlockDescent().solve(datafit, bound.with_strength(strengths[1]), tol=1e-6)
    found = BlockDescent().solve(
        datafit, bound.with_strength(1.01 * strengths[0]), tol=1e-6, start=start
    )
    assert not found.W.any()
    assert found.status.name == "ALL_ZERO"
    assert found.null_strength == pytest.approx(strengths[0])


def test_a_coupling_of_tasks_goes_the_general_way():
    X, Y = design(80, 40, 5)
    datafit = statistics(X, Y)
    bound = resolved(datafit, L21(0.1) + toward_mean(0.1))
    first = BlockDescent().solve(datafit, bound, tol=1e-8)
    again = BlockDescent().solve(datafit, bound.scaled(0.9), tol=1e-8, start=first)
    other = AcceleratedGradient().solve(datafit, bound.scaled(0.9), tol=1e-8)
    assert again.objective == pytest.approx(other.objective, rel=1e-7)
