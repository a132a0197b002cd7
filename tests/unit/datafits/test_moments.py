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
    plain = moments._one_design
    monkeypatch.setattr(moments, "_one_design", lambda *args: asked.append(1) or plain(*args))
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
