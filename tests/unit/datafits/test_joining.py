"""Moments of sets of rows: joined, in other units, and of few features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from polytask.datafits import (
    Counted,
    Features,
    Samples,
    ScalarBlock,
    Shared,
    Stacked,
    TiedIntercepts,
    Units,
    all_but_one,
    collect_shared,
    collect_stacked,
    in_units,
    joined,
    narrowed,
    spread_out,
)
from polytask.losses import Squared

FIELDS = ("second", "cross", "spread", "x_mean", "y_mean")


def assert_same(one, two, rtol=1e-10):
    for name in FIELDS:
        a, b = np.broadcast_arrays(getattr(one, name), getattr(two, name))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(), err_msg=name)


def shared_data(gaps):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 4)) + 3.0, rng.normal(size=(60, 3)) - 7.0
    rows = rng.uniform(0.5, 2.0, 60)
    weight = spread_out(rows, 3)
    if gaps:
        weight = weight * (rng.random((60, 3)) < 0.6)
        weight[:20, 1] = 0.0
    return X, Y, weight


def counted(X, Y, weight, rows=None):
    found = collect_shared(Shared(Features(X), np.arange(3)), Y, weight, np.ones(3), rows)
    own = weight if rows is None else weight[rows]
    return Counted(found, own.sum(axis=0))


@pytest.mark.parametrize("gaps", [False, True])
def test_joined_moments_are_those_of_all_rows(gaps):
    X, Y, weight = shared_data(gaps)
    # In the first part the second column has no label.
    parts = [counted(X, Y, weight, np.arange(a, b)) for a, b in ((0, 20), (20, 30), (30, 60))]
    whole, others = all_but_one(parts)
    assert_same(whole.statistics, counted(X, Y, weight).statistics)
    np.testing.assert_allclose(whole.counts, weight.sum(axis=0))
    assert len(whole.statistics.second) == (3 if gaps else 1)
    for rest, rows in zip(
        others,
        (np.arange(20, 60), np.r_[0:20, 30:60], np.arange(30)),
        strict=True,
    ):
        assert_same(rest.statistics, counted(X, Y, weight, rows).statistics)


def test_joining_loses_no_digits_where_sets_are_far_apart():
    rng = np.random.default_rng(1)
    X, Y, weight = rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), spread_out(np.ones(40), 3)
    X[:20] += 1e7
    parts = [counted(X, Y, weight, rows) for rows in (np.arange(20), np.arange(20, 40))]
    whole = joined(*parts).statistics
    wide = X.astype(np.longdouble)
    away = wide - wide.mean(axis=0)
    np.testing.assert_allclose(whole.second[0], (away.T @ away / 40).astype(float), rtol=1e-12)


def test_two_sets_leave_each_the_other():
    X, Y, weight = shared_data(False)
    parts = [counted(X, Y, weight, rows) for rows in (np.arange(25), np.arange(25, 60))]
    _, others = all_but_one(parts)
    assert others[0] is parts[1]
    assert others[1] is parts[0]


@pytest.mark.parametrize("form", ["shared", "gaps", "stacked"])
def test_moments_in_other_units(form):
    X, Y, weight = shared_data(form == "gaps")
    rng = np.random.default_rng(2)
    units = Units(X.mean(axis=0), rng.uniform(1, 3, 4), rng.normal(size=3), rng.uniform(1, 3, 3))
    Z, V = (X - units.x_zero) / units.x_one, (Y - units.y_zero) / units.y_one
    scale = np.array([1.0, 2.0, 0.5])
    if form != "stacked":
        found = in_units(counted(X, Y, weight).statistics, units, scale)
        assert_same(found, counted(Z, V, weight).statistics)
        assert np.array_equal(found.scale, scale)
        return
    offsets = np.array([0, 20, 21, 60])
    zero, one = (np.repeat(u, np.diff(offsets)) for u in (units.y_zero, units.y_one))
    rows = weight[:, 0]
    y = Y[:, 0]
    plain = collect_stacked(Stacked(Features(X), offsets, np.arange(3)), y, rows, scale)
    scaled = collect_stacked(
        Stacked(Features(Z), offsets, np.arange(3)), (y - zero) / one, rows, scale
    )
    assert_same(in_units(plain, units, scale), scaled)


def test_a_constant_feature_stays_constant_without_its_mean():
    rng = np.random.default_rng(3)
    X = np.column_stack([np.full(30, 0.1), rng.normal(size=30)])
    offsets = np.array([0, 7, 30])
    design = Stacked(Features(X), offsets, np.arange(2))
    found = collect_stacked(design, rng.normal(size=30), np.ones(30), np.ones(2))
    ones, zeros = np.ones(2), np.zeros(2)
    away = in_units(found, Units(np.array([0.1, 0.0]), ones, zeros, ones), ones)
    assert not away.second[:, 0].any()
    assert not away.cross[0].any()
    assert not away.x_mean[0].any()
    assert np.all(away.second[:, 1, 1] > 0.1)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("form", ["shared", "stacked"])
def test_few_features_have_the_gradient_that_all_have(form, sparse):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(30, 12)) * (rng.random((30, 12)) < 0.5)
    offset = rng.normal(size=12) if sparse else None
    features = Features(sp.csr_array(X) if sparse else X, offset)
    intercepts = TiedIntercepts(np.arange(3))
    if form == "shared":
        y, weight = rng.normal(size=(30, 3)), rng.uniform(0.1, 1.0, (30, 3))
        design = Shared(features, np.arange(3))
    else:
        y, weight = rng.normal(size=30), rng.uniform(0.1, 1.0, 30)
        design = Stacked(features, np.array([0, 10, 12, 30]), np.arange(3))
    whole = Samples((ScalarBlock(design, Squared(), y, weight),), intercepts, 12, 3)
    used = np.array([2, 3, 7])
    W = np.zeros((12, 3))
    W[used] = rng.normal(size=(3, 3))
    few, all_ = narrowed(whole, used).evaluate(W[used]), whole.evaluate(W)
    assert few.value == pytest.approx(all_.value)
    np.testing.assert_allclose(few.gradient, all_.gradient[used], atol=1e-12)
    np.testing.assert_allclose(few.intercept, all_.intercept, atol=1e-12)
