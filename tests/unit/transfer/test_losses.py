"""adapt with losses of numbers other than the squared one: their units, their measure."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor, TaskData, adapt
from polytask.linear.pull import _Noise
from polytask.losses import Huber
from polytask.metrics.scores import r2
from polytask.penalties import L2, toward_mean
from polytask.transfer._refit import natural_losses
from polytask.transfer._report import Adaptation

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
    if domain.get("domain"):
        domain["source"] = (X[old], unit * y[old], task[old])
    return adapt(fitted, X[new], unit * y[new], task=11, **domain)


def predicted(found, cases, unit=1.0):
    X, _, task, _ = cases
    own = task == 11
    return found.predict(X[own], task=task[own]) / unit


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_the_target_makes_no_difference(cases, unit):
    for loss, close in (("squared", 1e-9), ("huber", 1e-9), ("quantile", 1e-3)):
        for domain in (None, "new"):
            plain = predicted(adapted(loss, cases, domain=domain), cases)
            scaled = predicted(adapted(loss, cases, unit, domain=domain), cases, unit)
            assert np.abs(plain - scaled).max() < close * np.std(plain), (loss, domain)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["squared", "huber", "quantile", "quantile(0.9)"])
def test_tasks_are_held_as_strongly_as_the_penalty_says(cases, loss, monkeypatch):
    # A bound from how much the tasks differ would hide it.
    monkeypatch.setattr(_Noise, "least", lambda self, held, distance: np.zeros_like(held))
    X, y, task, _ = cases
    for unit in (1.0, 1e-3):
        fitted = model(loss).fit(X, unit * y, task=task)
        pull = fitted._pull
        factor = pull.unit if "quantile" in loss else 1.0
        rows = 60 * (0.1 + 1e-3)
        np.testing.assert_allclose(pull.strength * factor / pull.scale**2, rows, rtol=1e-4)


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_a_task_of_constant_targets_has_no_say_in_the_unit(cases, loss):
    X, y, task, _ = cases
    y = np.where(task == 0, 2.0, y)
    found = []
    for unit in (1.0, 1e-4):
        fitted = MultiTaskRegressor(toward_mean(0.1) + L2(1e-3), loss=loss, scale_targets="task")
        fitted.fit(X[task < 11], unit * y[task < 11], task=task[task < 11])
        new = np.flatnonzero(task == 11)[:15]
        more = adapt(fitted, X[new], unit * y[new], task=11)
        found.append(more.predict(X[:70], task=[0] * 60 + [11] * 10) / unit)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


@pytest.mark.slow
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


@pytest.mark.slow
def test_scores_are_mean_losses_in_one_measure(cases):
    for domain in ("new", "shift"):
        report = adapted("quantile", cases, domain=domain).adaptation_
        assert report.metric == "deviance"
        assert "mean loss" in report.summary()
        assert set(report.scores) == {"adapted", "source", "target", "pooled"}
        # The loss of the median is half the absolute error: all are about as large as the noise.
        assert max(report.scores.values()) < 1.0
        assert report.scores["adapted"] < report.scores["source"]


@pytest.mark.slow
def test_losses_of_counts_are_those_of_their_rates():
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(200, 2)), np.repeat(np.arange(5), 40)
    y = rng.poisson(np.exp(1.0 + 0.3 * X[:, 0])).astype(float)
    fitted = MultiTaskRegressor(toward_mean(0.1) + L2(1e-3), loss="poisson").fit(X, y, task=task)
    found = adapt(fitted, X[:12], y[:12], task="new", domain="new", source=(X, y, task))
    loss = fitted._linear_model().loss_of(0)
    assert found.adaptation_.metric == "deviance"
    rate = fitted.predict(X, task=task)
    natural = natural_losses(fitted, TaskData.from_long(X, y, task), dict.fromkeys(range(5), loss))
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


def test_candidates_of_a_margin_are_judged_by_their_margins():
    rng = np.random.default_rng(1)
    X, task = rng.normal(size=(240, 3)), np.repeat(np.arange(6), 40)
    y = (X @ [1.0, 2.0, 3.0] + rng.normal(size=240) > 0).astype(int)
    old, new = task < 5, np.flatnonzero(task == 5)[:30]
    fitted = MultiTaskClassifier(toward_mean(0.1) + L2(1e-3), loss="squared_hinge")
    fitted.fit(X[old], y[old], task=task[old])
    given = {"domain": "new", "source": (X[old], y[old], task[old])}
    report = adapt(fitted, X[new], y[new], task=5, **given).adaptation_
    assert report.metric == "deviance"
    margin = (2 * y[new] - 1) * (X[new] @ fitted.coef_.mean(0) + fitted.intercept_.mean())
    source = np.mean(np.maximum(0.0, 1.0 - margin) ** 2)
    assert report.scores["source"] == pytest.approx(source, rel=1e-6)
    fitted.unseen_tasks = "shared"
    rows = TaskData.from_long(X[new], y[new], task[new])
    natural = natural_losses(fitted, rows, {5: fitted._linear_model().loss_of(-1)})
    np.testing.assert_allclose(natural, np.maximum(0.0, 1.0 - margin) ** 2)


def test_margins_of_a_mixed_model_are_judged_too():
    rng = np.random.default_rng(1)
    X, task = rng.normal(size=(120, 3)), np.arange(120) % 4
    y = (X @ [1.0, 2.0, 3.0] + rng.normal(size=120) > 0).astype(int)
    losses = {0: "squared_hinge", 1: "logistic", 2: "squared_hinge", 3: "logistic"}
    fitted = MultiTaskModel(toward_mean(0.1) + L2(1e-2), loss=losses).fit(X, y, task=task)
    rows = np.flatnonzero(task < 2)[:24]
    given = {"domain": "new", "source": (X, y, task)}
    report = adapt(fitted, X[rows], y[rows], task=task[rows], **given).adaptation_
    assert report.metric == "deviance"
    assert {"adapted", "source", "target", "pooled"} == set(report.scores)


@pytest.mark.slow
def test_tasks_of_unlike_losses_are_judged_each_by_its_own():
    rng = np.random.default_rng(1)
    X, task = rng.normal(size=(240, 3)), np.repeat(np.arange(6), 40)
    level = X @ [1.0, 2.0, 3.0] + rng.normal(size=240)
    count = rng.poisson(np.exp(0.3 * X[:, 0] + 1)).astype(float)
    y = np.where(task < 2, level, count).astype(object)
    y[task > 3] = np.where(level[task > 3] > 0, "high", "low")
    losses = {t: ("squared", "squared", "poisson", "poisson", "logistic", "logistic")[t]
              for t in range(6)}  # fmt: skip
    fitted = MultiTaskModel(L2(0.01), loss=losses).fit(X, y, task=task)
    rows = np.concatenate([np.arange(6), np.arange(80, 86), np.arange(200, 212)])
    for domain in ("new", "shift"):
        given = {"domain": domain, "source": (X, y, task)}
        report = adapt(fitted, X[rows], y[rows], task=task[rows], **given).adaptation_
        assert report.tasks == (0, 2, 5)
        assert report.metric == "deviance"
        assert {"adapted", "source", "target", "pooled"} == set(report.scores)
        linear, own = fitted._linear_model(), []
        for t in (0, 2, 5):
            part = rows[task[rows] == t]
            truth = (y[part] == "low").astype(float) if t == 5 else y[part].astype(float)
            eta = linear.eta(X[part], t)
            own.append(linear.loss_of(t).value(truth, eta.reshape(len(part))))
        assert report.scores["source"] == pytest.approx(np.concatenate(own).mean(), rel=1e-6)


def test_the_sentence_says_why_the_adapted_model_is_used():
    def report(adapted, source, error, n=30):
        return Adaptation(
            domain=None,
            tasks=("d",),
            rows=(n,),
            metric="deviance",
            scores={"adapted": adapted, "source": source},
            differences={"source": (adapted - source, error)},
        ).summary()

    assert report(0.5, 0.6, 0.1).endswith("The adapted model is used.")
    assert "the difference may be chance" in report(0.6, 0.5, 0.1)
    assert "the difference may be chance" in report(0.6, 0.5, 0.01, n=2)
    assert "predicts significantly worse" in report(0.6, 0.5, 0.01)
    alone = Adaptation(domain=None, tasks=("d",), rows=(1,), metric="deviance")
    assert "could not be tested on these rows" in alone.summary()
    assert alone.summary("zh") != alone.summary()
