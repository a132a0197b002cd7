"""Learned covariance and clusters: against other formulas, at the borders, and read off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from polytask import MultiTaskRegressor
from polytask.exceptions import ParameterError
from polytask.penalties import L2, Clustered, LearnedCovariance, TraceNorm
from polytask.penalties import spectral as spectral_boxes
from polytask.penalties.spectral import water_level

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
SEEDS = st.integers(0, 2**32 - 1)


def with_spectrum(values, shape=(7, 5), seed=0):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in shape)
    return (left[:, : len(values)] * values) @ right[: len(values)]


def spectrum(seed):
    """Singular values with ties and zeros over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    values = 10.0 ** rng.uniform(-6, 3, size=5) * (rng.random(5) < 0.8)
    values[rng.integers(5)] = values[rng.integers(5)]
    return np.sort(values)[::-1]


def eigenvalues(values, low, free):
    """The best t_i, by root finding on the multiplier instead of by breakpoints."""
    if np.count_nonzero(values) <= free:
        return np.where(values > 0, 1 + low, low)

    def excess(log_level):
        return np.clip(values / np.exp(log_level), low, 1 + low).sum() - free - low * len(values)

    return np.clip(values / np.exp(brentq(excess, -60, 60, xtol=1e-14)), low, 1 + low)


# ------------------------------------------------------------------ values and prox


@given(SEEDS, st.sampled_from([0.01, 0.5, 3.0]), st.integers(1, 6))
def test_values_and_prox_of_clusters_by_root_finding(seed, ratio, k):
    values = spectrum(seed)
    penalty, V = Clustered(0.3, ratio, k), with_spectrum(values, seed=seed % 7)
    factor = 2 * 0.3 * ratio * (1 + ratio)
    t = eigenvalues(values, ratio, min(k, 5))
    wanted = 0.5 * factor * (values**2 / t).sum()
    assert penalty.value(V) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    t = eigenvalues(values, ratio + 0.7 * factor, min(k, 5))
    shrunk = with_spectrum(values * (1 - 0.7 * factor / t), seed=seed % 7)
    np.testing.assert_allclose(penalty.prox(V, 0.7), shrunk, atol=1e-10 * (1 + values[0]))


@given(SEEDS, st.sampled_from([1e-6, 0.02, 0.5, 30.0]))
def test_a_learned_covariance_thresholds_by_sorting(seed, step):
    values = spectrum(seed)
    V = with_spectrum(values, seed=seed % 7)
    assert LearnedCovariance(2.0).value(V) == pytest.approx(values.sum() ** 2, rel=1e-9)
    share = np.cumsum(values) / (1 + 2.0 * step * np.arange(1, 6))
    lowered = with_spectrum(np.maximum(values - 2.0 * step * share.max(), 0), seed=seed % 7)
    got = LearnedCovariance(2.0).prox(V, step)
    np.testing.assert_allclose(got, lowered, atol=1e-10 * (1 + values[0]))


@pytest.mark.parametrize("penalty", [LearnedCovariance(0.2), Clustered(0.2, 0.1, 2)], ids=repr)
def test_the_prox_from_squares_is_that_of_the_decomposition(penalty, monkeypatch):
    short, taken = spectral_boxes._from_squares, []

    def spied(*parts):
        taken.append(short(*parts))
        return taken[-1]

    points = [V for seed in range(20) for V in (RNG.normal(size=(7, 5)), RNG.normal(size=(5, 9)))]
    points += [with_spectrum(spectrum(seed)) for seed in range(20)]
    monkeypatch.setattr(spectral_boxes, "_from_squares", spied)
    first = [penalty.prox(V, 0.5) for V in points]
    assert sum(done is not None for done in taken) >= 40
    monkeypatch.setattr(spectral_boxes, "_from_squares", lambda *parts: None)
    for V, got in zip(points, first, strict=True):
        np.testing.assert_allclose(got, penalty.prox(V, 0.5), atol=1e-10 * (1 + np.abs(V).max()))


def test_a_prox_of_low_rank():
    values = np.array([3.0, 1.0, 0.1, 0.01])
    amount = 0.5 * (4.0 / (1 + 2 * 0.5))
    got = LearnedCovariance(1.0).prox(with_spectrum(values), 0.5)
    found = np.linalg.svd(got, compute_uv=False)[:4]
    assert (np.maximum(values - amount, 0) > 0).sum() == np.linalg.matrix_rank(got, tol=1e-9) == 1
    assert found[0] == pytest.approx(3.0 - 0.5 * 3.0 / 1.5)


def test_the_level_of_the_water():
    assert water_level(np.array([4.0, 2.0, 1.0]), 0.0, 1) == pytest.approx(7.0)
    assert water_level(np.array([4.0, 2.0, 1.0]), 0.5, 3) <= 1.0 / 1.5
    assert water_level(np.array([4.0, 2.0, 0.0]), 0.5, 2) <= 2.0 / 1.5 + 1e-12
    assert water_level(np.array([4.0, 0.0, 0.0]), 0.5, 2) == 0
    assert water_level(np.zeros(3), 0.5, 2) == 0
    # All lie between the bounds: 4 / 3 + 2 / 3 + 1.5 / 3 = 1 + 3 * 0.5.
    assert water_level(np.array([4.0, 2.0, 1.5]), 0.5, 1) == pytest.approx(3.0)


def test_single_precision_stays_and_is_near():
    V = with_spectrum(np.geomspace(1, 1e-5, 5))
    for penalty in (LearnedCovariance(0.3), Clustered(0.3, 0.2, 2)):
        got = penalty.prox(V.astype(np.float32), 0.5)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, penalty.prox(V, 0.5), atol=1e-6)


@pytest.mark.parametrize("penalty", [LearnedCovariance(0.0), Clustered(0.0)], ids=repr)
def test_a_strength_of_zero(penalty):
    assert penalty.value(W) == 0
    np.testing.assert_array_equal(penalty.prox(W, 1.0), W)
    assert penalty.conjugate(W) == np.inf
    assert penalty.conjugate(0 * W) == 0
    assert penalty.feasible_scale(W) == 0
    assert penalty.feasible_scale(0 * W) == np.inf


def test_parameters_that_are_refused():
    with pytest.raises(ParameterError, match="ratio of Clustered must be a finite number > 0"):
        Clustered(1.0, 0.0)
    with pytest.raises(ParameterError, match="n_clusters of Clustered must be an integer >= 1"):
        Clustered(1.0, 0.5, 2.5)
    with pytest.raises(ParameterError, match="alpha of LearnedCovariance"):
        LearnedCovariance(-1.0)


def test_what_merges():
    assert LearnedCovariance(1.0).merged(LearnedCovariance(2.0)) == LearnedCovariance(3.0)
    assert Clustered(1.0, 0.5, 3).merged(Clustered(2.0, 0.5, 3)) == Clustered(3.0, 0.5, 3)
    assert Clustered(1.0, 0.5, 3).merged(Clustered(2.0, 0.5, 2)) is None
    assert Clustered(1.0, 0.5, 3).merged(LearnedCovariance(2.0)) is None


def test_a_shift_keeps_the_gap():
    model = MultiTaskRegressor(LearnedCovariance(0.1).shifted(np.ones((3, 2))), intercept=None)
    model.fit(RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2)))
    assert model.solution_.gap is not None


# ------------------------------------------------------------------ reductions


@pytest.mark.parametrize("k", [4, 5, 40])
def test_as_many_clusters_as_columns_are_a_ridge(k):
    ridge, penalty = L2(2 * 0.3 * 0.7), Clustered(0.3, 0.7, k)
    assert penalty.value(W) == pytest.approx(ridge.value(W))
    np.testing.assert_allclose(penalty.prox(W, 0.6), ridge.prox(W, 0.6), atol=1e-12)
    assert penalty.conjugate(W) == pytest.approx(ridge.conjugate(W))


def test_one_cluster_with_cheap_centres_tends_to_a_learned_covariance():
    limit = LearnedCovariance(2 * 0.3)
    apart = []
    for ratio in (1e-2, 1e-4, 1e-6):
        near = Clustered(0.3 / ratio, ratio, 1)
        apart.append(
            (
                abs(near.value(W) - limit.value(W)),
                np.abs(near.prox(W, 0.6) - limit.prox(W, 0.6)).max(),
                abs(near.conjugate(W) - limit.conjugate(W)),
            )
        )
    for later, earlier in zip(apart[1:], apart, strict=False):
        assert all(b < 0.02 * a for a, b in zip(earlier, later, strict=True))


def test_a_learned_covariance_of_one_column_is_a_ridge():
    w = W[:, :1]
    assert LearnedCovariance(0.3).value(w) == pytest.approx(L2(0.3).value(w))
    np.testing.assert_allclose(LearnedCovariance(0.3).prox(w, 2.0), L2(0.3).prox(w, 2.0))


# ------------------------------------------------------------------ what is read off


def test_the_learned_covariance():
    C = LearnedCovariance.covariance(W)
    np.testing.assert_allclose(C, C.T, atol=1e-14)
    assert np.trace(C) == pytest.approx(1.0)
    np.testing.assert_allclose(C @ C, W.T @ W / np.trace(W.T @ W @ np.linalg.inv(C)), atol=1e-12)
    assert 0.15 * np.trace(W @ np.linalg.inv(C) @ W.T) == pytest.approx(
        LearnedCovariance(0.3).value(W)
    )
    for seed in range(20):  # no other covariance is cheaper
        root = np.random.default_rng(seed).normal(size=(4, 4))
        other = 0.9 * C + 0.1 * root @ root.T / np.trace(root @ root.T)
        cost = 0.15 * np.trace(W @ np.linalg.inv(other) @ W.T)
        assert cost >= LearnedCovariance(0.3).value(W)
    assert (LearnedCovariance.covariance(0 * W) == 0).all()


def test_the_learned_covariance_tells_who_goes_with_whom():
    rng = np.random.default_rng(1)
    X, w = rng.normal(size=(80, 6)), rng.normal(size=6)
    Y = X @ np.column_stack([w, w, -w]) + 0.3 * rng.normal(size=(80, 3))
    model = MultiTaskRegressor(LearnedCovariance(0.05)).fit(X, Y)
    C = LearnedCovariance.covariance(model.coef_.T)
    assert C[0, 1] > 0.3
    assert C[0, 2] < -0.3
    assert C[1, 2] < -0.3


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_relaxed_assignment_attains_the_minimum(k):
    penalty = Clustered(0.3, 0.4, k)
    M = penalty.membership(W)
    inside = np.linalg.eigvalsh(M)
    assert inside.min() > -1e-12
    assert inside.max() < 1 + 1e-12
    assert np.trace(M) == pytest.approx(k)
    cost = 0.3 * 0.4 * 1.4 * np.trace(W @ np.linalg.inv(0.4 * np.eye(4) + M) @ W.T)
    assert cost == pytest.approx(penalty.value(W))


def test_a_relaxed_assignment_of_low_rank():
    one = np.outer(np.arange(1.0, 4.0), np.ones(4))
    np.testing.assert_allclose(Clustered(1.0, 0.4, 2).membership(one), 0.25, atol=1e-12)
    assert (Clustered().membership(0 * one) == 0).all()
    assert Clustered().membership(np.zeros((0, 3))).shape == (3, 3)


def planted(seed, noise=0.3):
    rng = np.random.default_rng(seed)
    owner = np.array([0, 1, 0, 2, 1, 2, 0, 1, 2, 2])
    centres = rng.normal(size=(8, 3))
    X = rng.normal(size=(60, 8))
    coefficients = centres[:, owner] + 0.1 * rng.normal(size=(8, 10))
    return X, X @ coefficients + noise * rng.normal(size=(60, 10)), owner


@pytest.mark.parametrize("seed", range(5))
def test_planted_clusters_are_found(seed):
    X, Y, owner = planted(seed)
    penalty = Clustered(0.05, 0.1, 3)
    model = MultiTaskRegressor(penalty).fit(X, Y)
    np.testing.assert_array_equal(penalty.clusters(model.coef_.T), owner)
    M = penalty.membership(model.coef_.T)
    together = owner[:, None] == owner[None, :]
    assert M[together].min() > np.abs(M[~together]).max()


def test_numbers_of_clusters():
    two = np.array([[1.0, -1.0, 1.1, -1.0], [2.0, -2.0, 2.0, -2.1]])
    np.testing.assert_array_equal(Clustered(n_clusters=2).clusters(two), [0, 1, 0, 1])
    np.testing.assert_array_equal(Clustered(n_clusters=2).clusters(two[:, ::-1]), [0, 1, 0, 1])
    assert set(Clustered(n_clusters=9).clusters(W)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(Clustered(n_clusters=1).clusters(W), [0, 0, 0, 0])
    np.testing.assert_array_equal(Clustered().clusters(np.zeros((3, 4))), [0, 0, 0, 0])
    np.testing.assert_array_equal(Clustered().clusters(W[:, :1]), [0])
    assert Clustered().clusters(W[:, :0]).shape == (0,)


def test_the_trace_norm_has_the_slope_of_a_learned_covariance():
    size = np.linalg.svd(W, compute_uv=False).sum()
    step = 0.1
    Z = LearnedCovariance(1.0).prox(W, step)
    strength = np.linalg.svd(Z, compute_uv=False).sum()
    assert strength < size
    np.testing.assert_allclose(TraceNorm(strength).prox(W, step), Z, atol=1e-12)
