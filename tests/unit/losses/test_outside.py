"""A loss from elsewhere takes part everywhere that it says it can."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from polytask import MultiTaskRegressor
from polytask.exceptions import IncompatibleError
from polytask.losses import Loss
from polytask.penalties import L21
from polytask.selection.losses import boosting_loss
from polytask.solvers import Status
from polytask.testing import check_loss


@dataclass(frozen=True)
class LogCosh(Loss):
    """log cosh(eta - y): squared near the target, linear far from it."""

    plain_model: str = "LinearRegression"

    name = "log_cosh"
    is_classifier = False
    curvature_bound = 1.0
    boosting = MappingProxyType({"loss": "absolute_error"})

    def value(self, y, eta):
        size = np.abs(eta - y)
        return (size + np.log1p(np.exp(-2 * size)) - np.log(2)).astype(eta.dtype)

    def gradient(self, y, eta):
        return np.tanh(eta - y).astype(eta.dtype)

    def curvature(self, y, eta):
        return 1 - self.gradient(y, eta) ** 2

    def conjugate(self, y, u):
        inside, v = np.abs(u) <= 1 + 1e-6, np.clip(u, -1, 1)
        each = [np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0) for p in (1 + v, 1 - v)]
        return np.where(inside, u * y + 0.5 * sum(each), np.inf).astype(u.dtype)


def test_it_is_fitted_exported_and_boosted():
    check_loss(LogCosh())
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    Y = X[:, :3] + rng.standard_t(2, (60, 3))
    model = MultiTaskRegressor(L21(0.05), loss=LogCosh()).fit(X, Y)
    assert model.solution_.status is Status.CONVERGED
    plain = model.to_sklearn(1)
    assert type(plain) is LinearRegression
    np.testing.assert_allclose(plain.predict(X), model.predict(X)[:, 1])
    assert boosting_loss(LogCosh()) == {"loss": "absolute_error"}
    silent = MultiTaskRegressor(L21(0.05), loss=replace(LogCosh(), plain_model="")).fit(X, Y)
    with pytest.raises(IncompatibleError, match="no plain linear model for the loss 'log_cosh'"):
        silent.to_sklearn(1)
