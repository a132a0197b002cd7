"""Datafits: two ways to the same numbers, hard intercepts, and numbers out of range."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from polytask.datafits import (
    ClassesBlock,
    Features,
    NoIntercepts,
    PulledIntercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    Stacked,
    TiedIntercepts,
    collect_shared,
    collect_stacked,
)
from polytask.datafits import samples as curvature
from polytask.datafits.designs import CubeProducts, GatheredProducts, SegmentProducts
from polytask.exceptions import DataError
from polytask.losses import Logistic, Multinomial, Squared
from polytask.penalties import L21, TraceNorm
from polytask.solvers import AcceleratedGradient
from polytask.testing import _problems

SEEDS = st.integers(0, 2**32 - 1)
MODES = _problems.intercept_modes()


def stacked(loss, X, y, offsets, intercepts, weight=None):
    """Return samples with rows per task, all rows of one weight."""
    tasks = np.arange(len(offsets) - 1)
    weight = np.full(len(y), 1.0 / len(y)) if weight is None else weight
    design = Stacked(Features(X), np.array(offsets), tasks)
    return Samples((ScalarBlock(design, loss, y, weight),), intercepts, X.shape[1], len(tasks))


def assert_same(one, two, rng):
    """Compare values, gradients, intercepts and Hessian products at a random point."""
    W, V = rng.normal(size=(2, *one.shape))
    a, b = one.evaluate(W), two.evaluate(W)
    assert a.value == pytest.approx(b.value, rel=1e-10)
    size = np.abs(a.gradient).max()
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-10 * size)
    np.testing.assert_allclose(a.intercept, b.intercept, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(a.hessian(V), b.hessian(V), atol=1e-10 * size)
    assert a.conjugate(0.6) == pytest.approx(b.conjugate(0.6), rel=1e-9)
    np.testing.assert_allclose(one.feature_scale(), two.feature_scale(), rtol=1e-8)
    scale = np.ones(one.shape[0])
    assert one.lipschitz(scale) == pytest.approx(two.lipschitz(scale), rel=0.02)
    assert one.magnitude == pytest.approx(two.magnitude)


@pytest.mark.parametrize("mode", MODES)
@given(seed=SEEDS)
@settings(max_examples=10)
def test_statistics_are_samples(mode, seed):
    rng = np.random.default_rng(seed)
    seed = seed % 1000
    samples = _problems.stacked_samples(Squared(), MODES[mode], seed)
    assert_same(samples, _problems.stacked_statistics(MODES[mode], seed), rng)
    for missing in (False, True):
        samples = _problems.shared_samples(Squared(), MODES[mode], seed, missing=missing)
        statistics = _problems.shared_statistics(MODES[mode], seed, missing=missing)
        assert len(statistics.statistics.second) == (_problems.N_TASKS if missing else 1)
        assert_same(samples, statistics, rng)


@pytest.mark.parametrize("mode", MODES)
def test_statistics_have_the_solutions_of_samples(mode):
    one = _problems.stacked_samples(Squared(), MODES[mode], 1)
    two = _problems.stacked_statistics(MODES[mode], 1)
    for penalty in (L21(fraction=0.1), TraceNorm(fraction=0.1)):
        exact = penalty.resolved(one.origin.gradient)
        first = AcceleratedGradient().solve(one, exact, tol=1e-12)
        second = AcceleratedGradient().solve(two, exact, tol=1e-12)
        assert first.objective == pytest.approx(second.objective, rel=1e-10)
        np.testing.assert_allclose(first.W, second.W, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_sparse_with_an_offset_is_dense(mode):
    rng = np.random.default_rng(0)
    samples = _problems.shared_samples(Squared(), MODES[mode], 3)
    (block,) = samples.blocks
    features = block.design.features
    X = features.matrix.toarray() - features.offset
    design = Shared(Features(X), block.design.columns)
    dense = Samples(
        (ScalarBlock(design, block.loss, block.y, block.weight),), MODES[mode], *samples.shape
    )
    assert_same(samples, dense, rng)
    stored = Stacked(features, np.array([0, 7, 7, 30]), np.arange(3))
    filled = Stacked(Features(X), stored.offsets, stored.columns)
    W, u = rng.normal(size=(X.shape[1], 3)), rng.uniform(size=30)
    np.testing.assert_allclose(stored.forward(W), filled.forward(W), atol=1e-12)
    np.testing.assert_allclose(stored.adjoint(u), filled.adjoint(u), atol=1e-12)
    np.testing.assert_allclose(stored.squares_adjoint(u), filled.squares_adjoint(u), atol=1e-12)
    y, scale = rng.normal(size=30), np.ones(3)
    kept, full = collect_stacked(stored, y, u, scale), collect_stacked(filled, y, u, scale)
    np.testing.assert_allclose(kept.second, full.second, atol=1e-12)
    np.testing.assert_allclose(kept.cross, full.cross, atol=1e-12)
    assert np.array_equal(kept.scale, [1.0, 0.0, 1.0])


def test_rows_of_a_sparse_matrix_share_its_memory():
    X = sp.csr_array(np.arange(12.0).reshape(4, 3))
    part = Features(X).rows(slice(1, 3))
    assert np.shares_memory(part.matrix.data, X.data)
    np.testing.assert_array_equal(part.matrix.toarray(), X.toarray()[1:3])


@given(SEEDS)
def test_products_of_small_tasks_are_those_of_each(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, size=6)
    counts[rng.integers(6)] += 1
    offsets = np.cumsum([0, *counts])
    X, columns = rng.normal(size=(offsets[-1], 3)), rng.permutation(6)
    design = Stacked(Features(X), offsets, columns)
    each = Stacked(Features(X), offsets, columns)
    vars(each)["_products"] = SegmentProducts(X, offsets)
    assert isinstance(design._products, GatheredProducts | CubeProducts)
    W, u = rng.normal(size=(3, 6)), rng.uniform(size=len(X))
    np.testing.assert_allclose(design.forward(W), each.forward(W), atol=1e-12)
    np.testing.assert_allclose(design.adjoint(u), each.adjoint(u), atol=1e-12)
    np.testing.assert_allclose(design.squares_adjoint(u), each.squares_adjoint(u), atol=1e-12)


@given(SEEDS)
def test_two_classes_are_logistic(seed):
    """Softmax over two columns is the logistic loss of their difference."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(20, 3)), (rng.random(20) < 0.5).astype(float)
    y[:2] = [0, 1]
    w = rng.uniform(0.1, 1.0, size=20)
    block = ClassesBlock(Shared(Features(X), np.arange(2)), Multinomial(), y, w)
    both = Samples((block,), TiedIntercepts(np.arange(2)), 3, 2)
    one = stacked(Logistic(), X, y, [0, 20], TiedIntercepts(np.arange(1)), w)
    W = rng.normal(size=(3, 2))
    a, b = both.evaluate(W), one.evaluate(W[:, 1:] - W[:, :1])
    assert a.value == pytest.approx(b.value, rel=1e-9)
    np.testing.assert_allclose(a.gradient[:, 1:], b.gradient, atol=1e-9)
    np.testing.assert_allclose(a.gradient[:, 0], -a.gradient[:, 1], atol=1e-12)
    assert a.intercept[1] - a.intercept[0] == pytest.approx(b.intercept[0], abs=1e-6)


def slope_in_b(datafit, W):
    """Return the largest gradient in b that its ties leave, by definition."""
    at = datafit.evaluate(W)
    (block,) = datafit.blocks
    eta = block.design.forward(W) + block.design.spread(at.intercept)
    gradient = block.design.collect(block.slope(eta)) + datafit.intercepts.gradient(at.intercept)
    return np.abs(datafit.intercepts.project(gradient)).max()


@pytest.mark.parametrize("mode", ["free", "tied", "pulled"])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0, 1e3])
def test_intercepts_of_rare_classes(mode, size):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 2)), np.zeros(4000)
    y[[5, 1005, 2005, 3005]] = 1.0
    datafit = stacked(Logistic(), X, y, [0, 1000, 2000, 3000, 4000], MODES[mode])
    assert slope_in_b(datafit, size * rng.normal(size=(2, 4))) < 1e-10


@pytest.mark.parametrize("mode", ["free", "tied", "pulled"])
@pytest.mark.parametrize("shift", [30.0, 1e3, 1e6])
def test_intercepts_far_away(mode, shift):
    """Predictions that are all 0 or 1 at the start have no curvature to take a step from."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), np.ones(60)])
    y = (X[:, 0] + rng.logistic(size=60) > 0).astype(float)
    datafit = stacked(Logistic(), X, y, [0, 20, 40, 60], TiedIntercepts(np.arange(3)))
    if mode != "free":
        groups = np.zeros(3, dtype=np.intp)
        other = TiedIntercepts(groups) if mode == "tied" else PulledIntercepts(groups, 0.05)
        datafit = stacked(Logistic(), X, y, [0, 20, 40, 60], other)
    W = np.array([[1.0, -0.5, 2.0], [shift, shift, shift]])
    assert slope_in_b(datafit, W) < 1e-10
    assert datafit.evaluate(W).intercept.mean() == pytest.approx(-shift, abs=20.0)
    one_far = W * [[1.0], [0.0]] + [[0.0] * 3, [0.0, shift, 0.0]]
    assert slope_in_b(datafit, one_far) < 1e-10


def test_intercepts_of_separated_classes():
    X = np.concatenate([-np.ones(10), np.ones(10)])[:, None]
    datafit = stacked(
        Logistic(), X, (X[:, 0] > 0).astype(float), [0, 20], TiedIntercepts(np.arange(1))
    )
    for size in (1.0, 100.0, 1e4):
        at = datafit.evaluate(np.array([[size]]), np.array([3.0]))
        assert slope_in_b(datafit, np.array([[size]])) < 1e-10
        assert at.value <= datafit.value_at(np.array([[size]]), np.zeros(1)) + 1e-12


def test_intercepts_of_classes_far_away():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=90), np.ones(90)])
    y = rng.integers(3, size=90).astype(float)
    for held in (TiedIntercepts(np.arange(3)), PulledIntercepts(np.arange(3), 0.1)):
        block = ClassesBlock(Shared(Features(X), np.arange(3)), Multinomial(), y, np.ones(90) / 90)
        datafit = Samples((block,), held, 2, 3)
        for shift in (10.0, 1e3, 1e5):
            W = np.array([[1.0, -1.0, 0.3], [shift, 0.0, -shift]])
            assert slope_in_b(datafit, W) < 1e-10


def test_free_intercepts_are_log_odds():
    y = np.repeat([1.0, 0.0, 1.0, 0.0], [3, 7, 900, 100])
    datafit = stacked(
        Logistic(), np.zeros((1010, 1)), y, [0, 10, 1010], TiedIntercepts(np.arange(2))
    )
    np.testing.assert_allclose(expit(datafit.origin.intercept), [0.3, 0.9], rtol=1e-12)


def test_a_constant_feature_has_no_scale():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=40), np.full(40, 3.3), np.zeros(40)])
    y, free = rng.normal(size=40), TiedIntercepts(np.arange(2))
    samples = stacked(Squared(), X, y, [0, 20, 40], free)
    (block,) = samples.blocks
    scale = block.design.collect(block.weight)
    statistics = SquaredStatistics(collect_stacked(block.design, y, block.weight, scale), free)
    for datafit in (samples, statistics):
        assert np.array_equal(datafit.feature_scale() > 0, [True, False, False])
    uncentred = stacked(Squared(), X, y, [0, 20, 40], NoIntercepts())
    assert np.array_equal(uncentred.feature_scale() > 0, [True, True, False])


def test_labels_without_any_weight():
    X, Y = np.random.default_rng(0).normal(size=(2, 5, 3))
    none = collect_shared(Shared(Features(X), np.arange(3)), Y, np.zeros((5, 3)), np.ones(3))
    datafit = SquaredStatistics(none, TiedIntercepts(np.arange(3)))
    assert datafit.evaluate(np.ones((3, 3))).value == 0.0


@pytest.mark.parametrize("factor", [1e160, 1e300])
def test_too_large_numbers_are_refused(factor):
    rng = np.random.default_rng(0)
    X, y, free = rng.normal(size=(30, 3)), rng.normal(size=30), TiedIntercepts(np.arange(2))
    for Z, t in ((factor * X, y), (X, factor * y)):
        with pytest.raises(DataError, match="too large"):
            _ = stacked(Squared(), Z, t, [0, 15, 30], free).origin
        design = Stacked(Features(Z), np.array([0, 15, 30]), np.arange(2))
        statistics = collect_stacked(design, t, np.ones(30), np.ones(2))
        with pytest.raises(DataError, match="too large"):
            _ = SquaredStatistics(statistics, free).origin


def test_float32_keeps_its_precision():
    samples = _problems.stacked_samples(Squared(), MODES["free"], 0)
    (block,) = samples.blocks
    X = block.design.features.matrix.astype(np.float32)
    single = stacked(Squared(), X, block.y, block.design.offsets, MODES["free"], block.weight)
    assert single.precision == np.finfo(np.float32).eps > samples.precision
    W = np.random.default_rng(0).normal(size=samples.shape)
    np.testing.assert_allclose(
        single.evaluate(W).gradient, samples.evaluate(W).gradient, atol=1e-4
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [False, True])
def test_products_with_the_hessian_on_moments_and_on_rows(mode, shared, monkeypatch):
    rng = np.random.default_rng(0)
    X, V, n = rng.normal(size=(60, 4)) + 3.0, rng.normal(size=(2, 4, 4)), 60
    if shared:
        y = rng.integers(2, size=(n, 4)).astype(float)
        block = ScalarBlock(
            Shared(Features(X), np.arange(4)), Logistic(), y, rng.uniform(size=(n, 4)) / n
        )
        datafit = Samples((block,), MODES[mode], 4, 4)
    else:
        y = rng.integers(2, size=n).astype(float)
        datafit = stacked(Logistic(), X, y, [0, 9, 10, 40, 60], MODES[mode])
    found = datafit.evaluate(V[0]).hessian(V[1])
    monkeypatch.setattr(curvature, "_FEW_FEATURES", 3)
    wanted = datafit.evaluate(V[0]).hessian(V[1])
    np.testing.assert_allclose(found, wanted, atol=1e-12 * np.abs(wanted).max())
    assert (found != wanted).any()  # by another way
