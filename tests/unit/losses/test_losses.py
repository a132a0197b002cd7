"""Values of the losses against independent formulas."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

from polytask.losses import LOSSES, Logistic, Multinomial, Squared

RNG = np.random.default_rng(0)
ETA = 3 * RNG.normal(size=50)
BINARY = RNG.integers(2, size=50).astype(float)
CODES = RNG.integers(4, size=50)
SCORES = 3 * RNG.normal(size=(50, 4))


def test_squared():
    y = RNG.normal(size=50)
    loss = Squared()
    np.testing.assert_allclose(loss.value(y, ETA), (y - ETA) ** 2 / 2)
    np.testing.assert_allclose(loss.conjugate(y, ETA), ETA * y + ETA**2 / 2)
    np.testing.assert_array_equal(loss.curvature(y, ETA), np.ones(50))


def test_logistic():
    loss = Logistic()
    np.testing.assert_allclose(loss.value(BINARY, ETA), np.logaddexp(0, ETA) - BINARY * ETA)
    np.testing.assert_allclose(loss.gradient(BINARY, ETA), expit(ETA) - BINARY)
    np.testing.assert_allclose(loss.inverse_link(ETA), expit(ETA))
    assert loss.curvature(np.zeros(1), np.zeros(1))[0] == loss.curvature_bound


def test_logistic_keeps_its_digits_far_out():
    far = np.array([-700.0, -40.0, 40.0, 700.0])
    own = (far > 0).astype(float)
    np.testing.assert_allclose(Logistic().value(own, far), np.exp(-np.abs(far)), rtol=1e-12)
    np.testing.assert_allclose(Logistic().inverse_link(far[:2]), np.exp(far[:2]), rtol=1e-12)


def test_multinomial():
    loss = Multinomial()
    wanted = logsumexp(SCORES, axis=1) - SCORES[np.arange(50), CODES]
    np.testing.assert_allclose(loss.value(CODES, SCORES), wanted)
    p = softmax(SCORES, axis=1)
    np.testing.assert_allclose(loss.gradient(CODES, SCORES), p - np.eye(4)[CODES], atol=1e-15)
    hessian = p[:, :, None] * np.eye(4) - p[:, :, None] * p[:, None, :]
    np.testing.assert_allclose(loss.curvature(CODES, SCORES), hessian, atol=1e-15)


def test_multinomial_takes_codes_of_any_dtype():
    loss = Multinomial()
    np.testing.assert_array_equal(
        loss.value(CODES, SCORES), loss.value(CODES.astype(float), SCORES)
    )


def test_multinomial_of_two_classes_is_logistic():
    two = np.stack([np.zeros(50), ETA], axis=1)
    np.testing.assert_allclose(Multinomial().value(BINARY, two), Logistic().value(BINARY, ETA))
    u = Logistic().gradient(BINARY, ETA)
    wanted = Logistic().conjugate(BINARY, u)
    np.testing.assert_allclose(
        Multinomial().conjugate(BINARY, np.stack([-u, u], 1)), wanted, rtol=1e-9, atol=1e-12
    )


def test_the_curvature_bound_of_multinomial_is_attained():
    even = np.array([[0.0, 0.0, -1e3]])
    top = np.linalg.eigvalsh(Multinomial().curvature(np.zeros(1), even)).max()
    assert top == pytest.approx(Multinomial().curvature_bound)


@pytest.mark.parametrize(("y", "u"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_the_conjugate_of_logistic_is_zero_on_the_boundary(y, u):
    assert Logistic().conjugate(np.array([y]), np.array([u]))[0] == 0.0


@pytest.mark.parametrize(("y", "u"), [(0.0, -1e-6), (0.0, 1.1), (1.0, 1e-6)])
def test_the_conjugate_of_logistic_is_infinite_outside(y, u):
    assert Logistic().conjugate(np.array([y]), np.array([u]))[0] == np.inf


def test_the_conjugates_forgive_rounding():
    assert np.isfinite(Logistic().conjugate(np.zeros(1), np.array([-1e-13])))[0]
    off = np.array([[-1.0 + 1e-13, 1.0]])
    assert np.isfinite(Multinomial().conjugate(np.zeros(1), off))[0]


def test_the_conjugate_of_multinomial_lives_on_the_simplex():
    u = np.array([[0.5, 0.2], [-0.5, 0.5], [-1.2, 1.2]])
    finite = np.isfinite(Multinomial().conjugate(np.zeros(3), u))
    np.testing.assert_array_equal(finite, [False, True, False])


def test_broadcasting_over_tasks():
    y, eta = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 3))
    assert Squared().value(y, eta).shape == (7, 3)
    assert Logistic().curvature(y > 0, eta).shape == (7, 3)


def test_columns_per_task():
    several = {name for name in LOSSES if LOSSES[name]().n_outputs(5) == 5}
    assert several == {"multinomial"}
    assert all(LOSSES[name]().n_outputs(5) == 1 for name in set(LOSSES) - several)
    numbers = {name for name in LOSSES if not LOSSES[name]().is_classifier}
    assert numbers >= {"squared", "huber", "poisson", "gamma", "quantile"}


@pytest.mark.parametrize("loss", LOSSES.values())
def test_losses_are_values(loss):
    assert loss() == loss()
    assert hash(loss()) == hash(loss())
    assert repr(loss()).startswith(f"{loss.__name__}(")
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        loss().name = "another"


def test_losses_differ():
    assert Squared() != Logistic()
