"""Classes and counts of several groupings: mode, evidence and gradient, and what is recovered."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_allclose

from polytask.bayes import Diagonal, Full, NoVariation, Scalar
from polytask.bayes.crossed import CrossedRows, effect_columns
from polytask.bayes.crossed_laplace import (
    CrossedEngine,
    GroupedLabels,
    LaplaceSearch,
    mean_precision,
)
from polytask.bayes.crossed_prior import ByGrouping
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace import LaplaceMarginal, Problem
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.prior import Model
from polytask.losses import Gamma, Logistic, Poisson

LOSSES = {
    "classes": LabelLosses((LabelLoss(Logistic()),)),
    "counts": LabelLosses((LabelLoss(Poisson(), 0.3, 1.7),)),
    "amounts": LabelLosses((LabelLoss(Gamma(), 0.3, 0.6),)),
}
FORMS = {"crossed": (9, 5), "nested": (12, 4), "three": (5, 9, 4)}


def labels(form, kind, q=2, n=160, seed=0, spread=0.7):
    """Return labels of rows of groupings, with the design of all effects and the mean."""
    rng = np.random.default_rng(seed)
    levels = FORMS[form] if isinstance(form, str) else form
    Z = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    codes = np.column_stack([rng.integers(0, size, n) for size in levels])
    if form == "nested":
        codes[:, 1] = codes[:, 0] // 3
    order = np.argsort(codes[:, 0], kind="stable")
    Z, codes, varying = Z[order], codes[order], np.arange(q)
    D = effect_columns(Z[:, varying], codes, levels).toarray()
    eta = Z @ [0.2, 0.6, -0.4] + D @ (spread * rng.standard_normal(D.shape[1]))
    if kind == "classes":
        y = (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    else:
        y = rng.poisson(np.exp(eta)) if kind == "counts" else rng.gamma(2.0, np.exp(eta) / 2.0)
    offsets = np.searchsorted(codes[:, 0], np.arange(levels[0] + 1))
    weight = rng.integers(1, 3, n).astype(float)
    labelled = Labelled(Z, y.astype(float), weight, offsets, losses=LOSSES[kind])
    return GroupedLabels(labelled, CrossedRows(Z, codes, levels, varying)), np.hstack([D, Z])


def marginal_of(given, structure, gaussian=True):
    form = ByGrouping((structure,) * len(given.rows.levels))
    model = Model(form, tuple(given.rows.varying.tolist()), gaussian_mean=gaussian)
    return LaplaceMarginal(Problem(given.labelled), model, CrossedEngine(given))


def point_of(marginal, seed=1):
    params = np.random.default_rng(seed).uniform(0.3, 0.9, marginal.size)
    more = len(marginal.bounds()[0]) - marginal.size
    return np.concatenate([params, np.full(more, 0.2)])


def dense_laplace(given, design, covariances, precision, losses):
    """Return the evidence and the mode of all effects and the mean, from all rows at once."""
    levels = given.rows.levels
    blocks = [
        np.kron(np.eye(n), np.linalg.inv(C)) for n, C in zip(levels, covariances, strict=True)
    ]
    P = scipy.linalg.block_diag(*blocks, np.diag(precision))
    labelled = given.labelled

    def value(w):
        return losses.value(labelled, design @ w) + 0.5 * w @ P @ w

    def slope(w):
        return P @ w - design.T @ losses.residuals(labelled, design @ w)

    def hessian(w):
        return P + (design.T * losses.curvatures(labelled, design @ w)) @ design

    w = np.zeros(len(P))
    for _ in range(100):
        step = np.linalg.solve(hessian(w), slope(w))
        size = 1.0
        while value(w - size * step) > value(w) and size > 1e-8:
            size *= 0.5
        w = w - size * step
        if np.abs(step).max() < 1e-12:
            break
    logs = np.linalg.slogdet(hessian(w))[1] - np.linalg.slogdet(P)[1]
    return -value(w) - 0.5 * logs, w


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("form", FORMS)
def test_mode_and_evidence_are_those_of_all_rows_at_once(form, kind):
    given, design = labels(form, kind)
    marginal = marginal_of(given, Full())
    params = point_of(marginal)
    found = marginal.evaluate(params).detail
    factor = marginal.structure.factor(params[: marginal.size], marginal.q)
    losses, mean = marginal.losses(params), marginal.mean_variance(params)
    G = len(given.rows.levels)
    covariances = [own @ own.T for own in np.split(factor, G)]
    value, mode = dense_laplace(given, design, covariances, mean_precision(3, mean), losses)
    assert found.converged
    assert_allclose(found.value, value, rtol=0, atol=1e-6)
    here = marginal.engine.mode(factor, mean, losses)
    assert_allclose(np.concatenate([here.effects, here.here.beta]), mode, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("structure", [NoVariation(), Diagonal(), Full()])
def test_gradient_is_that_of_the_value(structure, form, kind):
    q = 1 if isinstance(structure, NoVariation) else 2
    given, _ = labels(form, kind, q=q)
    marginal = marginal_of(given, structure)
    params = point_of(marginal)
    found = marginal.evaluate(params).gradient
    steps = 1e-4 * np.eye(len(params))
    slopes = [
        (marginal.evaluate(params + h).value - marginal.evaluate(params - h).value) / 2e-4
        for h in steps
    ]
    assert_allclose(found, slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("gaussian", [True, False])
def test_one_grouping_is_the_prior_of_tasks(kind, gaussian):
    given, _ = labels((15,), kind, n=300)
    crossed = marginal_of(given, Full(), gaussian)
    model = Model(Full(), (0, 1), gaussian_mean=gaussian)
    alone = LaplaceMarginal(Problem(given.labelled), model)
    params = point_of(crossed)
    one, other = crossed.evaluate(params), alone.evaluate(params)
    assert_allclose(one.value, other.value, rtol=1e-9)
    assert_allclose(one.gradient, other.gradient, rtol=1e-5, atol=1e-6)
    assert_allclose(one.weights, other.weights, rtol=1e-6)
    assert_allclose(crossed.expected(one), alone.expected(other), rtol=1e-5)
    assert_allclose(one.detail.point.mean, other.detail.point.mean, atol=1e-7)


def test_nested_levels_are_those_of_one_grouping_where_the_outer_one_does_not_vary():
    given, _ = labels("nested", "classes", q=1)
    codes, levels = given.rows.codes[:, [0]], given.rows.levels[:1]
    alone = GroupedLabels(given.labelled, CrossedRows(given.rows.Z, codes, levels, np.arange(1)))
    both = marginal_of(given, NoVariation(), False).evaluate(np.array([0.7, 0.0]))
    one = marginal_of(alone, NoVariation(), False).evaluate(np.array([0.7]))
    assert_allclose(both.value, one.value, rtol=1e-7)
    assert_allclose(both.gradient[0], one.gradient[0], rtol=1e-5)
    assert_allclose(both.detail.point.alpha[:12], one.detail.point.alpha, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_variances_are_recovered(kind):
    given, _ = labels((60, 40), kind, q=1, n=4000, spread=0.8)
    plain = ByGrouping((NoVariation(),) * 2)
    found = LaplaceSearch(False, 1e-6, 200).learn([given], plain).each[0]
    assert found.converged
    # Three standard errors of a standard deviation that so many levels show.
    for own, n in zip(found.mode.equations.covariances, (60, 40), strict=True):
        assert np.sqrt(own[0, 0]) == pytest.approx(0.8, abs=3 * 0.8 / np.sqrt(2 * n))


def test_evidence_picks_intercepts_where_slopes_do_not_vary():
    given, _ = labels((30, 20), "counts", q=1, n=1500, spread=0.6)
    rows = CrossedRows(given.rows.Z, given.rows.codes, (30, 20), np.arange(2))
    wide = GroupedLabels(given.labelled, rows)
    chosen, tried = LaplaceSearch(False, 1e-6, 200).choose([wide])
    assert chosen.structure == ByGrouping((NoVariation(), NoVariation()))
    assert {type(one.structure.structures[0]) for one in tried} == {NoVariation, Scalar, Full}
