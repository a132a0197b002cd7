"""Counts, amounts, numbers and classes under one prior: laws, quadrature, exact results."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from numpy.testing import assert_allclose
from scipy.special import gammaln

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Prior, Scalar
from polytask.bayes.blocks import collect_stacked
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace import LaplaceMarginal, Problem, evidence, learn_laplace_priors
from polytask.bayes.laplace_mode import Beliefs, Point, posterior_mode
from polytask.bayes.laplace_rows import Labelled, Spread, row_blocks
from polytask.bayes.posterior import posterior_means, posterior_under
from polytask.bayes.prior import Model
from polytask.losses import Gamma, Poisson, Squared

COUNT, AMOUNT = LabelLoss(Poisson(), 0.7, 1.6), LabelLoss(Gamma(), 0.3, 0.5)
PLAIN = LabelLoss(Poisson(), 0.7, 1.0)
NUMBER, LABEL = LabelLoss(Squared(), dispersion=0.8), LabelLoss()
EVERY = {"poisson": COUNT, "gamma": AMOUNT, "squared": NUMBER, "logistic": LABEL}
P = 4
COUNTS = np.array([3, 0, 1, 20, 6, 30, 12, 8])


def drawn(kinds, seed=0, counts=COUNTS, W=None):
    """Return rows of tasks, the labels of each task of one kind, these in turn."""
    rng = np.random.default_rng(seed)
    n = int(counts.sum())
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, P - 1))])
    task = np.repeat(np.arange(len(counts)), counts)
    W = 0.4 * rng.normal(size=(len(counts), P)) if W is None else W
    eta, loss = np.sum(Z * W[task], axis=1), task % len(kinds)
    y = np.zeros(n)
    for k, kind in enumerate(kinds):
        own, phi = loss == k, kind.dispersion
        mean = np.asarray(kind.loss.inverse_link(eta[own] + kind.offset))
        draw = {
            "poisson": rng.poisson,
            "gamma": lambda m, v=phi: rng.gamma(1.0 / v, m * v),
            "squared": lambda m, v=phi: rng.normal(m, np.sqrt(v)),
            "logistic": lambda m: rng.random(len(m)) < m,
        }
        y[own] = draw[kind.loss.name](mean)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Labelled(Z, y, np.ones(n), offsets, loss=loss, losses=LabelLosses(tuple(kinds)))


def mode_of(data, beliefs):
    start = Point(beliefs.mean.copy(), np.zeros((data.n_tasks, len(beliefs.spread.varying))))
    return posterior_mode(row_blocks(data), beliefs, [start])


@pytest.mark.parametrize("kind", EVERY.values(), ids=EVERY)
def test_derivatives_are_those_of_finite_differences(kind):
    eta, step = np.linspace(-2.0, 2.0, 9), 1e-5
    y = np.full(9, 1.0)
    pairs = [
        (kind.value, lambda y, eta: -kind.residual(y, eta)),
        (lambda y, eta: -kind.residual(y, eta), kind.curvature),
        (kind.curvature, kind.third_derivative),
    ]
    for of, derivative in pairs:
        difference = (of(y, eta + step) - of(y, eta - step)) / (2 * step)
        assert_allclose(derivative(y, eta), difference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", [AMOUNT, NUMBER], ids=["gamma", "squared"])
def test_the_loss_is_minus_the_log_density(kind):
    rng, phi = np.random.default_rng(0), kind.dispersion
    eta, y = rng.normal(size=20), rng.gamma(2.0, size=20)
    mean = kind.loss.inverse_link(eta + kind.offset)
    if kind is AMOUNT:
        want = scipy.stats.gamma.logpdf(y, 1.0 / phi, scale=mean * phi) + np.log(y)
    else:
        want = scipy.stats.norm.logpdf(y, mean, np.sqrt(phi))
    assert_allclose(-kind.value(y, eta), want, rtol=1e-12)


@pytest.mark.parametrize("kind", [COUNT, AMOUNT, NUMBER], ids=["poisson", "gamma", "squared"])
def test_the_estimated_dispersion_is_the_likeliest(kind):
    for mean_loss in (0.9, 2.0):
        found = kind.estimated(mean_loss)

        def minus_log(log, mean_loss=mean_loss, found=found):
            at = LabelLosses((found,)).at(np.array([log])).kinds[0]
            return mean_loss / at.dispersion + at._level()[0]

        best = scipy.optimize.minimize_scalar(minus_log, bounds=(-5, 5), method="bounded").x
        # Minka's formula for amounts is good to a percent or two.
        assert_allclose(np.log(found.dispersion), best, atol=0.03 if kind is AMOUNT else 1e-4)


def test_counts_vary_by_no_less_than_poisson():
    assert COUNT.estimated(0.1).dispersion == 1.0


@pytest.mark.parametrize("structure", [NoVariation(), Scalar(), LowRank(1), Full()], ids=repr)
@pytest.mark.parametrize("names", [["poisson"], ["gamma"], list(EVERY)], ids="+".join)
def test_gradient_is_that_of_finite_differences(structure, names):
    data = drawn([EVERY[name] for name in names])
    climb = LaplaceMarginal(Problem(data), Model(structure, (0, 1, 3), gaussian_mean=True))
    size, dispersed = structure.n_parameters(3), len(data.losses.dispersed)
    rng = np.random.default_rng(2)
    params = np.append(rng.normal(size=size + 1) * 0.6, rng.uniform(0.1, 0.6, dispersed))
    gradient, step = climb.evaluate(params).gradient, 1e-5
    assert len(gradient) == size + 1 + dispersed
    for j, unit in enumerate(step * np.eye(len(params))):
        ahead, behind = climb.evaluate(params + unit).value, climb.evaluate(params - unit).value
        assert_allclose(gradient[j], (ahead - behind) / (2 * step), rtol=2e-5, atol=2e-6)


def test_the_mode_is_that_of_another_optimiser():
    data, L = drawn(list(EVERY.values())), np.diag([0.8, 0.5, 0.6, 0.3])
    precision = np.full(P, 0.5)
    mode = mode_of(data, Beliefs(Spread.of(L, np.arange(P)), precision, np.zeros(P), data.losses))
    assert mode.converged
    task, T = np.repeat(np.arange(len(COUNTS)), COUNTS), len(COUNTS)

    def objective(x):
        U = x.reshape(T + 1, P)
        w = U[0] + U[1:] @ L
        eta = np.sum(data.Z * w[task], axis=1)
        return (
            data.losses.value(data, eta) + 0.5 * precision @ U[0] ** 2 + 0.5 * np.sum(U[1:] ** 2)
        )

    found = scipy.optimize.minimize(objective, np.zeros((T + 1) * P), method="BFGS")
    assert_allclose(mode.objective, found.fun, rtol=1e-8)
    U = found.x.reshape(T + 1, P)
    got = mode.point.coefficients(Spread.of(L, np.arange(P)))
    assert_allclose(got, U[0] + U[1:] @ L, atol=2e-3)


@pytest.mark.parametrize(
    "kind", [LabelLoss(Poisson(), 0.7, 1.0), AMOUNT], ids=["poisson", "gamma"]
)
def test_intercepts_alone_are_near_quadrature(kind):
    rng, deviation = np.random.default_rng(4), 0.6
    counts = rng.integers(4, 20, 10)
    task = np.repeat(np.arange(10), counts)
    mean = np.exp(kind.offset + 0.3 + deviation * rng.normal(size=10))[task]
    phi = kind.dispersion
    poisson = isinstance(kind.loss, Poisson)
    y = rng.poisson(mean) if poisson else rng.gamma(1.0 / phi, mean * phi)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    ones = np.ones(len(y))
    data = Labelled(ones[:, None], y * 1.0, ones, offsets, losses=LabelLosses((kind,)))
    prior = Prior(np.array([0.3]), np.array([[deviation**2]]), np.array([0]), None)
    _, got = posterior_under(prior, data)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    want = 0.0
    for t in range(10):
        own = y[task == t][:, None]
        means = np.exp(kind.offset + 0.3 + deviation * nodes)
        if poisson:
            # Up to a number of the counts alone, which the loss leaves out.
            logs = scipy.stats.poisson.logpmf(own, means)
            logs += gammaln(own + 1) - np.where(own > 0, own * np.log(np.maximum(own, 1)) - own, 0)
            logs -= 0.5 * np.log(2 * np.pi)
        else:
            logs = scipy.stats.gamma.logpdf(own, 1.0 / phi, scale=means * phi) + np.log(own)
        total = logs.sum(axis=0)
        want += total.max() + np.log(weights @ np.exp(total - total.max()) / weights.sum())
    assert got != want
    assert abs(got - want) < 0.01 * len(counts)


def test_numbers_have_the_exact_marginal_likelihood_and_posterior():
    data = drawn([NUMBER], 3)
    precision, C = np.full(P, 0.7), np.diag([0.5, 0.2, 0.3, 0.4])
    varying, n = np.arange(P), len(data.y)
    beliefs = Beliefs(Spread.of(np.sqrt(C), varying), precision, np.zeros(P), data.losses)
    got = evidence(mode_of(data, beliefs), beliefs).value
    same = np.equal.outer(*2 * [np.repeat(np.arange(len(COUNTS)), COUNTS)])
    V = data.Z @ np.diag(1.0 / precision) @ data.Z.T + same * (data.Z @ C @ data.Z.T)
    V += NUMBER.dispersion * np.eye(n)
    assert_allclose(got, scipy.stats.multivariate_normal.logpdf(data.y, cov=V), rtol=1e-10)
    prior = Prior(np.array([0.1, 0.4, 0.0, -0.2]), C, varying, NUMBER.dispersion)
    posterior, _ = posterior_under(prior, data)
    blocks = collect_stacked(lambda rows: data.Z[rows], P, data.y, data.weight, data.offsets)
    assert_allclose(posterior.coef, posterior_means(blocks, prior, len(COUNTS)), atol=1e-10)


@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_a_prior_is_recovered(name):
    rng, kind = np.random.default_rng(1), LabelLoss(EVERY[name].loss, 1.0, 1.0)
    if name == "gamma":
        kind = LabelLoss(kind.loss, 1.0, 0.3)
    mean, deviations = np.array([0.2, 0.6, -0.4, 0.0]), np.array([0.5, 0.3, 0.1, 0.2])
    W = mean + deviations * rng.normal(size=(150, P))
    data = drawn([kind], 2, np.full(150, 20), W)
    (found,), _ = learn_laplace_priors([data], Diagonal(), tuple(range(P)), False, (1e-6, 300))
    assert found.converged
    assert_allclose(np.sqrt(np.diagonal(found.covariance)), deviations, atol=0.06)
    assert_allclose(found.mode.point.mean, mean, atol=0.12)
    assert_allclose(found.beliefs.losses.kinds[0].dispersion, kind.dispersion, rtol=0.08)


def test_the_dispersion_of_counts_that_vary_more_is_found():
    rng = np.random.default_rng(0)
    counts, phi = np.full(60, 30), 2.5
    task = np.repeat(np.arange(60), counts)
    mean = 8.0 * np.exp(0.3 * rng.normal(size=60))[task]
    y = rng.negative_binomial(mean / (phi - 1.0), 1.0 / phi).astype(float)
    ones, offsets = np.ones(len(y)), np.concatenate([[0], np.cumsum(counts)])
    losses = LabelLosses((LabelLoss(Poisson(), np.log(8.0), 1.0),))
    data = Labelled(ones[:, None], y, ones, offsets, losses=losses)
    (found,), _ = learn_laplace_priors([data], NoVariation(), (0,), False, (1e-6, 300))
    assert_allclose(found.beliefs.losses.kinds[0].dispersion, phi, rtol=0.1)
    assert_allclose(np.sqrt(found.covariance[0, 0]), 0.3, atol=0.06)


def test_predictors_of_rows_without_weight_may_be_anything():
    data = drawn([COUNT], counts=np.array([1, 3]))
    far = Labelled(
        data.Z * 1e4, data.y, np.array([1.0, 0, 0, 0]), data.offsets, losses=data.losses
    )
    eta = np.array([0.0, 1e5, -1e5, 1e3])
    for of in (data.losses.residuals, data.losses.curvatures, data.losses.third_derivatives):
        assert_allclose(of(far, eta)[1:], 0.0)
    assert np.isfinite(data.losses.value(far, eta))
