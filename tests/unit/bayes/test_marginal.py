"""The marginal likelihood against dense formulas, its gradient against differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes.blocks import block_of, collect_shared, collect_stacked, merged
from polytask.bayes.choose import promised_gains
from polytask.bayes.normal import Marginal, choose_normal, learn, pull_to_common
from polytask.bayes.posterior import line_of, posterior_covariance, posterior_means
from polytask.bayes.prior import Model, Prior

SIZES = (3, 7, 2, 9, 5, 1)
P = 4
STRUCTURES = [NoVariation(), Scalar(), Diagonal(), LowRank(1), LowRank(2), Full(), Full(3.0)]


def tasks(sizes=SIZES, seed=0, p=P, weighted=True, spread=1.0):
    rng = np.random.default_rng(seed)
    found = []
    for n in sizes:
        X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
        y = X @ (1.0 + spread * rng.normal(size=p)) + rng.normal(size=n)
        found.append((X, y, rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)))
    return found


def blocks_of(data):
    X, y, v = (np.concatenate([part[i] for part in data]) for i in range(3))
    offsets = np.cumsum([0, *[len(part[1]) for part in data]])
    return collect_stacked(lambda i: X[i], X.shape[1], y, v, offsets)


def dense(model, params, data):
    """The likelihood as it is defined, with covariances of all rows."""
    marginal = Marginal(blocks_of(data), model, len(data))
    own, log_noise, log_mean = marginal.unpack(params)
    Z = list(model.varying)
    Psi, p = model.structure.covariance(own, len(Z)), data[0][0].shape[1]
    B, b, yy, log_det, count = np.zeros((p, p)), np.zeros(p), 0.0, 0.0, 0.0
    for t, (X, y, v) in enumerate(data):
        log_rho = 0.0 if log_noise is None else log_noise[t]
        S = np.exp(log_rho) * np.diag(1 / v) + X[:, Z] @ Psi @ X[:, Z].T
        B += X.T @ np.linalg.solve(S, X)
        b += X.T @ np.linalg.solve(S, y)
        yy += y @ np.linalg.solve(S, y)
        # A row of weight v counts as v rows.
        log_det += np.linalg.slogdet(S)[1] + np.log(v).sum() + (v.sum() - len(v)) * log_rho
        count += v.sum()
    inside = np.zeros(p, dtype=bool)
    flat = p if model.restricted else 0
    if model.gaussian_mean:
        B = B + np.diag([0.0] + [np.exp(-log_mean)] * (p - 1))
        inside[1:] = True
        log_det += (p - 1) * log_mean
        flat = 1 if model.restricted else 0
    inside |= model.restricted
    if inside.any():
        log_det += np.linalg.slogdet(B[np.ix_(inside, inside)])[1]
    nu = count - flat
    s2 = (yy - b @ np.linalg.solve(B, b) + marginal.floor) / nu
    return -0.5 * (nu * np.log(2 * np.pi * s2) + nu + log_det)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("varying", [(0, 1, 2, 3), (0, 2)])
def test_value_and_gradient(structure, varying):
    data = tasks()
    blocks = blocks_of(data)
    rng = np.random.default_rng(1)
    for restricted, gaussian, noise in itertools.product(
        (False, True), (False, True), (None, 2.0)
    ):
        model = Model(structure, varying, restricted, gaussian, noise)
        marginal = Marginal(blocks, model, len(data))
        params = 0.5 * rng.normal(size=sum(marginal.sizes))
        found = marginal.evaluate(params)
        assert_allclose(found.detail.log_likelihood, dense(model, params, data), rtol=1e-10)
        steps = 1e-5 * np.eye(len(params))
        numeric = [
            (marginal.evaluate(params + h).value - marginal.evaluate(params - h).value) / 2e-5
            for h in steps
        ]
        assert_allclose(found.gradient, numeric, rtol=1e-5, atol=1e-5)


def test_blocks_that_are_not_kept_give_the_same(monkeypatch):
    data = tasks()
    model = Model(Full(), (0, 1, 2, 3), True, True, 3.0)
    marginal = Marginal(blocks_of(data), model, len(data))
    params = np.full(sum(marginal.sizes), 0.3)
    first = marginal.evaluate(params)
    monkeypatch.setattr("polytask.bayes.normal._KEPT_ENTRIES", 0)
    second = marginal.evaluate(params)
    assert first.value == second.value
    assert_allclose(first.gradient, second.gradient, rtol=1e-12)


def test_moments_and_rows_answer_alike():
    (X, y, v) = tasks((9,))[0]
    root = np.sqrt(v)[:, None]
    rows = (np.array([[0]]), np.array([v.sum()]), (X * root)[None], (y[:, None] * root)[None])
    moments = block_of(*rows)
    narrow = block_of(rows[0], rows[1], rows[2][:, :2], rows[3][:, :2])
    assert type(moments) is not type(narrow)
    from polytask.bayes.blocks import Rows

    L, varying = np.tril(np.full((P, P), 0.4)), slice(None)
    one, other = moments.reduce(L, varying), Rows(*rows).reduce(L, varying)
    beta = np.arange(P) / 3.0
    for name in ("gram", "cross", "square", "log_determinant"):
        assert_allclose(getattr(one.totals(), name), getattr(other.totals(), name), rtol=1e-9)
    assert_allclose(one.scores(beta, varying), other.scores(beta, varying), atol=1e-9)
    assert_allclose(one.misfits(beta), other.misfits(beta), rtol=1e-9)


def test_shared_designs_are_the_tasks_one_by_one():
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(12), rng.normal(size=(12, 3))])
    Y = rng.normal(size=(12, 5))
    weight = np.ones((12, 5)) * rng.uniform(0.5, 2, 12)[:, None]
    weight[8:, 3:] = 0.0
    weight[3:, 4] = 0.0
    shared = collect_shared(lambda i: X[i], 4, np.where(weight > 0, Y, 0), weight)
    assert len(shared) == 3
    apart = [
        (X[weight[:, t] > 0], Y[weight[:, t] > 0, t], weight[weight[:, t] > 0, t])
        for t in range(5)
    ]
    for noise in (None, 2.0):
        model = Model(Diagonal(), (0, 1, 2, 3), True, False, noise)
        one, other = Marginal(shared, model, 5), Marginal(blocks_of(apart), model, 5)
        params = np.linspace(0.1, 0.9, sum(one.sizes))
        first, second = one.evaluate(params), other.evaluate(params)
        assert_allclose(first.value, second.value, rtol=1e-10)
        assert_allclose(first.gradient, second.gradient, rtol=1e-8, atol=1e-8)


def test_large_tasks_are_summed_in_pieces(monkeypatch):
    data = tasks((40, 60))
    whole = blocks_of(data)
    monkeypatch.setattr("polytask.bayes.blocks._BLOCK_ENTRIES", 50)
    pieces = blocks_of(data)
    assert len(pieces) == 2
    model = Model(Full(), (0, 1, 2, 3))
    params = np.full(10, 0.2)
    values = [Marginal(b, model, 2).evaluate(params).value for b in (whole, pieces)]
    assert_allclose(values[0], values[1], rtol=1e-10)


def prior_of(p=P, varying=(0, 1, 3)):
    rng = np.random.default_rng(5)
    root = rng.normal(size=(len(varying), len(varying)))
    return Prior(rng.normal(size=p), root @ root.T, np.array(varying), 0.7, 0.1 * np.eye(p))


def test_the_posterior_is_that_of_the_dense_formula():
    data, prior = tasks(), prior_of()
    blocks = blocks_of(data)
    means = posterior_means(blocks, prior, len(data) + 1)
    J = np.eye(P)[:, prior.varying]
    for t, (X, y, v) in enumerate(data):
        S = prior.noise * np.diag(1 / v) + X @ J @ prior.covariance @ J.T @ X.T
        gain = J @ prior.covariance @ J.T @ X.T @ np.linalg.inv(S)
        assert_allclose(means[t], prior.mean + gain @ (y - X @ prior.mean), atol=1e-8)
        left = J @ prior.covariance @ J.T - gain @ X @ J @ prior.covariance @ J.T
        passed = np.eye(P) - gain @ X
        expected = left + passed @ prior.mean_covariance @ passed.T
        found = posterior_covariance(line_of(blocks, t), prior, prior.noise)
        assert_allclose(found, expected, atol=1e-8)
    assert_allclose(means[-1], prior.mean)
    assert_allclose(posterior_covariance(None, prior, 0.7), prior.spread)


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_rows_add(cut):
    data, prior = tasks((30, 8, 2, 25, 3)), prior_of()
    first = [tuple(a[:cut] for a in part) for part in data]
    rest = [tuple(a[cut:] for a in part) for part in data]
    whole = posterior_means(blocks_of(data), prior, 5)
    joined = merged(blocks_of(first), blocks_of(rest))
    seen = np.concatenate([b.tasks.ravel() for b in joined])
    assert sorted(seen.tolist()) == list(range(5))
    assert_allclose(posterior_means(joined, prior, 5), whole, atol=1e-8)


def test_noise_of_tasks():
    data, prior = tasks(), prior_of()
    noise = np.linspace(0.5, 2.0, len(data))
    own = Prior(prior.mean, prior.covariance, prior.varying, noise)
    together = posterior_means(blocks_of(data), own, len(data))
    for t in range(len(data)):
        alone = Prior(prior.mean, prior.covariance, prior.varying, noise[t])
        expected = posterior_means(blocks_of(data), alone, len(data))[t]
        assert_allclose(together[t], expected, atol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("restricted", [False, True])
def test_the_maximum_is_one(structure, restricted):
    data = tasks((12,) * 25, weighted=False)
    learned = learn(blocks_of(data), Model(structure, (0, 1, 2, 3), restricted), 25, tol=1e-6)
    assert learned.converged
    marginal = Marginal(blocks_of(data), learned.model, 25)
    best = marginal.evaluate(learned.params).value
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = learned.params * (1 + 0.02 * rng.normal(size=len(learned.params)))
        assert marginal.evaluate(moved).value > best - 1e-9


def test_em_steps_do_not_lower_the_likelihood():
    from polytask.bayes.search import expected_second

    data = tasks((6,) * 12, weighted=False)
    marginal = Marginal(blocks_of(data), Model(Diagonal(), (0, 1, 2, 3)), 12)
    params, values = np.full(P, 0.1), []
    for _ in range(15):
        found = marginal.evaluate(params)
        values.append(found.value)
        params = np.sqrt(np.diagonal(expected_second(np.diag(params**2), found.slope, 12)))
    assert np.all(np.diff(values) < 1e-9)
    assert values[-1] < values[0]


def test_a_start_at_zero_is_left():
    data = tasks((10,) * 20, weighted=False)
    model = Model(Diagonal(), (0, 1, 2, 3))
    reference = learn(blocks_of(data), model, 20)
    from dataclasses import replace

    stuck = replace(reference, params=np.zeros(P))
    freed = learn(blocks_of(data), model, 20, start=stuck)
    assert_allclose(freed.covariance, reference.covariance, rtol=2e-2, atol=1e-3)


def test_identical_tasks_have_no_spread():
    data = tasks((30,) * 15, weighted=False, spread=0.0)
    learned, _ = choose_normal(blocks_of(data), Model(NoVariation(), (0, 1, 2, 3)), 15)
    assert isinstance(learned.model.structure, NoVariation)
    assert learned.covariance[0, 0] < 0.05


def correlated_tasks(T, n, seed=0):
    rng = np.random.default_rng(seed)
    direction = np.array([1.0, 1.0, -1.0, 1.0])
    found = []
    for _ in range(T):
        X = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])
        w = rng.normal() * direction + 0.05 * rng.normal(size=4)
        found.append((X, X @ w + rng.normal(size=n), np.ones(n)))
    return found


def test_correlation_is_found():
    data = correlated_tasks(60, 12)
    learned, tried = choose_normal(blocks_of(data), Model(NoVariation(), (0, 1, 2, 3)), 60)
    assert isinstance(learned.model.structure, LowRank | Full)
    assert max(tried, key=lambda c: c.score).structure == learned.model.structure
    scores = {type(c.structure): c.score for c in tried}
    assert scores[Diagonal] > scores[NoVariation]


def test_a_sample_of_many_tasks_chooses_alike(monkeypatch):
    data = correlated_tasks(90, 8)
    model = Model(NoVariation(), (0, 1, 2, 3))
    everything, _ = choose_normal(blocks_of(data), model, 90)
    monkeypatch.setattr("polytask.bayes.normal._SAMPLE", 30)
    sampled, tried = choose_normal(blocks_of(data), model, 90)
    assert {c.n_tasks for c in tried} == {30}
    assert sampled.model.structure == everything.model.structure
    assert_allclose(sampled.covariance, everything.covariance, rtol=0.05, atol=1e-3)


def test_the_score_test_sees_correlation_and_its_absence():
    promises = []
    for data in (correlated_tasks(60, 12), tasks((12,) * 60, weighted=False)):
        learned = learn(blocks_of(data), Model(Diagonal(), (0, 1, 2, 3)), 60)
        marginal = Marginal(blocks_of(data), learned.model, 60)
        slope = marginal.evaluate(learned.params).slope
        information = marginal.information(learned.params)
        promises.append(promised_gains(slope, information, learned.relative, 60)[0])
    assert promises[0] > 20.0
    assert promises[1] < 6.0


def test_noise_that_differs_is_pulled_less():
    rng = np.random.default_rng(2)
    pulls = []
    for unlike in (0.0, 0.8):
        data = []
        for _ in range(40):
            X = np.column_stack([np.ones(30), rng.normal(size=(30, 3))])
            deviation = np.exp(unlike * rng.normal())
            data.append((X, X @ np.ones(4) + deviation * rng.normal(size=30), np.ones(30)))
        learned = learn(blocks_of(data), Model(Scalar(), (0, 1, 2, 3)), 40)
        pulls.append(pull_to_common(blocks_of(data), learned, 40))
    assert pulls[0] > 40.0
    assert pulls[1] < 10.0
