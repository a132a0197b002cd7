"""Correlated noise: the likelihood against dense formulas, its gradient against differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from unit.bayes.correlated_cases import ALL, MODELS, PULL, P, Problem, T, point_of

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes import correlated_rows as gaps_module
from polytask.bayes.correlated import (
    JointMarginal,
    NoisePull,
    Point,
    Search,
    Start,
    learn_correlated,
    learn_joint,
)
from polytask.bayes.correlated_rows import GappedRows, WholeRows, collect_joint, joined
from polytask.bayes.posterior import (
    JointTasks,
    joint_posterior,
    log_densities_joint,
)
from polytask.bayes.prior import Model, Prior
from polytask.exceptions import DataError


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_likelihood_is_that_of_a_dense_normal_distribution(gaps, weighted):
    problem = Problem(gaps, weighted=weighted)
    rows, plain = problem.rows(), problem.again()
    for model in MODELS:
        point, marginal = point_of(model), JointMarginal(rows, model, PULL)
        expected = plain.log_likelihood(model, point, np.mean(PULL.variances))
        assert_allclose(marginal.at(point).detail.log_likelihood, expected, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_the_gradient_is_that_of_differences(gaps):
    rows, h = Problem(gaps).rows(), 1e-5
    for model in MODELS:
        point, marginal = point_of(model), JointMarginal(rows, model, PULL)
        found = marginal.at(point)

        def slope(structure=0.0, noise=0.0, log_mean=0.0, at=point, of=marginal):
            def value(sign):
                level = None if at.log_mean is None else at.log_mean + sign * log_mean
                moved = Point(at.structure + sign * structure, at.noise + sign * noise, level)
                return of.at(moved).value

            return (value(1.0) - value(-1.0)) / (2 * h)

        own = [slope(structure=h * e) for e in np.eye(len(point.structure))]
        assert_allclose(found.gradient[: len(point.structure)], own, rtol=1e-5, atol=1e-6)
        for t, s in itertools.product(range(T), range(T)):
            E = np.zeros((T, T))
            E[t, s] += 0.5 * h
            E[s, t] += 0.5 * h
            assert_allclose(found.detail.noise_slope[t, s], slope(noise=E), rtol=1e-5, atol=1e-6)
        if model.gaussian_mean:
            assert_allclose(found.detail.mean_slope, slope(log_mean=h), rtol=1e-5, atol=1e-6)


def test_both_ways_of_reducing_agree(monkeypatch):
    rows, varying = Problem(0.0, n=12).rows(), np.array([0, 1, 3])
    L = np.random.default_rng(2).normal(size=(3, 3))
    noise, root = point_of(MODELS[0]).noise, np.random.default_rng(3).normal(size=(P, 2))
    monkeypatch.setattr(gaps_module, "_PRODUCTS", 20)
    pair = [way(rows, L, varying, noise) for way in (WholeRows, GappedRows)]
    beta, Z = np.arange(P) / P, rows.X[:5, varying]
    answers = [
        (
            work.deviations(beta),
            work.information(),
            work.responses(),
            work.own_covariances(),
            work.covariances_at(Z),
            *vars(work.totals()).values(),
            *vars(work.slopes(beta, root)).values(),
        )
        for work in pair
    ]
    for first, second in zip(*answers, strict=True):
        assert_allclose(first, second, rtol=1e-9, atol=1e-10)


def test_few_rows_and_no_variation():
    problem = Problem(0.0, n=2, p=6)
    model = Model(Full(), tuple(range(6)), restricted=False)
    for structure in (np.zeros(21), np.random.default_rng(0).normal(size=21)):
        point = Point(structure, problem.Sigma, None)
        found = JointMarginal(problem.rows(), model, PULL).at(point)
        # With two rows for six columns the mean leaves nothing of the targets.
        y, X, V = problem.dense(model, point, 1.0)
        expected = -0.5 * (len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1])
        left = y - X @ found.detail.beta
        expected -= 0.5 * left @ np.linalg.solve(V, left)
        assert_allclose(found.detail.log_likelihood, expected, atol=1e-5)


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("structure", [NoVariation(), Scalar(), Diagonal(), Full()])
def test_em_steps_do_not_lower_the_likelihood(structure, restricted, gaps):
    rows = Problem(gaps, n=20).rows()
    model = Model(structure, ALL, restricted, gaussian_mean=True)
    marginal, point, values = JointMarginal(rows, model, PULL), point_of(model), []
    for _ in range(25):
        found = marginal.at(point)
        values.append(found.value)
        point = marginal.evaluate(marginal.expected(found)).detail.point
    assert np.all(np.diff(values) < 1e-9)
    assert values[0] - values[-1] > 1.0


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("structure", [Scalar(), LowRank(1), Full()])
def test_the_maximum_is_one(structure, gaps):
    rows = Problem(gaps, n=60, T=5, spread=0.5).rows()
    model, pull = Model(structure, ALL), NoisePull(2.0, np.ones(5))
    start = Start(0.1 * np.eye(P), np.eye(5))
    found = learn_joint(rows, model, pull, start, Search(tol=1e-6))
    assert found.converged
    assert found.residual <= 1e-6
    marginal = JointMarginal(rows, model, pull)
    at = marginal.at(found.point)
    assert_allclose(at.gradient[: len(found.params)], 0.0, atol=1e-3)
    assert_allclose(at.detail.noise_slope, 0.0, atol=1e-2)
    other = Start(2.0 * np.eye(P), 0.3 * np.eye(5) + 0.2)
    again = learn_joint(rows, model, pull, other, Search(tol=1e-6))
    assert_allclose(again.score, found.score, atol=1e-4)
    assert_allclose(again.noise, found.noise, rtol=1e-3, atol=1e-4)


def test_a_start_at_zero_is_left():
    rows, model = Problem(0.0, n=60, T=5, spread=0.5).rows(), Model(Diagonal(), ALL)
    start = Start(np.zeros((P, P)), np.eye(5), params=np.zeros(P))
    found = learn_joint(rows, model, NoisePull(2.0, np.ones(5)), start, Search())
    free = Start(0.1 * np.eye(P), np.eye(5))
    best = learn_joint(rows, model, NoisePull(2.0, np.ones(5)), free, Search())
    assert_allclose(found.score, best.score, atol=1e-2)


def test_what_is_held_stays():
    rows, model = Problem(0.3, n=40).rows(), Model(Diagonal(), ALL, gaussian_mean=True)
    start = Start(np.eye(P), np.eye(T))
    without = learn_joint(rows, model, PULL, start, Search(without=True))
    assert not without.covariance.any()
    held = learn_joint(rows, model, PULL, start, Search(noise_held=True))
    assert_allclose(held.noise, np.eye(T))
    assert without.converged
    assert held.converged


def test_the_noise_is_found():
    problem = Problem(0.2, n=3000, T=4, spread=0.3)
    rows = problem.rows()
    start = Start(np.eye(P), np.diag(np.diagonal(problem.Sigma)))
    model = Model(Scalar(), ALL)
    found, _ = learn_correlated(rows, model, start, Search(), chosen=True)
    assert_allclose(found.noise, problem.Sigma, rtol=0.1)
    together = learn_joint(rows, model, found.pull, start, Search())
    assert_allclose(together.noise, problem.Sigma, rtol=0.1)


def test_patterns_are_reduced_to_triangles():
    problem = Problem(0.3, n=200, weighted=True)
    rows = problem.rows()
    assert len(rows.X) <= len(rows.count) * (P + T)
    assert rows.count.sum() == problem.v[problem.seen.any(axis=1)].sum()
    first, second = problem.rows(slice(0, 70)), problem.rows(slice(70, None))
    both = joined(first, second)
    point, model = point_of(MODELS[2]), MODELS[2]
    values = [JointMarginal(r, model, PULL).at(point).value for r in (rows, both)]
    assert_allclose(*values, rtol=1e-12)
    empty = problem.rows(slice(0, 0))
    assert joined(empty, empty).X.shape == (0, P)


def test_weights_that_differ_within_a_row_are_refused():
    weight = np.ones((4, 2))
    weight[2, 1] = 3.0
    with pytest.raises(DataError, match=r"weight .* \(row 2\)"):
        collect_joint(lambda i: np.ones((len(i), 1)), 1, np.zeros((4, 2)), weight)


def prior_of(p=P, varying=(0, 1, 3)):
    rng = np.random.default_rng(5)
    root, spread = rng.normal(size=(len(varying), len(varying))), rng.normal(size=(p, p))
    return Prior(
        rng.normal(size=p), root @ root.T, np.array(varying), np.ones(T), 0.1 * spread @ spread.T
    )


def dense_posterior(problem, joint, prior):
    """Mean and covariance of the coefficients of all tasks, (T p,) and (T p, T p)."""
    i, t = np.argwhere(problem.seen).T
    X = np.zeros((len(i), T, P))
    X[np.arange(len(i)), t] = problem.X[i]
    X = X.reshape(len(i), T * P)
    V = joint.noise[np.ix_(t, t)] * np.equal.outer(i, i) / np.sqrt(np.outer(*[problem.v[i]] * 2))
    Omega = np.zeros((P, P))
    Omega[np.ix_(prior.varying, prior.varying)] = prior.covariance
    own = np.kron(np.eye(T), Omega)
    gain = own @ X.T @ np.linalg.inv(X @ own @ X.T + V)
    mean = np.tile(prior.mean, T)
    mean = mean + gain @ (problem.Y[i, t] - X @ mean)
    passed = (np.eye(T * P) - gain @ X) @ np.kron(np.ones((T, 1)), np.eye(P))
    return mean, own - gain @ X @ own + passed @ prior.mean_covariance @ passed.T


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_the_posterior_is_that_of_the_dense_formula(gaps):
    problem, prior = Problem(gaps, weighted=True), prior_of()
    joint = JointTasks(problem.rows(), problem.Sigma)
    found = joint_posterior(joint, prior)
    mean, covariance = dense_posterior(problem, joint, prior)
    assert_allclose(found.means.ravel(), mean, rtol=1e-9)
    for t in range(T):
        own = slice(t * P, (t + 1) * P)
        assert_allclose(found.covariance(t), covariance[own, own], rtol=1e-9, atol=1e-12)


def test_a_task_without_labels_has_the_prior():
    problem, prior = Problem(0.0), prior_of()
    problem.seen[:, 1] = False
    found = joint_posterior(JointTasks(problem.rows(), problem.Sigma), prior)
    assert_allclose(found.means[1], prior.mean)
    assert_allclose(found.covariance(1), prior.spread)
    problem.seen[:] = False
    nothing = joint_posterior(JointTasks(problem.rows(), problem.Sigma), prior)
    assert_allclose(nothing.means, np.tile(prior.mean, (T, 1)))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_densities_leave_whole_rows_out(gaps):
    problem, prior = Problem(gaps, n=10, weighted=True), prior_of()
    joint = JointTasks(problem.rows(), problem.Sigma)
    Y = np.where(problem.seen, problem.Y, np.nan)
    found = log_densities_joint(joint, prior, (problem.X, Y, problem.v))
    assert np.array_equal(np.isnan(found), ~problem.seen)
    known = Prior(prior.mean, prior.covariance, prior.varying, prior.noise)
    for i, t in np.argwhere(problem.seen):
        rest = JointTasks(problem.rows(np.arange(10) != i), problem.Sigma)
        without = joint_posterior(rest, known)
        x = problem.X[i]
        variance = x @ without.covariance(t) @ x + problem.Sigma[t, t] / problem.v[i]
        away = Y[i, t] - x @ without.means[t]
        expected = -0.5 * (np.log(2 * np.pi * variance) + away**2 / variance)
        assert_allclose(found[i, t], expected, rtol=1e-8)
