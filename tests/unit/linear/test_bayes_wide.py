"""More features than rows: the space of the rows says the same as the features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit

import polytask.linear.bayes_settings as structures
from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    adapt,
    load,
    save,
)
from polytask.bayes import NoVariation, Prior, Scalar
from polytask.bayes.blocks import RowSpace
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace import KernelEngine, Problem, WeightEngine
from polytask.bayes.laplace_rows import Labelled, row_blocks
from polytask.bayes.prior import Model
from polytask.losses import Gamma, Poisson

D, T, N = 260, 3, 12
TASK = np.repeat(["a", "b", "c"], N)


def simulated(seed=0, sparse=False, rows=T * N):
    """Half of the features are rare; a few directions carry most of the signal."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4)) @ np.random.default_rng(99).normal(size=(4, D))
    X = (X + rng.normal(size=X.shape)) * (rng.random(X.shape) < 0.5)
    eta = X @ np.linspace(-0.12, 0.1, D)
    return sp.csr_array(X) if sparse else X, eta + 0.3 * rng.normal(size=rows)


def both(monkeypatch, make, X, y, **given):
    """Fit in the space of the rows and in the features."""
    found = make().fit(X, y, **given)
    with monkeypatch.context() as patch:
        patch.setattr(structures, "_WIDE", 10**9)
        plain = make().fit(X, y, **given)
    prior = plain.prior_[0] if isinstance(plain.prior_, list) else plain.prior_
    assert prior.space is None
    return found, plain


def labels_of(eta, seed=1):
    return (np.random.default_rng(seed).random(len(eta)) < expit(2.0 * eta)).astype(int)


def targets_of(kind, *etas):
    """Return classes for a classifier, numbers otherwise."""
    return tuple(labels_of(eta) if hasattr(kind, "predict_proba") else eta for eta in etas)


def agree(one, other, X, tasks=("a", "b", "new")):
    """Predictions and how sure they are agree, for known tasks and unknown ones."""
    for label in tasks:
        task = np.full(X.shape[0], label)
        if hasattr(one, "classes_"):
            got, want = one.predict_proba(X, task=task), other.predict_proba(X, task=task)
        else:
            got, want = (np.stack(m.predict(X, task, return_std=True)) for m in (one, other))
        # As far as two searches agree that stop by themselves.
        assert_allclose(got, want, rtol=0, atol=5e-5)


COUNTS_AND_AMOUNTS = (LabelLoss(Poisson(), 0.5, 1.3), LabelLoss(Gamma(), 0.5, 0.4))


@pytest.mark.parametrize("structure", [NoVariation(), Scalar()], ids=repr)
@pytest.mark.parametrize("mean", [0.02, None])
@pytest.mark.parametrize("kinds", [(LabelLoss(),), COUNTS_AND_AMOUNTS], ids=["classes", "others"])
def test_the_evidence_in_rows_is_that_in_weights(structure, mean, kinds):
    rng = np.random.default_rng(3)
    counts = np.array([5, 0, 1, 14])
    n, p = int(counts.sum()), 40
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y, offsets = (rng.random(n) < 0.6).astype(float), np.concatenate([[0], np.cumsum(counts)])
    weight, loss, losses = rng.uniform(0.5, 2.0, n), np.arange(n) % len(kinds), LabelLosses(kinds)
    data = Labelled(Z, y + loss, weight, offsets, loss=loss, losses=losses)
    copies = np.ones(p)
    weights = WeightEngine(data, row_blocks(data), tuple(range(p)), copies)
    params = np.array([0.7, 0.2])[: structure.n_parameters(p)]
    want = weights.at(structure.factor(params, p), mean, losses)
    got = KernelEngine(data, copies).at(structure.factor(params, 2), mean, losses)
    assert got.converged
    assert_allclose(got.value, want.value, rtol=1e-9)
    own = np.diagonal(want.slope)
    assert_allclose(np.diagonal(got.slope), [own[0], own[1:].sum()], rtol=1e-6)
    second = np.diagonal(want.second)
    assert_allclose(np.diagonal(got.second), [second[0], second[1:].mean()], rtol=1e-6)
    assert_allclose(got.mean_second, want.mean_second if mean else got.mean_second, rtol=1e-7)
    assert_allclose(got.mean_slope, want.mean_slope if mean else got.mean_slope, rtol=1e-7)
    for name in ("slope", "expected", "weight"):
        there = getattr(want.dispersions, name)
        assert_allclose(getattr(got.dispersions, name), there, rtol=1e-6, atol=1e-9)
    assert_allclose(got.point.mean, want.point.mean, atol=1e-8)
    assert_allclose(got.point.alpha[counts > 0], want.point.alpha[counts > 0], atol=1e-8)


def test_a_search_in_rows_is_used_where_it_may_be():
    rng = np.random.default_rng(0)
    Z = np.column_stack([np.ones(6), rng.normal(size=(6, 9))])
    data = Labelled(Z, np.array([0, 1, 0, 1, 1, 0.0]), np.ones(6), np.array([0, 3, 6]))
    search, every = Problem(data), tuple(range(10))
    assert isinstance(search.engine(Model(Scalar(), every, gaussian_mean=True)), KernelEngine)
    assert isinstance(search.engine(Model(Scalar(), (0, 2), gaussian_mean=True)), WeightEngine)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("structure", ["scalar", "auto"])
def test_classes(structure, sparse, monkeypatch):
    X, eta = simulated(sparse=sparse)
    y = labels_of(eta)
    make = lambda: BayesianMultiTaskClassifier(structure, tol=3e-7)  # noqa: E731
    found, plain = both(monkeypatch, make, X, y, task=TASK)
    assert found.prior_.space.basis.shape == (D, T * N)
    assert found.structure_ == plain.structure_
    assert_allclose(found.log_marginal_likelihood_, plain.log_marginal_likelihood_, rtol=1e-9)
    assert_allclose(found.coef_, plain.coef_, atol=1e-4 * np.abs(plain.coef_).max())
    new, more = simulated(5, sparse, rows=20)
    agree(found, plain, new)
    # Rows outside the space of the old ones, of a known task and of a new one.
    for model in (found, plain):
        model.partial_fit(new[:10], labels_of(more[:10]), task=np.repeat(["b", "d"], 5))
    assert found.prior_.space.basis.shape == (D, T * N + 10)
    assert_allclose(found.coef_, plain.coef_, atol=1e-4 * np.abs(plain.coef_).max())
    agree(found, plain, new, ("a", "b", "d", "new"))


def test_posterior_modes_are_those_in_the_features_to_eight_digits():
    X, eta = simulated()
    y = labels_of(eta)
    found = BayesianMultiTaskClassifier("scalar").fit(X, y, task=TASK)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    Z = np.column_stack([np.ones(len(X)), (X - mean) / scale])
    data = Labelled(Z, y.astype(float), np.ones(len(y)), np.arange(T + 1) * N)
    every = tuple(range(D + 1))
    prior = found.prior_
    own = np.sqrt(np.diagonal(prior.covariance))
    engine = WeightEngine(data, row_blocks(data), every, np.ones(D + 1))
    factor = np.diag(np.r_[own[0], np.full(D, own[-1])])
    beliefs, mode = engine.posterior(factor, prior.mean_covariance[-1, -1], LabelLosses())
    want = mode.point.coefficients(beliefs.spread)
    coef = want[:, 1:] / scale
    assert_allclose(found.coef_, coef, rtol=0, atol=1e-8 * np.abs(coef).max())
    assert_allclose(found.intercept_, want[:, 0] - coef @ mean, rtol=1e-8)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("structure", ["none", "auto"])
def test_numbers(structure, sparse, monkeypatch):
    X, y = simulated(sparse=sparse)
    make = lambda: BayesianMultiTaskRegressor(structure, tol=1e-7)  # noqa: E731
    found, plain = both(monkeypatch, make, X, y, task=TASK)
    assert found.prior_.space.basis.shape == (D, T * N)
    assert found.structure_ == plain.structure_
    assert_allclose(found.log_marginal_likelihood_, plain.log_marginal_likelihood_, rtol=1e-8)
    assert_allclose(found.coef_, plain.coef_, atol=1e-5 * np.abs(plain.coef_).max())
    new, more = simulated(5, sparse, rows=20)
    agree(found, plain, new)
    for model in (found, plain):
        model.partial_fit(new[:10], more[:10], task=np.repeat(["b", "d"], 5))
    agree(found, plain, new, ("a", "b", "d", "new"))


def test_one_design_for_all_targets(monkeypatch):
    X, eta = simulated(rows=30)
    Y = np.column_stack([labels_of(eta, seed) for seed in range(3)])
    found, plain = both(monkeypatch, lambda: BayesianMultiTaskClassifier("scalar"), X, Y)
    assert found.prior_.space is not None
    for got, want in zip(found.predict_proba(X), plain.predict_proba(X), strict=True):
        assert_allclose(got, want, atol=1e-4)


def test_several_classes(monkeypatch):
    X, eta = simulated()
    y = np.digitize(eta, np.quantile(eta, [0.3, 0.7]))
    make = lambda: BayesianMultiTaskClassifier("none")  # noqa: E731
    found, plain = both(monkeypatch, make, X, y, task=TASK)
    assert all(prior.space is not None for prior in found.prior_)
    agree(found, plain, simulated(5, rows=8)[0])


@pytest.mark.slow
@pytest.mark.parametrize("domain", [None, "new"])
@pytest.mark.parametrize("kind", [BayesianMultiTaskClassifier, BayesianMultiTaskRegressor])
def test_adapt(kind, domain, monkeypatch):
    X, eta = simulated()
    new, more = simulated(5, rows=12)
    y, more = (
        (labels_of(v) for v in (eta, more)) if hasattr(kind, "predict_proba") else (eta, more)
    )
    tol = 3e-7 if kind is BayesianMultiTaskClassifier else 1e-7
    models = both(monkeypatch, lambda: kind("scalar", tol=tol), X, y, task=TASK)
    found, plain = (adapt(m, new[:8], more[:8], task="d", domain=domain) for m in models)
    assert found.adaptation_.chosen == plain.adaptation_.chosen
    assert_allclose(found.adaptation_.strengths, plain.adaptation_.strengths, rtol=1e-4)
    agree(found, plain, new, ("a", "d"))


@pytest.mark.parametrize("kind", [BayesianMultiTaskClassifier, BayesianMultiTaskRegressor])
def test_saved_and_as_a_prior_of_other_data(kind, monkeypatch, tmp_path):
    X, eta = simulated()
    new, more = simulated(5, rows=12)
    y, more = (
        (labels_of(v) for v in (eta, more)) if hasattr(kind, "predict_proba") else (eta, more)
    )
    tol = 3e-7 if kind is BayesianMultiTaskClassifier else 1e-7
    found, plain = both(monkeypatch, lambda: kind("scalar", tol=tol), X, y, task=TASK)
    save(found, tmp_path / "model")
    agree(load(tmp_path / "model"), found, new)
    task = np.repeat(["d", "e"], 6)
    under = [kind(prior=model).fit(new, more, task=task) for model in (found, plain)]
    agree(*under, new, ("d", "e", "new"))
    error = IncompatibleError if kind is BayesianMultiTaskClassifier else DataError
    with pytest.raises(error, match=f"{D - 1} features"):
        kind(prior=found).fit(new[:, 1:], more, task=task)


def test_what_cannot_pay_for_itself_is_not_tried():
    X, eta = simulated()
    model = BayesianMultiTaskClassifier().fit(X, labels_of(eta), task=TASK)
    names = [type(candidate.structure).__name__ for candidate in model.evidence_]
    assert names == ["NoVariation", "Scalar"]
    # No label has a probability above 1, so that no evidence exceeds 0.
    assert 0.5 * (D + 1) * np.log(len(eta)) > -max(c.score for c in model.evidence_)


def test_evidence_of_numbers_needs_no_features():
    X, y = simulated(rows=36)
    model = BayesianMultiTaskRegressor().fit(X, y, task=np.repeat(["a", "b"], 18))
    assert 0 < model.evidence(19, random_state=0).p_value <= 1


def test_a_space_holds_its_rows_and_further_ones():
    rng = np.random.default_rng(0)
    X, more = rng.normal(size=(5, 30)), rng.normal(size=(4, 30))
    more[3] = X[0] + 2 * more[0]
    space = RowSpace.of(X)
    wide = space.extended(more)
    assert wide.basis.shape == (30, 8)
    assert_array_equal(wide.basis[:, :5], space.basis)
    assert_allclose(wide.basis.T @ wide.basis, np.eye(8), atol=1e-12)
    Z = np.column_stack([np.ones(4), more])
    inside = wide.coordinates(Z)
    assert_array_equal(inside[:, -1], 0.0)
    assert_allclose(wide.lifted(inside), Z, atol=1e-12)
    assert_allclose((space.coordinates(Z)[:, 1:] ** 2).sum(axis=1), (more**2).sum(axis=1))
    assert space.extended(X) is space


def test_a_prior_must_fit_its_space():
    space = RowSpace.of(np.eye(3, 9))
    with pytest.raises(DataError, match="5 coordinates"):
        Prior(np.zeros(4), np.eye(4), np.arange(4), None, space=space)
