"""Sufficient statistics: the same numbers as the samples, whatever the shape of the data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.datafits import (
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
    moments,
    spread_out,
)
from polytask.datafits.base import block_preconditioner
from polytask.losses import Squared

SEEDS = st.integers(0, 2**32 - 1)


def separate(seed, shift=0.0, counts=None):
    """Return a design of tasks of unequal size, one of one row, one of none."""
    rng = np.random.default_rng(seed)
    counts = np.array([9, 1, 0, 30, 9, 12]) if counts is None else counts
    offsets = np.concatenate([[0], np.cumsum(counts)])
    X = rng.normal(size=(offsets[-1], 4)) * np.array([1e-8, 1.0, 1e3, 1e8])
    X += shift * X.std(axis=0)
    X[:, 1] *= rng.random(len(X)) < 0.5
    weight = rng.uniform(0.1, 1.0, len(X))
    weight[2] = 0.0
    return X, offsets, rng.normal(size=len(X)) + shift, weight


def direct(X, y, weight):
    """Return the moments of one task in extended precision."""
    share = (weight / weight.sum()).astype(np.longdouble)
    wide = X.astype(np.longdouble)
    mean, level = share @ wide, share @ y
    away = wide - mean
    return (away.T * share) @ away, (away.T * share) @ (y - level), mean


@pytest.mark.parametrize("chunk", [2, 40, 2**18])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_moments_of_separate_tasks(monkeypatch, chunk, dtype, shift):
    monkeypatch.setattr(moments, "_CHUNK", chunk)
    monkeypatch.setattr(moments, "_CHUNK", chunk)
    monkeypatch.setattr(moments, "_FEWEST_ROWS", 1)
    X, offsets, y, weight = separate(0, shift)
    X = X.astype(dtype)
    tasks = len(offsets) - 1
    found = collect_stacked(Stacked(Features(X), offsets, np.arange(tasks)), y, weight, np.ones(6))
    assert np.array_equal(found.scale, [1, 1, 0, 1, 1, 1])
    for t in (0, 1, 3, 4, 5):
        part = slice(offsets[t], offsets[t + 1])
        second, cross, mean = direct(X[part], y[part], weight[part])
        size = np.sqrt(np.diagonal(second).astype(float))
        size = np.maximum(size, 1e-12 * np.abs(mean).astype(float) + 1e-30)
        np.testing.assert_allclose(
            found.second[t] / np.multiply.outer(size, size),
            (second / np.multiply.outer(size, size)).astype(float),
            atol=1e-10,
        )
        np.testing.assert_allclose(
            found.cross[:, t] / size, (cross / size).astype(float), atol=1e-9
        )
        np.testing.assert_allclose(found.x_mean[:, t], mean.astype(float), rtol=1e-13)


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(["none", "free", "pulled"]), st.booleans())
def test_statistics_and_samples_agree(seed, mode, sparse):
    X, offsets, y, weight = separate(seed)
    X /= np.array([1e-8, 1.0, 1e3, 1e8])
    tasks = np.arange(6)
    intercepts = {
        "none": NoIntercepts(),
        "free": TiedIntercepts(tasks),
        "pulled": PulledIntercepts(0 * tasks, 0.1),
    }[mode]
    design = Stacked(Features(sp.csr_array(X) if sparse else X), offsets, tasks)
    scale = design.collect(weight)
    one = SquaredStatistics(collect_stacked(design, y, weight, scale), intercepts)
    other = Samples((ScalarBlock(design, Squared(), y, weight),), intercepts, 4, 6)
    W = np.random.default_rng(seed).normal(size=(4, 6))
    a, b = one.evaluate(W), other.evaluate(W)
    assert a.value == pytest.approx(b.value, rel=1e-10)
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-10 * np.abs(b.gradient).max())
    np.testing.assert_allclose(a.intercept[scale > 0], b.intercept[scale > 0], atol=1e-10)


def test_sparse_rows_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) + 1e6
    y, weight = rng.normal(size=50), np.ones(50)
    design = Shared(Features(sp.csr_array(X)), np.arange(1))
    found = collect_shared(design, y[:, None], weight[:, None], np.ones(1))
    second, cross, _ = direct(X, y, weight)
    np.testing.assert_allclose(found.second[0], second.astype(float), rtol=1e-8)
    np.testing.assert_allclose(found.cross[:, 0], cross.astype(float), atol=1e-9)


def test_tasks_with_one_pattern_of_labels_share_the_work(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 6))
    weight = np.ones((30, 6))
    weight[:10, :3] = 0.0
    weight[:, 5] = 0.0
    asked = []
    plain = moments.weighted_sums
    monkeypatch.setattr(moments, "weighted_sums", lambda *args: asked.append(1) or plain(*args))
    design = Shared(Features(X), np.arange(6))
    found = collect_shared(design, Y, weight, np.ones(6))
    assert len(asked) == 2
    for k in range(5):
        seen = weight[:, k] > 0
        second, cross, _ = direct(X[seen], Y[seen, k], weight[seen, k])
        np.testing.assert_allclose(found.second[k], second.astype(float), atol=1e-13)
        np.testing.assert_allclose(found.cross[:, k], cross.astype(float), atol=1e-13)
    assert found.scale[5] == 0.0


@pytest.mark.parametrize("shift", [0.0, 1e-12, 1e-3, 10.0])
def test_preconditioners_invert(shift):
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(5, 6, 4))
    matrices, weight = np.swapaxes(roots, 1, 2) @ roots, rng.uniform(0.5, 2.0, 5)
    V = rng.normal(size=(4, 5))
    solved = block_preconditioner(matrices, weight)(shift)(V)
    for k in range(5):
        wanted = np.linalg.solve(weight[k] * matrices[k] + shift * np.eye(4), V[:, k])
        np.testing.assert_allclose(solved[:, k], wanted, rtol=1e-8)


def shared_moments(X, Y, weight=None, rows=None):
    weight = spread_out(np.ones(len(X)), Y.shape[1]) if weight is None else weight
    design = Shared(Features(X), np.arange(Y.shape[1]))
    return collect_shared(design, Y, weight, np.ones(Y.shape[1]), rows)


def assert_direct(found, X, Y, share, rtol=1e-10):
    for k in range(Y.shape[1]):
        second, cross, mean = direct(X, Y[:, k], share)
        size = np.sqrt(np.diagonal(second).astype(float))
        near = np.multiply.outer(size, size)
        np.testing.assert_allclose(
            found.second[0] / near, (second / near).astype(float), atol=rtol
        )
        np.testing.assert_allclose(
            found.cross[:, k] / size, (cross / size).astype(float), atol=10 * rtol
        )
        np.testing.assert_allclose(found.x_mean[:, k], mean.astype(float), rtol=1e-12, atol=1e-14)


ORDERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "float32": lambda X: X.astype(np.float32),
}


@pytest.mark.parametrize("chunk", [40, 2**17])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_shared_rows_in_every_order(monkeypatch, chunk, order, weighted):
    monkeypatch.setattr(moments, "_CHUNK", chunk)
    monkeypatch.setattr(moments, "_FEWEST_ROWS", 1)
    rng = np.random.default_rng(5)
    X, Y = ORDERS[order](rng.normal(size=(70, 4)) + 1.0), rng.normal(size=(70, 3)) + 2.0
    before, rows = X.copy(), np.array([0, 3, 4, 9, 30, 31, 60, 69])
    own = rng.uniform(0.1, 1.0, 70) if weighted else np.ones(70)
    weight = spread_out(own, 3)
    assert_direct(shared_moments(X, Y, weight), X, Y, own)
    assert_direct(shared_moments(X, Y, weight, rows), X[rows], Y[rows], own[rows])
    assert np.array_equal(X, before)


@pytest.mark.parametrize("where", ["everywhere", "after the first rows"])
def test_features_and_targets_far_from_zero_keep_their_digits(where):
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 2))
    first = 0 if where == "everywhere" else 300
    X[first:] += np.array([0.0, 1e4, 1e8])
    Y[first:] += np.array([0.0, 1e8])
    # The first rows, which may be near zero, have no weight to speak of then.
    own = np.where(np.arange(2000) < first, 1e-12, 1.0)
    found = shared_moments(X, Y, spread_out(own, 2))
    share = own / own.sum()
    for k in range(2):
        second, cross, _ = direct(X, Y[:, k], share)
        np.testing.assert_allclose(found.second[0], second.astype(float), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(found.cross[:, k], cross.astype(float), rtol=1e-6, atol=1e-9)


def test_constants_do_not_vary(monkeypatch):
    rng = np.random.default_rng(7)
    X = np.column_stack([np.full(500, 0.1), np.zeros(500), rng.normal(size=500)])
    Y = np.column_stack([np.full(500, 0.3), rng.normal(size=500)])
    passes = []
    plain = moments._dense_sums
    monkeypatch.setattr(moments, "_dense_sums", lambda *args: passes.append(1) or plain(*args))
    found = shared_moments(X, Y)
    assert len(passes) == 1
    assert not found.second[0][:2].any()
    assert found.spread[0] == 0.0
    assert found.x_mean[0, 0] == pytest.approx(0.1, rel=1e-15)


def test_one_pass_does_for_rows_near_zero_and_two_where_they_drift(monkeypatch):
    rng = np.random.default_rng(8)
    X, Y = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 1))
    passes = []
    plain = moments._dense_sums
    monkeypatch.setattr(moments, "_dense_sums", lambda *args: passes.append(1) or plain(*args))
    shared_moments(X, Y)
    assert len(passes) == 1
    X[100:, 1] += 1e6
    weight = spread_out(np.where(np.arange(1000) < 100, 1e-9, 1.0), 1)
    shared_moments(X, Y, weight)
    assert len(passes) == 3


def test_values_that_are_not_finite_show_in_the_moments():
    X, Y = np.ones((5, 2)), np.ones((5, 1))
    X[3, 1] = np.inf
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(shared_moments(X, Y).second[0, 1, 1])


def lacking(seed, n=300, tasks=6, share=0.1):
    """Return rows of which every task lacks a few, by itself."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)) * np.array([1.0, 1e-3, 1e4, 1.0]) + np.array([0.0, 1.0, 1e6, 3.0])
    Y, own = rng.normal(size=(n, tasks)) + 50.0, rng.uniform(0.5, 2.0, n)
    weight = own[:, None] * (rng.random((n, tasks)) > share)
    weight[7] = 0.0
    return X, np.where(weight > 0, Y, 0.0), weight


def count_rows(monkeypatch):
    """Note how many rows are looked at."""
    rows = []
    plain = moments.weighted_sums

    def noted(features, Y, share, chosen=None):
        rows.append(len(share))
        return plain(features, Y, share, chosen)

    monkeypatch.setattr(moments, "weighted_sums", noted)
    return rows


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_tasks_that_lack_few_rows_cost_those_only(monkeypatch, sparse, some):
    X, Y, weight = lacking(0)
    looked = count_rows(monkeypatch)
    rows = np.flatnonzero(np.arange(300) % 3) if some else None
    design = sp.csr_array(X) if sparse else X
    found = shared_moments(design, Y, weight, rows)
    chosen = np.arange(300) if rows is None else rows
    missing = np.count_nonzero(weight[chosen] == 0)
    # Of the row without any label nothing can be missing.
    assert sum(looked) == len(chosen) + missing - 6 * (7 in chosen)
    for k in range(6):
        seen = chosen[weight[chosen, k] > 0]
        second, cross, mean = direct(X[seen], Y[seen, k], weight[seen, k])
        size = np.sqrt(np.diagonal(second).astype(float))
        near = np.multiply.outer(size, size)
        np.testing.assert_allclose(
            found.second[k] / near, (second / near).astype(float), atol=1e-11
        )
        np.testing.assert_allclose(
            found.cross[:, k] / size, (cross / size).astype(float), atol=1e-10
        )
        np.testing.assert_allclose(found.x_mean[:, k], mean.astype(float), rtol=1e-13)
        wanted = np.average(Y[seen, k], weights=weight[seen, k])
        assert found.y_mean[k] == pytest.approx(wanted, rel=1e-13)
        spread = np.average((Y[seen, k] - wanted) ** 2, weights=weight[seen, k])
        assert found.spread[k] == pytest.approx(spread, rel=1e-11)


def test_what_a_difference_would_lose_is_summed(monkeypatch):
    X, Y, weight = lacking(1)
    # The rows that the first task lacks are the only ones in which a feature varies.
    X[:, 1] = np.where(weight[:, 0] > 0, 1.0, X[:, 1] * 1e3)
    looked = count_rows(monkeypatch)
    found = shared_moments(X, Y, weight)
    seen = weight[:, 0] > 0
    assert np.count_nonzero(seen) in looked
    assert not found.second[0][1].any()
    second, _, _ = direct(X[seen], Y[seen, 0], weight[seen, 0])
    np.testing.assert_allclose(found.second[0][2, 2], float(second[2, 2]), rtol=1e-11)


def test_weights_of_labels_that_differ_in_a_row_are_summed_each(monkeypatch):
    X, Y, weight = lacking(2)
    weight = weight * np.random.default_rng(3).uniform(0.5, 1.0, weight.shape)
    looked = count_rows(monkeypatch)
    found = shared_moments(X, Y, weight)
    assert sum(looked) == np.count_nonzero(weight)
    seen = weight[:, 2] > 0
    second, _, _ = direct(X[seen], Y[seen, 2], weight[seen, 2])
    np.testing.assert_allclose(np.diagonal(found.second[2]), np.diagonal(second).astype(float))
