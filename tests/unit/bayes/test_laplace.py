"""The learned prior of logistic tasks against dense algebra, finite differences and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from scipy.special import expit, log_expit

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Prior, Scalar
from polytask.bayes.laplace import (
    LaplaceMarginal,
    Problem,
    evidence,
    learn_laplace,
    learn_laplace_priors,
)
from polytask.bayes.laplace_mode import Beliefs, Point, posterior_mode
from polytask.bayes.laplace_rows import (
    BlockPosterior,
    Labelled,
    PaddedRows,
    SparseRows,
    Spread,
    row_blocks,
)
from polytask.bayes.posterior import laplace_posterior, posterior_under
from polytask.bayes.prior import Model
from polytask.bayes.search import maximise

STRUCTURES = [
    NoVariation(),
    Scalar(),
    Diagonal(),
    LowRank(1),
    LowRank(2),
    Full(),
    Full(shrinkage=2.0),
]
P, VARYING = 6, np.array([0, 1, 3, 4])
# Tasks without rows, with one, with fewer rows than columns, and with many.
COUNTS = np.array([3, 0, 1, 20, 7, 30, 25, 2])


def labelled(seed=0, counts=COUNTS, p=P, signal=0.5):
    rng = np.random.default_rng(seed)
    n = int(counts.sum())
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y = (rng.random(n) < expit(signal * Z[:, 1])).astype(float)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Labelled(Z, y, rng.uniform(0.5, 2.0, n), offsets)


def mode_of(data, beliefs):
    start = Point(beliefs.mean.copy(), np.zeros((data.n_tasks, len(beliefs.spread.varying))))
    return posterior_mode(row_blocks(data), beliefs, [start])


def dense_evidence(data, covariance, precision, varying=VARYING):
    """The joint Laplace approximation with every matrix written out."""
    T, p, q = data.n_tasks, data.width, len(varying)
    J = np.zeros((len(data.y), p + T * q))
    J[:, :p] = data.Z
    for t in range(T):
        part = slice(data.offsets[t], data.offsets[t + 1])
        J[part, p + t * q : p + (t + 1) * q] = data.Z[part][:, varying]
    prior = np.zeros((p + T * q,) * 2)
    prior[:p, :p] = np.diag(precision)
    for t in range(T):
        own = slice(p + t * q, p + (t + 1) * q)
        prior[own, own] = np.linalg.inv(covariance)
    e = np.zeros(len(prior))
    for _ in range(50):
        rate = expit(J @ e)
        H = (J.T * (data.weight * rate * (1 - rate))) @ J + prior
        e -= np.linalg.solve(H, J.T @ (data.weight * (rate - data.y)) + prior @ e)
    eta = J @ e
    likelihood = np.sum(data.weight * log_expit(np.where(data.y == 1, eta, -eta)))
    logs = np.linalg.slogdet(prior)[1] - np.linalg.slogdet(H)[1]
    return likelihood - 0.5 * e @ prior @ e + 0.5 * logs


def example_prior(seed=1, q=4, p=P):
    rng = np.random.default_rng(seed)
    return 0.7 * np.eye(q) + 0.3 * np.tril(rng.normal(size=(q, q))), rng.uniform(0.2, 2.0, p)


def test_evidence_is_that_of_dense_algebra():
    data, (L, precision) = labelled(), example_prior()
    beliefs = Beliefs(Spread.of(L, VARYING), precision, np.zeros(P))
    mode = mode_of(data, beliefs)
    assert mode.converged
    got = evidence(mode, beliefs).value
    assert_allclose(got, dense_evidence(data, L @ L.T, precision), rtol=1e-10)


def test_wide_tasks_take_the_kernel_form():
    counts = np.array([4, 9, 30])
    data = labelled(3, counts, p=12)
    L, precision = example_prior(q=12, p=12)
    varying = np.arange(12)
    beliefs = Beliefs(Spread.of(L, varying), precision, np.zeros(12))
    got = evidence(mode_of(data, beliefs), beliefs).value
    assert_allclose(got, dense_evidence(data, L @ L.T, precision, varying), rtol=1e-10)


@pytest.mark.parametrize(
    ("structure", "gaussian"), [*((s, True) for s in STRUCTURES), (Diagonal(), False)], ids=repr
)
def test_gradient_is_that_of_finite_differences(structure, gaussian):
    data = labelled()
    model = Model(structure, tuple(VARYING), gaussian_mean=gaussian)
    climb = LaplaceMarginal(Problem(data), model)
    size = structure.n_parameters(len(VARYING))
    params = np.random.default_rng(2).normal(size=size + gaussian) * 0.6
    gradient, step = climb.evaluate(params).gradient, 1e-5
    assert len(gradient) == len(params)
    for j, unit in enumerate(step * np.eye(len(params))):
        ahead, behind = climb.evaluate(params + unit).value, climb.evaluate(params - unit).value
        assert_allclose(gradient[j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def test_intercepts_alone_are_near_quadrature():
    rng = np.random.default_rng(4)
    counts = rng.integers(5, 40, 12)
    rates = expit(0.4 + rng.normal(size=12))
    y = np.concatenate([(rng.random(n) < r) for n, r in zip(counts, rates, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    data = Labelled(np.ones((len(y), 1)), y.astype(float), np.ones(len(y)), offsets)
    deviation, mean = 0.9, np.array([0.4])
    prior = Prior(mean, np.array([[deviation**2]]), np.array([0]), None)
    _, got = posterior_under(prior, data)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    eta, want = mean[0] + deviation * nodes, 0.0
    for n, part in zip(counts, np.split(y, offsets[1:-1]), strict=True):
        k = part.sum()
        density = np.exp(k * log_expit(eta) + (n - k) * log_expit(-eta))
        want += np.log(weights @ density / weights.sum())
    assert got != want
    assert abs(got - want) < 0.02 * len(counts)


def test_sparse_rows_with_a_shift_are_dense_rows():
    data, (L, precision) = labelled(), example_prior()
    shift = np.concatenate([[0.0], np.linspace(-1, 1, P - 1)])
    thin = Labelled(sp.csr_array(data.Z + shift), data.y, data.weight, data.offsets, shift=shift)
    beliefs = Beliefs(Spread.of(L, VARYING), precision, np.zeros(P))
    one, two = (evidence(mode_of(d, beliefs), beliefs) for d in (data, thin))
    assert_allclose(two.value, one.value, rtol=1e-11)
    assert_allclose(two.covariance_gradient, one.covariance_gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("few", [True, False])
def test_a_sparse_task_is_a_padded_task(few):
    counts = np.array([4 if few else 40])
    data = labelled(5, counts)
    rng = np.random.default_rng(0)
    shift = rng.normal(size=P)
    thin = Labelled(sp.csr_array(data.Z + shift), data.y, data.weight, data.offsets, shift=shift)
    one, two = PaddedRows(data, np.array([0]), keep=True), SparseRows(thin, 0)
    w, v, M = rng.normal(size=(1, P)), rng.normal(size=one.y.shape), np.eye(P)[None] + 0.1
    assert_allclose(two.eta(w), one.eta(w), atol=1e-12)
    assert_allclose(two.project(v), one.project(v), atol=1e-12)
    assert_allclose(two.gram(v**2), one.gram(v**2), atol=1e-12)
    assert_allclose(two.forms(M), one.forms(M), atol=1e-12)
    assert_allclose(two.times(M), one.times(M), atol=1e-12)
    assert_allclose(two.squares(M), one.squares(M), rtol=1e-12)
    spread = Spread.of(example_prior()[0], VARYING)
    a, b = (BlockPosterior(rows, v**2, spread) for rows in (one, two))
    assert_allclose(b.variances(np.eye(P)), a.variances(np.eye(P)), atol=1e-10)


def test_the_gram_matrix_takes_columns_in_any_order():
    Z = sp.csr_array((np.arange(1.0, 6), [2, 0, 1, 1, 0], [0, 3, 3, 5]), shape=(3, 4))
    data = Labelled(Z, np.zeros(3), np.ones(3), np.array([0, 3]))
    weight = np.array([[2.0, 5.0, 0.5]])
    want = Z.toarray().T * weight[0] @ Z.toarray()
    assert_allclose(SparseRows(data, 0).gram(weight)[0], want)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rank", [0, 1])
def test_few_directions_give_the_variances_of_the_whole_covariance(rank, known):
    data, rng = labelled(), np.random.default_rng(8)
    factor = rng.normal(size=(4, rank))
    narrow = Spread.of(factor, VARYING)
    whole = Spread(factor @ factor.T, np.column_stack([factor, np.zeros((4, 3))]), VARYING)
    assert narrow.is_narrow
    assert not whole.is_narrow
    vectors = rng.normal(size=(3, 4))
    assert_allclose(narrow.times(vectors), whole.times(vectors), atol=1e-12)
    root = None if known else np.tril(rng.normal(size=(P, P)))
    for rows in row_blocks(data):
        curvature = rng.uniform(0.1, 1.0, rows.y.shape)
        one, two = (BlockPosterior(rows, curvature, spread) for spread in (narrow, whole))
        assert_allclose(one.variances(root), two.variances(root), rtol=1e-9)


@pytest.mark.parametrize("structure", [NoVariation(), Scalar(), Diagonal()], ids=repr)
@pytest.mark.parametrize("mean_known", [True, False])
def test_independent_priors_need_diagonals_only(structure, mean_known):
    data = labelled(3, np.array([4, 9, 30, 5]), p=12)
    varying = np.arange(1, 12)
    assert structure.independent
    factor = structure.factor(np.full(structure.n_parameters(11), 0.6), 11)
    precision = None if mean_known else np.full(12, 0.7)
    beliefs = Beliefs(Spread.of(factor, varying), precision, np.zeros(12))
    mode = mode_of(data, beliefs)
    assert len(mode.posteriors) > 1
    want, got = (evidence(mode, beliefs, independent=only) for only in (False, True))
    for name in ("covariance_gradient", "second_moment"):
        own = np.diagonal(getattr(want, name))
        assert_allclose(getattr(got, name), np.diag(own), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [5, 30])
def test_the_information_about_pairs_is_that_of_what_is_left(n):
    data, rng = labelled(3, np.array([n]), p=12), np.random.default_rng(2)
    varying, factor = np.arange(1, 12), 0.4 * rng.normal(size=(11, 11))
    curvature = rng.uniform(0.1, 1.0, (1, n))
    (rows,) = row_blocks(data)
    found = BlockPosterior(rows, curvature, Spread.of(factor, varying)).pair_information()
    X = data.Z[:, varying]
    R = np.linalg.inv(np.diag(1 / curvature[0]) + X @ factor @ factor.T @ X.T)
    left = X.T @ R @ X
    own = np.diagonal(left)
    assert_allclose(found, np.multiply.outer(own, own) + left**2, rtol=1e-9)


@pytest.mark.parametrize("few_vary", [True, False])
def test_own_variances_of_wide_tasks_are_tried_where_they_promise_their_price(
    few_vary, monkeypatch
):
    monkeypatch.setattr("polytask.bayes.laplace._WIDE", 5)
    monkeypatch.setattr("polytask.bayes.choose._WIDE", 5)
    rng = np.random.default_rng(5)
    T, n, d = 30, 60, 8
    deviations = np.where(np.arange(d) < 2, 2.0, 0.0) if few_vary else np.full(d, 0.8)
    Z = np.column_stack([np.ones(T * n), rng.normal(size=(T * n, d))])
    w = rng.normal(size=(T, d)) * deviations
    eta = np.einsum("ij,ij->i", Z[:, 1:], np.repeat(w, n, axis=0))
    y = (rng.random(T * n) < expit(eta)).astype(float)
    data = Labelled(Z, y, np.ones(T * n), np.arange(T + 1) * n)
    every = tuple(range(d + 1))
    (found,), candidates = learn_laplace_priors([data], None, every, True, (1e-5, 200))
    tried = [candidate.structure for candidate in candidates]
    assert (Diagonal() in tried) is few_vary
    assert found.model.structure == (Diagonal() if few_vary else Scalar())


def test_rows_in_pieces_are_rows_at_once(monkeypatch):
    data, (L, precision) = labelled(), example_prior()
    beliefs = Beliefs(Spread.of(L, VARYING), precision, np.zeros(P))
    want = evidence(mode_of(data, beliefs), beliefs)
    monkeypatch.setattr("polytask.bayes.laplace_rows._BLOCK_ENTRIES", 40)
    monkeypatch.setattr("polytask.bayes.laplace_rows._KEPT_ENTRIES", 0)
    assert len(row_blocks(data)) > 4
    got = evidence(mode_of(data, beliefs), beliefs)
    assert_allclose(got.value, want.value, rtol=1e-11)
    assert_allclose(got.covariance_gradient, want.covariance_gradient, rtol=1e-8, atol=1e-10)


def test_a_step_of_em_raises_the_evidence():
    data = labelled(signal=1.0)
    precision = np.full(P, 1e-2)
    C, values = 0.3 * np.eye(4), []
    for _ in range(6):
        beliefs = Beliefs(Spread.from_covariance(C, VARYING), precision, np.zeros(P))
        found = evidence(mode_of(data, beliefs), beliefs)
        values.append(found.value)
        C = found.second_moment
    assert np.all(np.linalg.eigvalsh(C) > 0)
    # EM on an approximate posterior need not be monotone to the last digit.
    assert np.diff(values)[:3].min() > 0


def learn(data, structure=None, gaussian=True):
    model = Model(structure or Diagonal(), tuple(range(data.width)), gaussian_mean=gaussian)
    return learn_laplace([Problem(data)], model, (1e-7, 400), [None])[0]


def simulated(deviation, T=40, n=40, p=3, seed=0):
    rng = np.random.default_rng(seed)
    w = np.array([0.3, 1.0, -1.0]) + deviation * rng.normal(size=(T, p))
    Z = np.concatenate([np.ones((T * n, 1)), rng.normal(size=(T * n, p - 1))], axis=1)
    eta = np.sum(Z * np.repeat(w, n, axis=0), axis=1)
    y = (rng.random(T * n) < expit(eta)).astype(float)
    return Labelled(Z, y, np.ones(T * n), np.arange(T + 1) * n), w


def test_the_spread_is_found():
    data, _ = simulated(0.8, T=120)
    found = learn(data, Scalar(), gaussian=False)
    assert found.converged
    assert_allclose(np.sqrt(np.diagonal(found.beliefs.spread.covariance)), 0.8, atol=0.15)
    assert_allclose(found.mode.point.mean, [0.3, 1.0, -1.0], atol=0.25)


def test_tasks_that_are_alike_get_no_spread():
    data, _ = simulated(0.0, n=100)
    found = learn(data)
    assert found.converged
    assert np.diagonal(found.beliefs.spread.covariance).max() < 0.03


def test_tasks_that_are_unlike_are_left_alone():
    data, _ = simulated(3.0, T=8, n=300, seed=3)
    found = learn(data)
    own = found.mode.point.coefficients(found.beliefs.spread)
    for t in range(8):
        part = slice(300 * t, 300 * (t + 1))
        Z, y, alone = data.Z[part], data.y[part], np.zeros(3)
        for _ in range(30):
            rate = expit(Z @ alone)
            alone += np.linalg.solve((Z.T * (rate * (1 - rate))) @ Z, Z.T @ (y - rate))
        assert np.mean(np.abs(expit(Z @ own[t]) - expit(Z @ alone))) < 0.02


def test_a_variance_at_zero_is_left_when_the_evidence_wants_it():
    data, _ = simulated(1.0)
    climb = LaplaceMarginal(Problem(data), Model(Diagonal(), (0, 1, 2)))
    stuck = maximise(climb, np.array([0.5, 0.8, 0.8]), 1e-7, 400).at.params * [0.0, 1.0, 1.0]
    assert climb.evaluate(stuck).gradient[0] == 0.0
    moved = maximise(climb, stuck, 1e-7, 400, expect=False).at
    assert moved.params[0] != 0.0
    assert moved.value < climb.evaluate(stuck).value


def posterior(data, L=None):
    own, precision = example_prior()
    beliefs = Beliefs(Spread.of(own if L is None else L, VARYING), precision, np.zeros(P))
    mode = mode_of(data, beliefs)
    C = beliefs.spread.covariance
    prior = Prior(mode.point.mean, C, VARYING, None, mode.mean_covariance)
    return mode, laplace_posterior(mode, beliefs, prior, data)


def test_variances_are_those_of_the_joint_posterior():
    data = labelled()
    mode, kept = posterior(data)
    for block in mode.posteriors:
        want = block.variances(mode.inverse_root)
        for k, t in enumerate(block.rows.tasks):
            Z = data.Z[data.offsets[t] : data.offsets[t + 1]]
            assert_allclose(kept.variance(Z, t), want[k, : len(Z)], rtol=1e-8)
            dense = np.einsum("ij,jk,ik->i", Z, kept.covariance(t), Z)
            assert_allclose(dense, want[k, : len(Z)], rtol=1e-8)
    Z = data.Z[:5]
    unseen = np.einsum("ij,jk,ik->i", Z, kept.prior.spread, Z)
    assert_allclose(kept.variance(Z, -1), unseen)
    assert_allclose(kept.variance(Z, 1), unseen)  # a task without rows


def test_a_new_task_gets_the_laplace_posterior_of_its_rows():
    data = labelled()
    _, kept = posterior(data)
    rows = slice(31, 61)
    Z, y, weight = data.Z[rows], data.y[rows], data.weight[rows]
    new = Labelled(Z, y, weight, np.array([0, len(y)]))
    grown = kept.updated(new, np.array([data.n_tasks]))
    w, C = kept.prior.mean.copy(), kept.prior.covariance
    for _ in range(30):
        rate = expit(Z @ w)
        X = Z[:, VARYING]
        H = (X.T * (weight * rate * (1 - rate))) @ X + np.linalg.inv(C)
        slope = X.T @ (weight * (y - rate)) - np.linalg.solve(C, (w - kept.prior.mean)[VARYING])
        w[VARYING] += np.linalg.solve(H, slope)
    assert_allclose(grown.coef[-1], w, atol=1e-8)
    own = grown.covariance(data.n_tasks)[np.ix_(VARYING, VARYING)]
    without = Prior(kept.prior.mean, C, VARYING, None)
    known = type(grown)(without, grown.coef, grown.rows, grown.response, grown.offsets)
    got = known.covariance(data.n_tasks)[np.ix_(VARYING, VARYING)]
    assert_allclose(got, np.linalg.inv(H), rtol=1e-6, atol=1e-10)
    assert np.all(np.diagonal(own) >= np.diagonal(got))
    assert_allclose(grown.coef[:-1], kept.coef)


def test_no_rows_change_nothing():
    data = labelled()
    _, kept = posterior(data)
    none = Labelled(data.Z[:0], data.y[:0], data.weight[:0], np.array([0, 0, 0]))
    same = kept.updated(none, np.array([5, 0]))
    assert_allclose(same.coef, kept.coef, atol=1e-9)
    for t in (0, 5):
        assert_allclose(same.covariance(t), kept.covariance(t), atol=1e-9)


def test_rows_in_two_calls_are_nearly_rows_in_one():
    data, _ = simulated(0.7, T=30, n=60)
    found = learn(data, Scalar(), gaussian=False)
    C = found.beliefs.spread.covariance
    prior = Prior(found.mode.point.mean, C, np.arange(3), None)
    part = Labelled(data.Z[:60], data.y[:60], data.weight[:60], np.array([0, 60]))
    at_once, _ = posterior_under(prior, part)
    half = Labelled(data.Z[:30], data.y[:30], data.weight[:30], np.array([0, 30]))
    rest = Labelled(data.Z[30:60], data.y[30:60], data.weight[30:60], np.array([0, 30]))
    in_two = posterior_under(prior, half)[0].updated(rest, np.array([0]))
    spread = np.sqrt(np.diagonal(at_once.covariance(0)))
    assert np.abs(in_two.coef - at_once.coef).max() < 0.5 * spread.max()
    assert np.abs(in_two.coef - at_once.coef).max() > 1e-6  # the summary is quadratic
