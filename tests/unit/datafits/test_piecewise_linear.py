"""Losses with kinks on data: exact intercepts of every kind, subgradients and conjugates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polytask.datafits import PiecewiseLinearSamples, Samples, TiedIntercepts, on_rows
from polytask.datafits.piecewise_linear_intercepts import balanced, zero_sum_groups
from polytask.losses import Quantile, Squared
from polytask.penalties import L1
from polytask.solvers import Splitting
from polytask.testing._problems import (
    N_FEATURES,
    N_TASKS,
    intercept_modes,
    piecewise_linear_problems,
    shared_samples,
    stacked_samples,
)

MODES = intercept_modes()
MAKERS = [stacked_samples, shared_samples]


def piecewise(make, mode, seed=0, q=0.7):
    samples = make(Quantile(q), MODES[mode], seed)
    return on_rows(samples.blocks, samples.intercepts, N_FEATURES, N_TASKS)


def points(seed):
    W = np.random.default_rng(seed).normal(size=(N_FEATURES, N_TASKS))
    return [W, 0.0 * W, 5.0 * W]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("mode", MODES)
def test_no_other_intercepts_are_better(make, mode):
    datafit, rng = piecewise(make, mode), np.random.default_rng(1)
    for W in points(2):
        at = datafit.evaluate(W)
        assert datafit.value_at(W, at.intercept) == pytest.approx(at.value, rel=1e-12)
        np.testing.assert_array_equal(datafit.intercepts.project(at.intercept), at.intercept)
        for size in (1e-5, 1e-3, 1e-1, 1.0):
            for _ in range(25):
                b = at.intercept + size * rng.normal(size=N_TASKS)
                other = datafit.value_at(W, datafit.intercepts.project(b))
                assert other >= at.value - 1e-12


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_a_subgradient_with_its_conjugate(make, mode):
    datafit, rng = piecewise(make, mode), np.random.default_rng(3)
    for W in points(4):
        at = datafit.evaluate(W)
        slope = float(np.sum(at.gradient * W))
        assert at.conjugate(1.0) == pytest.approx(slope - at.value, abs=1e-9)
        for size in (1e-3, 0.1, 1.0, 10.0):
            V = W + size * rng.normal(size=W.shape)
            below = at.value + float(np.sum(at.gradient * (V - W)))
            value = datafit.evaluate(V).value
            assert value >= below - 1e-10
            # The conjugate bounds every value from below: f(V) >= <c g, V> - f*(c g).
            inner = 0.5 * float(np.sum(at.gradient * V)) - at.conjugate(0.5)
            assert value >= inner - 1e-10


@pytest.mark.parametrize("mode", ["free", "tied", "pulled"])
def test_derivatives_are_balanced_within_their_bounds(mode):
    datafit = piecewise(shared_samples, mode)
    rows = datafit.rows
    u = np.random.default_rng(5).uniform(rows.lower, rows.upper)
    owner = zero_sum_groups(rows, datafit.intercepts)
    found = balanced(rows, u, owner)
    assert np.all((found >= rows.lower) & (found <= rows.upper))
    np.testing.assert_allclose(np.bincount(owner, rows.weight * found), 0.0, atol=1e-13)


@pytest.mark.parametrize("slopes", [(-3.0, 40.0), (-1e-3, 2e-3), (-1e4, 1.0)])
def test_derivatives_of_losses_with_slopes_of_any_size_are_balanced(slopes):
    rows = piecewise(shared_samples, "free").rows
    steep = replace(
        rows, lower=np.full_like(rows.y, slopes[0]), upper=np.full_like(rows.y, slopes[1])
    )
    owner = steep.column
    u = np.full_like(rows.y, slopes[1])
    found = balanced(steep, u, owner)
    assert np.all((found >= steep.lower) & (found <= steep.upper))
    scale = np.bincount(owner, rows.weight).max() * max(-slopes[0], slopes[1])
    np.testing.assert_allclose(np.bincount(owner, rows.weight * found) / scale, 0.0, atol=1e-14)


def test_ties_share_what_is_left_and_the_middle_of_a_flat_part_is_taken():
    samples = stacked_samples(Quantile(0.5), TiedIntercepts(np.arange(N_TASKS)), 0)
    block = samples.blocks[0]
    y = np.zeros(60)
    y[:4] = [0.0, 1.0, 3.0, 10.0]
    weight = np.zeros(60)
    weight[:4] = 0.25
    datafit = on_rows(
        (type(block)(block.design, block.loss, y, weight),), samples.intercepts, 6, 4
    )
    assert datafit.origin.intercept[0] == 2.0
    y[:4] = 1.0
    tied = on_rows((type(block)(block.design, block.loss, y, weight),), samples.intercepts, 6, 4)
    assert tied.origin.intercept[0] == 1.0
    np.testing.assert_allclose(tied.first_derivatives[:4], 0.0, atol=1e-15)


def test_smooth_losses_beside_keep_what_they_are():
    datafit = piecewise_linear_problems(0)["quantile beside logistic"]
    assert isinstance(datafit, PiecewiseLinearSamples)
    assert isinstance(datafit.rest, Samples)
    W = points(6)[0]
    rest = datafit.rest.evaluate(W)
    at = datafit.evaluate(W)
    own = ~datafit.owned
    np.testing.assert_allclose(at.gradient[:, own], rest.gradient[:, own], rtol=1e-12)
    np.testing.assert_allclose(at.intercept[own], rest.intercept[own], rtol=1e-12)


def test_without_kinks_it_is_the_ordinary_data_term():
    samples = stacked_samples(Squared(), MODES["free"], 0)
    made = on_rows(samples.blocks, samples.intercepts, N_FEATURES, N_TASKS)
    assert isinstance(made, Samples)
    assert made.is_smooth


@pytest.mark.slow
def test_a_start_without_dual_variables_is_used():
    datafit = piecewise(stacked_samples, "free")
    found = Splitting().solve(datafit, L1(0.01), tol=1e-8)
    bare = type(found)(**{**vars(found), "memory": ()})
    again = Splitting().solve(datafit, L1(0.01), tol=1e-8, start=bare)
    assert again.objective == pytest.approx(found.objective, rel=1e-7)
    assert again.status.ok
