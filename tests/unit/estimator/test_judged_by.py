"""Predictions are scored by the loss that was fitted where that loss says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from polytask import MultiTaskRegressor, MultiTaskRegressorCV
from polytask.losses import Loss
from polytask.losses.base import as_eta


@dataclass(frozen=True)
class Expectile(Loss):
    """|tau - 1[y < eta]| (y - eta)^2 / 2, a loss from outside."""

    tau: float = 0.9
    name = "expectile"
    is_classifier = False
    curvature_bound = 1.0
    judges_predictions = True

    def _side(self, y, eta):
        return np.where(as_eta(y, eta) < eta, 1 - self.tau, self.tau)

    def value(self, y, eta):
        return 0.5 * self._side(y, eta) * (as_eta(y, eta) - eta) ** 2

    def gradient(self, y, eta):
        return self._side(y, eta) * (eta - as_eta(y, eta))

    def curvature(self, y, eta):
        return self._side(y, eta)

    def conjugate(self, y, u):
        return u * as_eta(y, u) + u**2 / (2 * np.where(u > 0, 1 - self.tau, self.tau))

    def n_outputs(self, n_classes):
        return 1

    def inverse_link(self, eta):
        return eta

    def to_state(self):
        return {"tau": self.tau}


@pytest.fixture(scope="module")
def skewed():
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(300, 3)), np.repeat(["a", "b", "c"], 100)
    return X, X[:, 0] + rng.exponential(2.0, size=300), task


def test_a_loss_that_judges_predictions_scores_them(skewed):
    X, y, task = skewed
    model = MultiTaskRegressor(loss=Expectile(0.99)).fit(X, y, task=task)
    eta = model.predict(X, task=task)
    grid = np.linspace(y.min(), y.max(), 4001)
    loss = Expectile(0.99)
    best = min(loss.value(y, np.full(len(y), c)).mean() for c in grid)
    assert model.score(X, y, task=task) == pytest.approx(
        1 - loss.value(y, eta).mean() / best, abs=1e-5
    )


def test_the_search_reports_it_too(skewed):
    X, y, task = skewed
    model = MultiTaskRegressorCV(loss=Expectile(0.99), alphas=5, cv=3).fit(X, y, task=task)
    assert -0.5 < model.held_out_score_ < 1
