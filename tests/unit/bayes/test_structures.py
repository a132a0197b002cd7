"""Structures: factors, gradients, first guesses, prices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Prior, Scalar
from polytask.exceptions import DataError, ParameterError

STRUCTURES = [
    NoVariation(),
    Scalar(),
    Diagonal(),
    LowRank(1),
    LowRank(3),
    LowRank(9),
    Full(),
    Full(shrinkage=2.0),
]


def covariance(q, seed=0):
    root = np.random.default_rng(seed).normal(size=(q, q))
    return root @ root.T / q + 0.1 * np.eye(q)


@pytest.mark.parametrize("q", [1, 2, 5])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_gradient_is_that_of_the_covariance(structure, q):
    rng = np.random.default_rng(q)
    params = rng.normal(size=structure.n_parameters(q))
    G = rng.normal(size=(q, q))
    G = G + G.T

    def value(x):
        return np.sum(G * structure.covariance(x, q)) + structure.log_prior(x, q)[0]

    steps = 1e-6 * np.eye(len(params))
    numeric = [(value(params + h) - value(params - h)) / 2e-6 for h in steps]
    exact = structure.pull_back(params, q, G) + structure.log_prior(params, q)[1]
    assert_allclose(exact, numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("q", [1, 2, 5])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_member_is_its_own_first_guess(structure, q):
    rng = np.random.default_rng(q)
    member = structure.covariance(rng.normal(size=structure.n_parameters(q)), q)
    again = structure.covariance(structure.start(member), q)
    loose = 0.5 if isinstance(structure, LowRank) else 1e-3
    assert_allclose(np.diagonal(again), np.diagonal(member), rtol=loose)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_first_guess_of_nothing_can_grow(structure):
    params = structure.start(np.zeros((4, 4)))
    assert np.all(np.isfinite(params))
    assert len(structure.curvature(np.ones(4))) == len(params) == structure.n_parameters(4)


def test_full_and_low_rank_of_all_ranks_reach_any_covariance():
    C = covariance(4)
    assert_allclose(Full().covariance(Full().start(C), 4), C, rtol=1e-3)


def test_shrinkage_prefers_independence():
    independent, tied = np.eye(3), 0.9 * np.ones((3, 3)) + 0.1 * np.eye(3)
    structure = Full(shrinkage=1.0)
    first, second = (structure.log_prior(structure.start(C), 3)[0] for C in (independent, tied))
    assert first > second
    assert_allclose(second, np.linalg.slogdet(tied)[1], rtol=1e-2)


def test_more_parameters_cost_more_and_shrunk_ones_less():
    prices = [s.price(6, 50) for s in (NoVariation(), Scalar(), Diagonal(), LowRank(1), Full())]
    assert prices == sorted(prices)
    assert Diagonal().price(6, 50) < Full(shrinkage=20.0).price(6, 50) < Full().price(6, 50)


@pytest.mark.parametrize("bad", [lambda: LowRank(0), lambda: Full(shrinkage=-1.0)])
def test_impossible_structures_are_refused(bad):
    with pytest.raises(ParameterError):
        bad()


def test_the_spread_of_a_new_task():
    prior = Prior(np.zeros(3), 2.0 * np.eye(2), np.array([0, 2]), 1.0, np.eye(3))
    assert_allclose(np.diagonal(prior.spread), [3.0, 1.0, 3.0])


@pytest.mark.parametrize(
    "change",
    [
        {"covariance": np.eye(3)},
        {"varying": np.array([1, 2])},
        {"varying": np.array([0, 7])},
        {"mean_covariance": np.eye(2)},
    ],
)
def test_a_prior_must_fit_together(change):
    parts = {
        "mean": np.zeros(3),
        "covariance": np.eye(2),
        "varying": np.array([0, 2]),
        "noise": 1.0,
    }
    with pytest.raises(DataError):
        Prior(**parts | change)
