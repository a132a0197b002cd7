"""Probabilities made bolder or more careful."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

import polytask
from polytask import AutoMultiTaskClassifier
from polytask.selection.auto.mixing import HeldRows, LogMix
from polytask.selection.auto.temperature import best_temperature, calibrated, tempered


def drawn(classes: int, n: int = 6000, seed: int = 0) -> np.ndarray:
    """Return true probabilities, that of the class that was drawn in front."""
    rng = np.random.default_rng(seed)
    P = softmax(2.0 * rng.standard_normal((n, classes)), axis=1)
    seen = np.array([rng.choice(classes, p=row) for row in P])
    front = seen[:, None] == np.arange(classes)
    return np.column_stack([P[front], P[~front].reshape(n, -1)])


def held_rows(P: np.ndarray, folds: int = 5) -> HeldRows:
    n = len(P)
    return HeldRows(
        Z=P[:, :1],
        y=np.ones(n),
        weight=np.ones(n),
        task=np.zeros(n, dtype=int),
        fold=np.arange(n) % folds,
        unit=np.arange(n),
        n_tasks=1,
        loss=LogMix(),
    )


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.7, 5.0])
def test_scaling_multiplies_the_odds_and_keeps_the_order(temperature: float) -> None:
    P = np.random.default_rng(1).dirichlet(np.ones(4), size=50) * 0.99 + 0.0025
    found = tempered(P, temperature)
    assert_allclose(found.sum(axis=1), 1.0)
    odds = np.log(P[:, 1:] / P[:, :1])
    assert_allclose(np.log(found[:, 1:] / found[:, :1]), odds / temperature, atol=1e-9)
    assert_array_equal(np.argsort(found, axis=1), np.argsort(P, axis=1))
    # What is below 1e-6 cannot be undone.
    kept = found.min(axis=1) > 1e-6
    assert kept.mean() > 0.8
    assert_allclose(tempered(found[kept], 1.0 / temperature), P[kept], atol=1e-9)


def test_a_class_that_a_row_cannot_have_stays_without() -> None:
    P = np.array([[0.7, 0.3, np.nan], [0.2, 0.5, 0.3], [1.0, np.nan, np.nan]])
    found = tempered(P, 2.0)
    assert_array_equal(np.isnan(found), np.isnan(P))
    assert_allclose(np.nansum(found, axis=1), 1.0)
    assert_allclose(found[0, :2], tempered(P[:1, :2], 2.0)[0])


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_undoes_a_distortion_is_found(
    classes: int, temperature: float
) -> None:
    P = drawn(classes)
    distorted = softmax(np.log(P) * temperature, axis=1)
    assert best_temperature(distorted, np.ones(len(P))) == pytest.approx(temperature, rel=0.1)


def test_it_has_the_least_log_loss() -> None:
    P, rng = drawn(3, n=800), np.random.default_rng(2)
    P[:200, 2], P[:200, :2] = np.nan, P[:200, :2] / P[:200, :2].sum(axis=1, keepdims=True)
    P, weight = tempered(P, 1.8), rng.uniform(0.0, 2.0, 800)

    def loss(temperature: float) -> float:
        return float(np.average(-np.log(tempered(P, temperature)[:, 0]), weights=weight))

    least = minimize_scalar(loss, bounds=(0.05, 20.0), method="bounded", options={"xatol": 1e-8})
    found = best_temperature(P, weight)
    # The doubt about 1 row in 802 makes it a little warmer.
    assert found == pytest.approx(least.x, rel=0.03)
    assert loss(found) <= least.fun + 1e-4


def test_a_model_that_was_never_wrong_is_not_made_certain() -> None:
    P = np.tile([0.9, 0.1], (48, 1))
    found = tempered(P, best_temperature(P, np.ones(48)))
    # One row in fifty is in doubt.
    assert_allclose(found[0], [0.98, 0.02], atol=1e-4)


def test_a_model_that_knows_nothing_is_as_careful_as_can_be() -> None:
    assert best_temperature(np.array([[0.1, 0.9], [0.2, 0.8]]), np.ones(2)) == 20.0


@pytest.mark.parametrize("classes", [2, 4])
def test_held_out_rows_decide_whether_it_is_scaled(classes: int) -> None:
    P = drawn(classes)
    values, temperature = calibrated(P, held_rows(P))
    assert temperature == 1.0
    assert_array_equal(values, P[:, 0])
    careful = tempered(P, 3.0)
    values, temperature = calibrated(careful, held_rows(careful))
    assert temperature == pytest.approx(1 / 3, rel=0.1)
    assert_allclose(values, P[:, 0], atol=0.02)


def test_no_fold_is_scaled_by_itself() -> None:
    P = tempered(drawn(2), 3.0)
    held = held_rows(P, folds=40)
    changed = P.copy()
    # What happened in one fold is turned round.
    changed[held.fold == 2] = changed[held.fold == 2][:, ::-1]
    before, after = (calibrated(own, replace(held, Z=own[:, :1]))[0] for own in (P, changed))
    one = held.fold == 2
    assert_allclose(after[one], 1.0 - before[one], atol=1e-12)
    assert np.abs(after[~one] - before[~one]).max() > 1e-3


def test_one_fold_says_nothing_of_its_own_temperature() -> None:
    P = tempered(drawn(2), 3.0)
    values, temperature = calibrated(P, held_rows(P, folds=1))
    assert temperature == 1.0
    assert_array_equal(values, P[:, 0])


class Timid(ClassifierMixin, BaseEstimator):
    """A logistic regression that dares say little."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return tempered(self.model_.predict_proba(X), 4.0)


def rows_of_classes(classes: int):
    rng = np.random.default_rng(3)
    X, task = rng.standard_normal((600, 3)), np.repeat(["a", "b", "c"], 200)
    scores = 2.0 * X @ rng.standard_normal((3, classes)) + rng.gumbel(size=(600, classes))
    return X, np.array(["low", "mid", "top"])[scores.argmax(axis=1)], task


@pytest.mark.parametrize("classes", [2, 3])
def test_timid_probabilities_are_made_bolder(classes: int, tmp_path) -> None:
    X, y, task = rows_of_classes(classes)
    auto = AutoMultiTaskClassifier([("timid", Timid()), "pooled"]).fit(X, y, task=task)
    known = {row.name: row.temperature for row in auto._rows}
    assert known["timid pooled"] == pytest.approx(0.25, rel=0.25)
    assert known["pooled"] == pytest.approx(1.0, rel=0.2)
    board = auto.leaderboard().set_index("model")["score"]
    assert board["timid pooled"] == pytest.approx(board["pooled"], abs=0.03)
    alone = AutoMultiTaskClassifier([("timid", Timid())]).fit(X, y, task=task)
    assert max(alone.temperatures_.values()) < 0.5
    assert "bolder (temperature 0." in alone.explain()
    assert "温度" in alone.explain("zh")
    weights = alone.weights()
    parts = [
        tempered(member.predict_proba(X, task=task), alone.temperatures_[name])
        for name, member in alone.members_.items()
    ]
    expected = sum(
        weights.loc[task, name].to_numpy()[:, None] * p
        for name, p in zip(weights, parts, strict=True)
    )
    assert_allclose(alone.predict_proba(X, task=task), expected, rtol=1e-10)


def test_a_saved_choice_has_its_temperatures(tmp_path) -> None:
    X, y, task = rows_of_classes(3)
    auto = AutoMultiTaskClassifier(["boosting per task"]).fit(X, y, task=task)
    assert auto.temperatures_["boosting per task"] > 1.2
    polytask.save(auto, tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    assert loaded.temperatures_ == auto.temperatures_
    assert loaded.explain() == auto.explain()
    assert_array_equal(loaded.predict_proba(X, task=task), auto.predict_proba(X, task=task))


def test_targets_of_several_kinds_of_classes(tmp_path) -> None:
    X, y, _ = rows_of_classes(3)
    Y = np.column_stack([np.searchsorted(["low", "mid", "top"], y), X[:, 0] > 0.2]).astype(float)
    Y[:150, 0] = np.nan
    models = [("timid", Timid()), "boosting per task"]
    path = tmp_path / "auto.journal"
    auto = AutoMultiTaskClassifier(models, journal=path).fit(X, Y)
    assert [P.shape for P in auto.predict_proba(X)] == [(600, 3), (600, 2)]
    for P in auto.predict_proba(X):
        assert_allclose(P.sum(axis=1), 1.0)
    assert any(t != 1.0 for t in auto.temperatures_.values())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]) + lines[6][:20])
    again = AutoMultiTaskClassifier(models, journal=path).fit(X, Y)
    assert again.temperatures_ == auto.temperatures_
    for first, second in zip(auto.predict_proba(X), again.predict_proba(X), strict=True):
        assert_array_equal(first, second)
