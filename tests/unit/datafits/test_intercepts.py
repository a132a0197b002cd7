"""Intercepts: every solver of Newton systems against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.datafits import (
    AnchoredIntercepts,
    NoIntercepts,
    PulledIntercepts,
    TiedIntercepts,
)

SEEDS = st.integers(0, 2**32 - 1)
STRENGTHS = st.sampled_from([1e-8, 1e-3, 1.0, 1e3, 1e8])


def random_groups(rng, n):
    """Return groups numbered from 0, some of them with one member."""
    return np.unique(rng.integers(rng.integers(1, n + 1), size=n), return_inverse=True)[1]


def pull_matrix(groups, strength):
    """Return the Hessian of the penalty of pulled intercepts."""
    same = groups[:, None] == groups[None, :]
    return strength * (np.eye(len(groups)) - same / same.sum(axis=1))


def random_blocks(rng, n, rank_deficient):
    """Return blocks over consecutive columns; those of several classes have a null vector."""
    ends = np.unique(np.append(rng.integers(1, n, size=2), n)) if n > 1 else np.array([1])
    blocks = []
    for a, b in zip([0, *ends[:-1]], ends, strict=True):
        p = rng.dirichlet(np.ones(b - a), size=5)
        h = np.einsum("nk,kl->kl", p, np.eye(b - a)) - p.T @ p
        blocks.append((np.arange(a, b), h if rank_deficient else h + 0.1 * np.eye(b - a)))
    return blocks


def dense(blocks, n):
    H = np.zeros((n, n))
    for columns, block in blocks:
        H[np.ix_(columns, columns)] = block
    return H


def residual(matrix, x, right):
    size = (np.abs(matrix) @ np.abs(x) + np.abs(right)).max()
    return np.abs(matrix @ x - right).max() / (size or 1.0)


@given(SEEDS, STRENGTHS)
def test_pulled_solves_a_diagonal(seed, strength):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    groups, h, r = random_groups(rng, n), rng.uniform(0.1, 2.0, n), rng.normal(size=n)
    x = PulledIntercepts(groups, strength).solve(h, r)
    K = pull_matrix(groups, strength)
    assert residual(np.diag(h) + K, x, r) < 1e-12
    np.testing.assert_allclose(x, np.linalg.solve(np.diag(h) + K, r), rtol=1e-6, atol=1e-7)


@given(SEEDS, STRENGTHS)
def test_pulled_solves_where_tasks_lack_curvature(seed, strength):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    groups = random_groups(rng, n)
    h = rng.uniform(0.1, 2.0, n) * (rng.random(n) < 0.5)
    K = pull_matrix(groups, strength)
    matrix = np.diag(h) + K
    right = matrix @ rng.normal(size=n)
    right[(h == 0) & (np.bincount(groups)[groups] == 1)] = 0.0
    assert residual(matrix, PulledIntercepts(groups, strength).solve(h, right), right) < 1e-10


@given(SEEDS, STRENGTHS, st.booleans())
def test_pulled_solves_blocks(seed, strength, rank_deficient):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    groups, blocks = random_groups(rng, n), random_blocks(rng, n, rank_deficient)
    matrix = dense(blocks, n) + pull_matrix(groups, strength)
    right = matrix @ rng.normal(size=n)
    x = PulledIntercepts(groups, strength).block_solver(blocks)(right)
    assert residual(matrix, x, right) < 1e-8


@given(SEEDS)
def test_pulled_blocks_of_one_column_are_a_diagonal(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    pulled = PulledIntercepts(random_groups(rng, n), 0.7)
    h, r = rng.uniform(0.1, 2.0, n), rng.normal(size=n)
    blocks = [(np.array([k]), np.array([[h[k]]])) for k in range(n)]
    np.testing.assert_allclose(pulled.block_solver(blocks)(r), pulled.solve(h, r), rtol=1e-9)


@given(SEEDS)
def test_tied_solves(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    groups, h, r = random_groups(rng, n), rng.uniform(0.1, 2.0, n), rng.normal(size=n)
    E = np.eye(groups.max() + 1)[groups]
    tied = TiedIntercepts(groups)
    wanted = E @ np.linalg.solve(E.T @ np.diag(h) @ E, E.T @ r)
    np.testing.assert_allclose(tied.solve(h, r), wanted, rtol=1e-9, atol=1e-12)
    blocks = random_blocks(rng, n, rank_deficient=False)
    wanted = E @ np.linalg.solve(E.T @ dense(blocks, n) @ E, E.T @ r)
    np.testing.assert_allclose(tied.block_solver(blocks)(r), wanted, rtol=1e-8, atol=1e-10)


@given(SEEDS)
def test_steps_as_arrays_are_those_of_the_solver(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    groups, h, b, r = random_groups(rng, n), rng.uniform(0.1, 2.0, n), *rng.normal(size=(2, n))
    kinds = [NoIntercepts(), TiedIntercepts(groups), PulledIntercepts(groups, 0.7)]
    for kind in (*kinds, AnchoredIntercepts(rng.normal(size=n), 0.3)):
        a = kind.arrays(h)

        def sums(values, groups=a.groups):
            return np.bincount(groups, values)[groups]

        pull = a.strength * (b - a.anchor - a.share * sums(b))
        np.testing.assert_allclose(pull, kind.gradient(b), atol=1e-12)
        left = r - pull
        step = a.direct * left + a.spread * sums(a.gather * left)
        np.testing.assert_allclose(step, kind.solve(h, left), rtol=1e-9, atol=1e-12)


def test_a_group_without_curvature_stays():
    tied = TiedIntercepts(np.array([0, 1, 1]))
    x = tied.solve(np.array([0.0, 1.0, 1.0]), np.array([0.0, 2.0, 4.0]))
    np.testing.assert_allclose(x, [0.0, 3.0, 3.0])


@given(SEEDS)
def test_pulled_penalty_gradient_and_conjugate(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    groups, b = random_groups(rng, n), rng.normal(size=n)
    pulled = PulledIntercepts(groups, 0.7)
    K = pull_matrix(groups, 0.7)
    assert pulled.penalty(b) == pytest.approx(0.5 * b @ K @ b, abs=1e-12)
    slope = K @ b
    np.testing.assert_allclose(pulled.gradient(b), slope, atol=1e-12)
    assert pulled.conjugate(-slope) == pytest.approx(slope @ b - pulled.penalty(b), abs=1e-12)


def test_what_each_holds():
    alone, two = np.arange(3), np.array([0, 0, 1])
    assert NoIntercepts().own_curvature == TiedIntercepts(two).own_curvature == np.inf
    assert TiedIntercepts(alone).own_curvature == PulledIntercepts(alone, 2.0).own_curvature == 0.0
    assert PulledIntercepts(two, 2.0).own_curvature == 2.0
    assert TiedIntercepts(alone).centres
    assert not PulledIntercepts(two, 2.0).centres
