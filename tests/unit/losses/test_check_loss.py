"""Each law of `check_loss` fails for a loss that breaks it."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.losses import Logistic, Loss, Multinomial, Squared
from polytask.testing import check_loss

SQUARED, LOGISTIC, MULTINOMIAL = Squared(), Logistic(), Multinomial()


def altered(base, **methods):
    """Return a loss that is wrong in some methods."""
    return type(base.__name__, (base,), methods)()


def concave_value(self, y, eta):
    return -SQUARED.value(y, eta)


WRONG = {
    "the gradient is the derivative": [
        altered(Squared, gradient=lambda self, y, eta: y - eta),
        altered(Logistic, gradient=lambda self, y, eta: 1.01 * LOGISTIC.gradient(y, eta)),
        altered(Multinomial, gradient=lambda self, y, eta: MULTINOMIAL.inverse_link(eta)),
    ],
    "the gradient has the shape": [
        altered(Squared, gradient=lambda self, y, eta: (eta - y)[:, None]),
    ],
    "the curvature is the derivative": [
        altered(Squared, curvature=lambda self, y, eta: 2 * np.ones_like(eta)),
        altered(Multinomial, curvature=lambda self, y, eta: MULTINOMIAL.curvature(y, -eta)),
    ],
    "curvature_bound bounds": [
        altered(Squared, curvature_bound=0.9),
        altered(Logistic, curvature_bound=0.2),
        altered(Multinomial, curvature_bound=0.25),
    ],
    "the value is convex": [
        altered(
            Squared,
            value=concave_value,
            gradient=lambda self, y, eta: y - eta,
            curvature=lambda self, y, eta: -np.ones_like(eta),
        ),
    ],
    "the conjugate is u eta - value": [
        altered(Squared, conjugate=lambda self, y, u: u * y - 0.5 * u**2),
        altered(Logistic, conjugate=lambda self, y, u: np.full_like(u, np.inf)),
        altered(Multinomial, conjugate=lambda self, y, u: MULTINOMIAL.conjugate(y, u) + 1e-3),
    ],
    "for every eta": [
        altered(
            Logistic,
            conjugate=lambda self, y, u: LOGISTIC.conjugate(y, np.clip(u, -y, 1 - y)),
        ),
    ],
    "without overflow": [
        altered(Logistic, value=lambda self, y, eta: np.log1p(np.exp(eta)) - y * eta),
        altered(Logistic, gradient=lambda self, y, eta: np.exp(eta) / (1 + np.exp(eta)) - y),
    ],
    "keeps float32": [
        altered(Squared, value=lambda self, y, eta: SQUARED.value(y, eta).astype(np.float64)),
        altered(Squared, inverse_link=lambda self, eta: eta.astype(np.float64)),
    ],
    "finite at the gradient in float32": [
        altered(
            Logistic,
            conjugate=lambda self, y, u: (
                LOGISTIC.conjugate(y, u) if u.dtype == np.float64 else np.inf * np.abs(u)
            ),
        ),
    ],
    "any shape": [
        altered(
            Squared,
            value=lambda self, y, eta: SQUARED.value(y, eta) * (1.0 if y.ndim == 1 else 2.0),
        ),
    ],
    "lies in": [altered(Logistic, inverse_link=lambda self, eta: eta)],
    "keeps the shape of eta": [altered(Logistic, inverse_link=lambda self, eta: eta[:, None])],
    "sum to one": [
        altered(Multinomial, inverse_link=lambda self, eta: 0.5 * MULTINOMIAL.inverse_link(eta)),
    ],
    "LinearRegression predicts eta": [altered(Logistic, plain_model="LinearRegression")],
    "name is not empty": [altered(Squared, name="")],
}


@pytest.mark.parametrize(
    ("law", "loss"), [(law, loss) for law, losses in WRONG.items() for loss in losses]
)
def test_a_wrong_loss_breaks_a_law(law, loss):
    with pytest.raises(AssertionError, match=law):
        check_loss(loss)


class Restored(Squared):
    """A loss whose state restores another."""

    @classmethod
    def from_state(cls, state):
        return Squared()


class Unequal(Squared):
    """A loss that equals nothing."""

    def __eq__(self, other):
        return False

    def __hash__(self):
        return 1


class Nameless(Squared):
    """A loss without a repr."""

    def __repr__(self):
        return ""


@pytest.mark.parametrize(
    ("law", "loss"),
    [("from_state", Restored()), ("pickled copy", Unequal()), ("repr", Nameless())],
)
def test_a_loss_that_cannot_be_kept(law, loss):
    with pytest.raises(AssertionError, match=law):
        check_loss(loss)


def test_leaving_the_namespace_breaks_a_law():
    xp = pytest.importorskip("array_api_strict")

    class Local(Squared):
        def value(self, y, eta):
            return np.asarray(SQUARED.value(y, eta))

    Local.__qualname__ = "Local"
    globals()["Local"] = Local
    with pytest.raises(AssertionError, match="stay there"):
        check_loss(Local(), xp=xp)


def test_targets_can_be_given():
    y = np.abs(np.random.default_rng(0).normal(size=40))
    check_loss(Squared(), y=y)


def test_a_loss_without_all_methods_cannot_be_made():
    class Half(Loss):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()
