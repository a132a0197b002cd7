"""Roots of mean squares on data: every law, intercepts of every kind, statistics and rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from polytask.datafits import (
    MomentSquares,
    PiecewiseLinearSamples,
    Samples,
    ScalarBlock,
    SquareRootDatafit,
    on_rows,
)
from polytask.datafits.square_root import best_intercepts
from polytask.exceptions import IncompatibleError
from polytask.losses import Quantile, Squared, SquareRoot
from polytask.testing import check_datafit
from polytask.testing._problems import (
    N_FEATURES,
    N_TASKS,
    intercept_modes,
    mixed_samples,
    shared_samples,
    shared_statistics,
    square_root_problems,
    stacked_samples,
    stacked_statistics,
)

MODES = intercept_modes()
SHAPE = (N_FEATURES, N_TASKS)


def on_labels(make, mode, seed=0):
    samples = make(SquareRoot(), MODES[mode], seed)
    return on_rows(samples.blocks, samples.intercepts, *SHAPE)


def on_moments(found):
    return SquareRootDatafit(MomentSquares(found.statistics), None, found.intercepts)


@pytest.mark.parametrize("mode", MODES)
def test_laws(mode):
    for make in (stacked_samples, shared_samples):
        check_datafit(on_labels(make, mode), random_state=1)
    check_datafit(on_moments(stacked_statistics(MODES[mode], 1)))
    for missing in (True, False):
        check_datafit(on_moments(shared_statistics(MODES[mode], 1, missing=missing)))


def test_laws_beside_another_loss():
    check_datafit(square_root_problems(3)["square root beside logistic"])


@pytest.mark.parametrize("mode", MODES)
def test_statistics_and_rows_are_one(mode):
    rows, moments = (
        on_labels(stacked_samples, mode),
        on_moments(stacked_statistics(MODES[mode], 0)),
    )
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(2, *SHAPE))
    one, other = rows.evaluate(W), moments.evaluate(W)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    for a, b in (
        (one.gradient, other.gradient),
        (one.intercept, other.intercept),
        (one.hessian(V), other.hessian(V)),
        (rows.noise(W, one.intercept), moments.noise(W, one.intercept)),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert one.conjugate(0.7) == pytest.approx(other.conjugate(0.7), rel=1e-9)


def test_the_value_is_the_root_of_the_weighted_mean_square():
    datafit = on_labels(stacked_samples, "free")
    (block,) = datafit.squares.blocks
    W = np.random.default_rng(1).normal(size=SHAPE)
    b = datafit.evaluate(W).intercept
    left = block.y - block.design.forward(W) - block.design.spread(b)
    total = block.design.collect(block.weight)
    roots = np.sqrt(total * block.design.collect(block.weight * left**2))
    assert datafit.value_at(W, b) == pytest.approx(roots.sum(), rel=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_noise_levels_near_those_of_W_give_bounds_from_below(mode):
    datafit, rng = on_labels(shared_samples, mode), np.random.default_rng(2)
    W = rng.normal(size=SHAPE)
    own = datafit.evaluate(W)
    for size in (0.0, 0.1, 1.0):
        sigma = datafit.sigma_at(W) * np.exp(size * rng.normal(size=N_TASKS))
        at = datafit.evaluate_dual(W, sigma)
        assert at.value == pytest.approx(own.value, rel=1e-12)
        for V in (W, 0.0 * W, rng.normal(size=SHAPE)):
            below = float(np.sum(at.gradient * V)) - at.conjugate(1.0)
            assert datafit.evaluate(V).value >= below - 1e-10
    exact = datafit.evaluate_dual(W, datafit.sigma_at(W))
    np.testing.assert_allclose(exact.gradient, own.gradient, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_the_best_intercepts_however_far_apart_the_tasks_are(mode, spread):
    rng = np.random.default_rng(4)
    mean, variance = 10.0 * rng.normal(size=4), spread**2 * rng.uniform(0.5, 2.0, 4)
    weight = np.array([0.3, 0.0, 1.0, 0.8])
    intercepts = MODES[mode]
    b = best_intercepts(mean, variance, weight, intercepts)

    def value(b):
        return float(weight @ np.sqrt(variance + (mean - b) ** 2)) + intercepts.penalty(b)

    np.testing.assert_allclose(intercepts.project(b), b, rtol=1e-12)
    for start in (b, np.zeros(4), mean):
        found = minimize(lambda c: value(intercepts.project(c)), start, method="Nelder-Mead")
        assert value(b) <= found.fun + 1e-10


def test_a_task_that_is_fitted_exactly_costs_nothing_and_pulls_nothing():
    samples = stacked_samples(SquareRoot(), MODES["free"], 0)
    (block,) = samples.blocks
    truth = np.random.default_rng(3).normal(size=SHAPE)
    exact = replace(block, y=block.design.forward(truth) + 1.0)
    datafit = on_rows((exact,), samples.intercepts, *SHAPE)
    at = datafit.evaluate(truth)
    assert at.value <= 1e-8 * datafit.magnitude
    assert np.isfinite(at.gradient).all()
    alike = replace(block, y=np.full(len(block.y), 0.1))
    at = on_rows((alike,), samples.intercepts, *SHAPE).origin
    assert at.value == 0.0
    assert not at.gradient.any()


def test_what_kind_of_data_term_blocks_make():
    mixed = mixed_samples(0)
    first, second = mixed.blocks
    assert isinstance(first, ScalarBlock)
    kinds = {
        Squared(): Samples,
        Quantile(): PiecewiseLinearSamples,
        SquareRoot(): SquareRootDatafit,
    }
    for loss, kind in kinds.items():
        made = on_rows((replace(first, loss=loss), second), mixed.intercepts, *SHAPE)
        assert isinstance(made, kind)
    blocks = replace(first, loss=SquareRoot()), replace(second, loss=Quantile())
    with pytest.raises(IncompatibleError, match="no solver supports both"):
        on_rows(blocks, mixed.intercepts, *SHAPE)
