"""adapt with losses of numbers other than the squared one: their units, their measure."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor, TaskData, adapt
from polytask.losses import Huber
from polytask.metrics.scores import r2
from polytask.penalties import L2, toward_mean
from polytask.transfer._refit import natural_losses

FEW = 20


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(1)
    X, task = rng.normal(size=(720, 6)), np.repeat(np.arange(12), 60)
    W = rng.normal(size=6) + 0.3 * rng.normal(size=(12, 6))
    level = (X * W[task]).sum(axis=1) + rng.normal(size=12)[task]
    return X, level + 0.7 * rng.normal(size=720), task, level


def model(loss):
    penalty = toward_mean(0.1) + L2(1e-3)
    return MultiTaskRegressor(penalty, loss=loss, standardize=True, scale_targets="auto")


def adapted(loss, cases, unit=1.0, **domain):
    X, y, task, _ = cases
    old, new = task < 11, np.flatnonzero(task == 11)[:FEW]
    fitted = model(loss).fit(X[old], unit * y[old], task=task[old])
    if domain:
        domain["source"] = (X[old], unit * y[old], task[old])
    return adapt(fitted, X[new], unit * y[new], task=11, **domain)


def predicted(found, cases, unit=1.0):
    X, _, task, _ = cases
    own = task == 11
    return found.predict(X[own], task=task[own]) / unit


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_the_target_makes_no_difference(cases, unit):
    for loss, close in (("squared", 1e-6), ("huber", 1e-4), ("quantile", 0.05)):
        plain = predicted(adapted(loss, cases), cases)
        scaled = predicted(adapted(loss, cases, unit), cases, unit)
        assert np.abs(plain - scaled).max() < close * np.std(plain), loss


@pytest.mark.parametrize("loss", ["huber", "quantile", "quantile(0.8)"])
def test_a_new_task_is_near_what_fitting_all_rows_again_gives(cases, loss):
    X, y, task, level = cases
    rows = (task < 11) | (np.arange(720) < np.flatnonzero(task == 11)[FEW])
    again = model(loss).fit(X[rows], y[rows], task=task[rows])
    own = task == 11
    aim = level[own] + (0.589 if "0.8" in loss else 0.0)
    best = np.mean((predicted(again, cases) - aim) ** 2)
    found = np.mean((predicted(adapted(loss, cases), cases) - aim) ** 2)
    assert found < 1.2 * best
    assert r2(aim, predicted(adapted(loss, cases), cases)) > 0.9


def test_scores_are_mean_losses_in_one_measure(cases):
    for domain in ("new", "shift"):
        report = adapted("quantile", cases, domain=domain).adaptation_
        assert report.metric == "deviance"
        assert "mean loss" in report.summary()
        assert set(report.scores) == {"adapted", "source", "target", "pooled"}
        # The loss of the median is half the absolute error: all are about as large as the noise.
        assert max(report.scores.values()) < 1.0
        assert report.scores["adapted"] < report.scores["source"]


def test_losses_of_counts_are_those_of_their_rates():
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(200, 2)), np.repeat(np.arange(5), 40)
    y = rng.poisson(np.exp(1.0 + 0.3 * X[:, 0])).astype(float)
    fitted = MultiTaskRegressor(toward_mean(0.1) + L2(1e-3), loss="poisson").fit(X, y, task=task)
    found = adapt(fitted, X[:12], y[:12], task="new", domain="new", source=(X, y, task))
    loss = fitted._linear_model().loss_of(0)
    assert found.adaptation_.metric == "deviance"
    rate = fitted.predict(X, task=task)
    natural = natural_losses(fitted, TaskData.from_long(X, y, task), loss)
    np.testing.assert_allclose(natural, loss.value(y, np.log(rate)))
    # A task of nothing but zeros has a rate that is finite, and low.
    nothing = adapt(fitted, X[:12], np.zeros(12), task="new", domain="new")
    assert 0.0 < nothing.predict(X[:12], task=["new"] * 12).mean() < 0.5 * rate.mean()


def test_hubers_loss_turns_in_the_unit_of_the_target():
    y, eta = np.zeros(3), np.array([0.5, 2.0, 50.0])
    large = Huber(1.35).at_scale(10.0)
    np.testing.assert_allclose(large.value(10 * y, 10 * eta), 100 * Huber(1.35).value(y, eta))


def test_one_task_that_is_fitted_exactly_still_lets_another_one_differ(cases):
    X, _, _, _ = cases
    y = X @ np.arange(6.0)
    fitted = MultiTaskRegressor(L2(1e-6), loss="quantile").fit(X[:60], y[:60], task=np.zeros(60))
    found = adapt(fitted, X[60:120], -y[60:120], task=1)
    assert r2(-y[120:], found.predict(X[120:], task=np.ones(600))) > 0.99
