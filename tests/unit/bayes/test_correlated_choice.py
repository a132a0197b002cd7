"""Correlated noise: how far it is pulled, which structure, and whether tasks differ."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from unit.bayes.correlated_cases import ALL, PULL, P, Problem

from polytask.bayes import Diagonal, Full, NoVariation, Scalar
from polytask.bayes.choose import promised_gains
from polytask.bayes.correlated import (
    JointMarginal,
    NoisePull,
    Search,
    Start,
    learn_correlated,
    learn_joint,
    noise_pull,
    refined_pull,
    residual_correlation,
    start_of,
)
from polytask.bayes.evidence import likelihood_ratios
from polytask.bayes.prior import Model


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_the_pull_is_weak_with_correlation_and_strong_without(gaps):
    def rows_of(rho, seed):
        problem = Problem(gaps, n=100, T=10, rho=rho, seed=seed)
        return noise_pull(problem.rows(), np.ones(10)).rows

    for seed in range(3):
        assert rows_of(0.0, seed) > 60
        assert rows_of(0.9, seed) < 10
        assert rows_of(0.9, seed) < rows_of(0.3, seed) < rows_of(0.0, seed)


def test_many_tasks_and_few_rows_are_pulled_more():
    # The eigenvalues of the correlations of few rows are spread by chance.
    found = [noise_pull(Problem(0.0, n=n, T=40, rho=0.3).rows(), np.ones(40)) for n in (30, 3000)]
    assert found[0].rows > 10
    assert found[0].rows / 30 > 5 * found[1].rows / 3000
    problem = Problem(0.0, n=30, T=40, rho=0.3)
    start = Start(np.eye(P), np.diag(np.diagonal(problem.Sigma)))
    model = Model(Scalar(), ALL)
    learned, _ = learn_correlated(problem.rows(), model, start, Search(), chosen=True)
    sizes = np.linalg.eigvalsh(learned.noise)
    assert sizes[0] > 0.05 * np.median(sizes)


def test_without_freedom_a_joint_fit_says_how_strong_the_pull_is():
    pulls = []
    for rho in (0.0, 0.9):
        problem = Problem(0.0, n=25, T=6, p=30, rho=rho, spread=0.1)
        rows = problem.rows()
        assert noise_pull(rows, np.ones(6)) is None
        model = Model(Scalar(), tuple(range(30)), gaussian_mean=True)
        start = Start(0.01 * np.eye(30), np.diag(np.diagonal(problem.Sigma)))
        found, _ = learn_correlated(rows, model, start, Search(), chosen=True)
        pulls.append(found.pull.rows)
    assert pulls[0] > 4 * pulls[1]


def test_residual_correlations_are_those_of_separate_fits():
    problem = Problem(0.0, n=50, weighted=True)
    correlation, freedom = residual_correlation(problem.rows())
    root = np.sqrt(problem.v)[:, None]
    W = np.linalg.lstsq(root * problem.X, root * problem.Y, rcond=None)[0]
    E = root * (problem.Y - problem.X @ W)
    scale = np.sqrt(np.sum(E**2, axis=0))
    assert_allclose(correlation, (E / scale).T @ (E / scale), rtol=1e-9)
    assert_allclose(freedom, problem.v.sum() - P)


def test_one_task_needs_no_pull():
    assert noise_pull(Problem(0.0, T=1).rows(), np.ones(1)).rows > 0
    problem = Problem(0.3, n=30)
    model, start = Model(Scalar(), ALL), Start(np.eye(P), problem.Sigma)
    found = learn_joint(problem.rows(), model, PULL, start, Search())
    marginal = JointMarginal(problem.rows(), model, PULL)
    refined = refined_pull(marginal, found.point)
    assert np.array_equal(refined.variances, PULL.variances)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_the_structure_is_chosen(gaps):
    start = Start(0.1 * np.eye(P), np.eye(12))
    chosen = []
    for spread in (0.0, 0.5):
        rows = Problem(gaps, n=60, T=12, spread=spread).rows()
        found, tried = learn_correlated(rows, Model(Scalar(), ALL), start, Search(), chosen=False)
        assert found.converged
        best = max(tried, key=lambda candidate: candidate.score)
        assert best.structure == found.model.structure
        chosen.append(found.model.structure)
    assert chosen[0] == NoVariation()
    assert chosen[1] != NoVariation()


def test_the_score_test_sees_correlated_coefficients():
    rng = np.random.default_rng(0)
    problem = Problem(0.1, n=60, T=30)
    gains = []
    for loading in (0.0, 1.0):
        common = rng.normal(size=(1, 30)) * loading
        W = 1.0 + common + 0.3 * rng.normal(size=(P, 30))
        noise = rng.normal(size=(60, 30)) @ np.linalg.cholesky(problem.Sigma).T
        problem.Y = problem.X @ W + noise
        model, pull = Model(Diagonal(), ALL), NoisePull(2.0, np.ones(30))
        start = Start(np.eye(P), np.eye(30))
        found = learn_joint(problem.rows(), model, pull, start, Search())
        marginal = JointMarginal(problem.rows(), model, pull)
        slope = marginal.at(found.point).slope
        information = marginal.information(found.point)
        promised = promised_gains(slope, information, found.covariance, 30)
        full = Model(Full(), ALL)
        whole = learn_joint(problem.rows(), full, pull, start_of(found), Search())
        gains.append((promised[1], whole.score - found.score))
    assert gains[0][0] < 10
    assert gains[1][0] > 20
    assert gains[1][1] > 20


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_the_bootstrap_sees_variation_and_its_absence(gaps):
    p_values = []
    for spread in (0.0, 0.5):
        rows = Problem(gaps, n=40, T=5, spread=spread).rows()
        model, start = Model(Scalar(), ALL), Start(0.1 * np.eye(P), np.eye(5))
        found = learn_joint(rows, model, NoisePull(2.0, np.ones(5)), start, Search())
        rng = np.random.default_rng(0)
        p_values.append(likelihood_ratios(rows, found, 39, rng)[0][1])
    assert p_values[0] > 0.05
    assert p_values[1] <= 0.05


@pytest.mark.slow
def test_p_values_are_not_small_by_chance():
    p_values = []
    for seed in range(10):
        rows = Problem(0.0, n=25, T=4, spread=0.0, seed=seed).rows()
        model, start = Model(Scalar(), ALL), Start(0.01 * np.eye(P), np.eye(4))
        found = learn_joint(rows, model, NoisePull(2.0, np.ones(4)), start, Search())
        rng = np.random.default_rng(seed)
        p_values.append(likelihood_ratios(rows, found, 19, rng)[0][1])
    assert np.mean(np.array(p_values) <= 0.1) <= 0.3
    assert np.mean(p_values) > 0.3
