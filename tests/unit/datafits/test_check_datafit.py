"""Each law of `check_datafit` fails for a datafit that breaks it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polytask.datafits import Datafit
from polytask.losses import Logistic, Squared
from polytask.testing import _problems, check_datafit

MODES = _problems.intercept_modes()
TRUE = _problems.stacked_samples(Logistic(), MODES["pulled"], 0)
SQUARED = _problems.stacked_statistics(MODES["pulled"], 0)


class Altered(Datafit):
    """A datafit that is wrong in what is given by name."""

    def __init__(self, base=TRUE, **changes):
        self.base, self.changes = base, changes

    def _or(self, name):
        return self.changes.get(name, getattr(self.base, name))

    shape = property(lambda self: self._or("shape"))
    is_quadratic = property(lambda self: self._or("is_quadratic"))
    magnitude = property(lambda self: self._or("magnitude"))
    precision = property(lambda self: self._or("precision"))

    def evaluate(self, W, start=None):
        change = self.changes.get("evaluate", lambda at, W, start: {})
        at = self.base.evaluate(W, start)
        return dataclasses.replace(at, **change(at, W, start))

    def value_at(self, W, b):
        return self._or("value_at")(W, b)

    def feature_scale(self):
        return self._or("feature_scale")()

    def lipschitz(self, scale):
        return self._or("lipschitz")(scale)


def wrong(base=TRUE, **changes):
    """Return a datafit whose evaluations have other fields."""

    def change(at, W, start):
        return {name: make(at, W) for name, make in changes.items()}

    return Altered(base, evaluate=change)


def overwriting(at, W, start):
    W[...] = 7.0
    return {}


def depends_on_start(at, W, start):
    return {} if start is None else {"value": at.value + 1e-6}


def stiff(at, W):
    return lambda V: 1.5 * at.hessian(V)


WRONG = {
    "gradient has the shape": wrong(gradient=lambda at, W: at.gradient[:1]),
    "one intercept per column": wrong(intercept=lambda at, W: at.intercept[:1]),
    "the value is finite": wrong(value=lambda at, W: np.inf),
    "feature_scale has one entry": Altered(feature_scale=lambda: np.ones(2)),
    "feature_scale is at least 0": Altered(feature_scale=lambda: -TRUE.feature_scale()),
    "magnitude is the value": Altered(magnitude=1.0),
    "precision is a unit": Altered(precision=0.0),
    "gradient is the derivative": wrong(gradient=lambda at, W: 1.001 * at.gradient),
    "the value is convex": wrong(
        value=lambda at, W: 1 - at.value, gradient=lambda at, W: -at.gradient
    ),
    "the guess of the intercepts": Altered(evaluate=depends_on_start),
    "does not write": Altered(evaluate=overwriting),
    "the value is that of": wrong(intercept=lambda at, W: at.intercept + 0.1),
    "no other allowed intercepts": Altered(
        value_at=lambda W, b: (
            min(TRUE.value_at(W, b), TRUE.evaluate(W).value - 1e-3 * b @ b)
            if not np.array_equal(b, TRUE.evaluate(W).intercept) and W.any()
            else TRUE.value_at(W, b)
        )
    ),
    r"conjugate\(1\) is": wrong(conjugate=lambda at, W: lambda c: at.conjugate(c) + 1e-5),
    r"conjugate\(c\) >=": wrong(
        conjugate=lambda at, W: lambda c: at.conjugate(c) - (0.5 if 0 < c < 1 else 0)
    ),
    r"hessian\(D\) is": wrong(hessian=stiff),
    r"lipschitz\(scale\) bounds": Altered(SQUARED, lipschitz=lambda s: 0.9 * SQUARED.lipschitz(s)),
    "feature_scale squared": Altered(
        SQUARED, feature_scale=lambda: np.maximum(0.9 * SQUARED.feature_scale(), 1e-3)
    ),
    "positive definite": wrong(preconditioner=lambda at, W: lambda shift: lambda V: -V),
    "preconditioner is symmetric": wrong(
        preconditioner=lambda at, W: lambda shift: lambda V: V + 0.3 * np.roll(V, 1, axis=0)
    ),
    "a quadratic has": Altered(is_quadratic=True),
    "is_quadratic is true": Altered(SQUARED, is_quadratic=False),
}


@pytest.mark.parametrize("law", WRONG)
def test_wrong_datafits(law):
    with pytest.raises(AssertionError, match=law):
        check_datafit(WRONG[law])


def test_the_wrapper_is_right():
    check_datafit(Altered())
    check_datafit(Altered(SQUARED))


def test_an_inexact_intercept_is_caught():
    """A datafit that stops its intercepts early has a wrong gradient, value or conjugate."""
    base = _problems.stacked_samples(Squared(), MODES["free"], 0)
    moved = wrong(
        base,
        intercept=lambda at, W: at.intercept + 0.1,
        value=lambda at, W: base.value_at(W, at.intercept + 0.1),
    )
    with pytest.raises(AssertionError, match="law"):
        check_datafit(moved)
