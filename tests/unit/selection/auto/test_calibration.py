"""Probabilities made bolder or more careful."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import polytask
from polytask import AutoMultiTaskClassifier, SingleTask
from polytask.selection.auto.calibration import (
    Calibration,
    best_calibration,
    calibrated,
    seen_first,
)
from polytask.selection.auto.held_out_rows import HeldOutRows
from polytask.selection.auto.mixing import HeldRows, LogMix, best_mix
from polytask.selection.auto.weighing import CandidateFit, judged, weigh
from polytask.selection.entries import Entry


def drawn(classes: int, n: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true probabilities and shares, those of the class that was drawn in front."""
    rng = np.random.default_rng(seed)
    levels = 0.7 * np.arange(classes)
    P = softmax(1.5 * rng.standard_normal((n, classes)) + levels, axis=1)
    seen = np.array([rng.choice(classes, p=row) for row in P])
    shares = np.tile(P.mean(axis=0), (n, 1))
    return seen_first(P, seen), seen_first(shares, seen)


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


def even(P: np.ndarray) -> np.ndarray:
    """Return the shares of classes that are all alike."""
    return np.where(np.isnan(P), np.nan, 1.0) / np.sum(~np.isnan(P), axis=1, keepdims=True)


@pytest.mark.parametrize("boldness", [0.4, 0.8, 1.7, 3.0])
def test_scaling_multiplies_log_odds_and_adds_those_of_shares(boldness: float) -> None:
    P = np.random.default_rng(1).dirichlet(np.ones(3), size=50) * 0.97 + 0.01
    shares = np.array([0.7, 0.1, 0.2])
    found = Calibration(boldness, 0.5).applied(P, shares)
    assert_allclose(found.sum(axis=1), 1.0)
    odds = boldness * np.log(P[:, 1:] / P[:, :1]) + 0.5 * np.log(shares[1:] / shares[0])
    assert_allclose(np.log(found[:, 1:] / found[:, :1]), odds, atol=1e-9)
    assert Calibration().applied(P, shares) is P


def test_the_order_of_rows_stays_with_two_classes() -> None:
    p = np.sort(np.random.default_rng(1).uniform(size=100))
    found = Calibration(0.3, -2.0).applied(np.column_stack([p, 1.0 - p]), np.array([0.9, 0.1]))
    assert (np.diff(found[:, 0]) > 0).all()


def test_a_class_that_a_row_cannot_have_stays_without() -> None:
    P = np.array([[0.7, 0.3, np.nan], [0.2, 0.5, 0.3], [1.0, np.nan, np.nan]])
    found = Calibration(0.5, 1.0).applied(P, even(P))
    assert_array_equal(np.isnan(found), np.isnan(P))
    assert_allclose(np.nansum(found, axis=1), 1.0)
    assert_allclose(found[0, :2], Calibration(0.5).applied(P[:1, :2], np.ones(2))[0])


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(("boldness", "base"), [(0.4, 0.0), (1.0, 0.7), (2.5, -0.5)])
def test_what_undoes_a_distortion_is_found(classes: int, boldness: float, base: float) -> None:
    P, common = drawn(classes)
    distorted = Calibration(1 / boldness, -base / boldness).applied(P, common)
    found = best_calibration(distorted, common, np.ones(len(P)))
    assert found.boldness == pytest.approx(boldness, rel=0.1)
    assert found.base == pytest.approx(base, abs=0.1)


def test_it_has_the_least_log_loss() -> None:
    (P, common), rng = drawn(3, n=800), np.random.default_rng(2)
    for table in (P, common):
        table[:200, 2] = np.nan
        table[:200, :2] /= table[:200, :2].sum(axis=1, keepdims=True)
    P, weight = Calibration(0.6, 0.3).applied(P, common), rng.uniform(0.0, 2.0, 800)

    def loss(at: np.ndarray) -> float:
        front = Calibration(*at).applied(P, common)[:, 0]
        return float(np.average(-np.log(front), weights=weight))

    least = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8})
    found = best_calibration(P, common, weight)
    # The doubt about 1 row in 802 makes it a little more careful.
    assert found.boldness == pytest.approx(least.x[0], rel=0.05)
    assert loss([found.boldness, found.base]) <= least.fun + 1e-4


def test_one_scale_and_one_level_of_two_classes_are_a_logistic_regression() -> None:
    P, common = drawn(2)
    P = Calibration(0.5, 1.0).applied(P, common)
    rare = common[:, 0] < 0.5
    log_odds = np.where(rare, 1.0, -1.0) * np.log(P[:, 0] / P[:, 1])
    known = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], rare)
    found = best_calibration(P, common, np.ones(len(P)))
    level = found.base * np.log(common[rare][0, 0] / common[rare][0, 1])
    assert found.boldness == pytest.approx(known.coef_[0, 0], rel=0.02)
    assert level == pytest.approx(known.intercept_[0], abs=0.02)


def test_a_model_that_was_never_wrong_is_not_made_certain() -> None:
    P = np.tile([0.9, 0.1], (48, 1))
    found = best_calibration(P, even(P), np.ones(48)).applied(P, even(P))
    # One row in fifty is in doubt.
    assert_allclose(found[0], [0.98, 0.02], atol=1e-4)


def test_a_model_that_knows_nothing_is_as_careful_as_can_be() -> None:
    P = np.array([[0.1, 0.9], [0.2, 0.8]])
    assert best_calibration(P, even(P), np.ones(2)).boldness == 0.05


@pytest.mark.parametrize("classes", [2, 4])
def test_held_out_rows_decide_whether_it_is_scaled(classes: int) -> None:
    P, common = drawn(classes)
    values, found = calibrated(P, common, held_rows(P))
    assert found == Calibration()
    assert_array_equal(values, P[:, 0])
    careful = Calibration(1 / 3).applied(P, common)
    values, found = calibrated(careful, common, held_rows(careful))
    assert found.boldness == pytest.approx(3.0, rel=0.1)
    assert_allclose(values, P[:, 0], atol=0.03)


def on_bench(
    tables: list[np.ndarray], common: np.ndarray
) -> tuple[list[CandidateFit], HeldOutRows]:
    held = held_rows(tables[0])
    bench = HeldOutRows(
        held.y, held.weight, held.task, held.fold, held.unit, common, n_tasks=1, loss=LogMix()
    )
    entries = [Entry(f"model {m}", "pooled", "linear", None) for m in range(len(tables))]
    return [
        judged(CandidateFit(entry, P, 1.0, None), bench)
        for entry, P in zip(entries, tables, strict=True)
    ], bench


def test_bold_models_that_are_right_on_average_are_combined_as_they_are() -> None:
    P, common = drawn(2)
    rng = np.random.default_rng(4)
    # Each is all but sure of what it draws, and as often right as it should be.
    votes = [np.where(rng.uniform(size=len(P)) < P[:, 0], 0.98, 0.02) for _ in range(8)]
    tried, bench = on_bench([np.column_stack([p, 1.0 - p]) for p in votes], common)
    assert all(one.calibration.boldness < 0.7 for one in tried)
    found = weigh(tried, bench)
    assert found is not None
    assert all(one.calibration == Calibration() for one in found.usable)
    assert_array_equal(found.usable[0].values, votes[0])
    careful = best_mix(bench.held([one.values for one in tried]), ["pooled"] * 8)
    assert found.loss < careful.losses[careful.policy] - 0.01


def test_timid_models_are_combined_as_calibrated() -> None:
    P, common = drawn(2)
    rng = np.random.default_rng(5)
    shifted = [
        Calibration(0.3).applied(np.clip(P + shift[:, None] * [1, -1], 0.01, 0.99), common)
        for shift in 0.05 * rng.standard_normal((3, len(P)))
    ]
    tried, bench = on_bench(shifted, common)
    found = weigh(tried, bench)
    assert found is not None
    assert [one.calibration for one in found.usable] == [one.calibration for one in tried]
    assert all(one.calibration.boldness > 2.0 for one in found.usable)


def test_no_fold_is_scaled_by_itself() -> None:
    P, common = drawn(2)
    P = Calibration(0.4).applied(P, common)
    held = held_rows(P, folds=40)
    one, changed, shares = held.fold == 2, P.copy(), common.copy()
    # What happened in one fold is turned round.
    changed[one], shares[one] = P[one][:, ::-1], common[one][:, ::-1]
    before, _ = calibrated(P, common, held)
    after, _ = calibrated(changed, shares, replace(held, Z=changed[:, :1]))
    assert_allclose(after[one], 1.0 - before[one], atol=1e-4)
    assert np.abs(after[~one] - before[~one]).max() > 1e-3


def test_one_fold_says_nothing_of_its_own_calibration() -> None:
    P, common = drawn(2)
    P = Calibration(0.4).applied(P, common)
    values, found = calibrated(P, common, held_rows(P, folds=1))
    assert found == Calibration()
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
        shares = np.full(len(self.classes_), 1.0 / len(self.classes_))
        return Calibration(0.25).applied(self.model_.predict_proba(X), shares)


def rows_of_classes(classes: int):
    rng = np.random.default_rng(3)
    X, task = rng.standard_normal((600, 3)), np.repeat(["a", "b", "c"], 200)
    scores = 2.0 * X @ rng.standard_normal((3, classes)) + rng.gumbel(size=(600, classes))
    return X, np.array(["low", "mid", "top"])[scores.argmax(axis=1)], task


@pytest.mark.parametrize("classes", [2, 3])
def test_timid_probabilities_are_made_bolder(classes: int, tmp_path) -> None:
    X, y, task = rows_of_classes(classes)
    alone = AutoMultiTaskClassifier([("timid", Timid())]).fit(X, y, task=task)
    known = {row.name: row.calibration.boldness for row in alone._rows}
    assert known["timid pooled"] == pytest.approx(4.0, rel=0.25)
    plain = AutoMultiTaskClassifier(["pooled"]).fit(X, y, task=task)
    (row,) = plain._rows
    assert row.calibration.boldness == pytest.approx(1.0, rel=0.2)
    board = alone.leaderboard().set_index("model")["score"]
    assert board["timid pooled"] == pytest.approx(row.score, abs=0.03)
    assert min(own.boldness for own in alone.calibrations_.values()) > 2.0
    assert "more extreme (odds to the power " in alone.explain()
    assert "更极端" in alone.explain("zh")
    weights = alone.weights()
    parts = [
        alone.calibrations_[name].applied(member.predict_proba(X, task=task), alone.class_prior_)
        for name, member in alone.members_.items()
    ]
    expected = sum(
        weights.loc[task, name].to_numpy()[:, None] * p
        for name, p in zip(weights, parts, strict=True)
    )
    assert_allclose(alone.predict_proba(X, task=task), expected, rtol=1e-10)


def test_a_saved_choice_has_its_calibration(tmp_path) -> None:
    X, y, task = rows_of_classes(2)
    # With so many trees as these, it is too bold.
    boosting = SingleTask(HistGradientBoostingClassifier(random_state=0))
    auto = AutoMultiTaskClassifier([("boosting", boosting)]).fit(X, y, task=task)
    assert auto.calibrations_["boosting"].boldness < 0.8
    assert_allclose(auto.class_prior_, [np.mean(y == label) for label in auto.classes_])
    polytask.save(auto, tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    assert loaded.calibrations_ == auto.calibrations_
    assert loaded.explain() == auto.explain()
    assert_array_equal(loaded.predict_proba(X, task=task), auto.predict_proba(X, task=task))


@pytest.mark.slow
def test_targets_of_several_kinds_of_classes(tmp_path) -> None:
    X, y, _ = rows_of_classes(3)
    Y = np.column_stack([np.searchsorted(["low", "mid", "top"], y), X[:, 0] > 0.2]).astype(float)
    Y[:150, 0] = np.nan
    models = ["forest per task"]
    path = tmp_path / "auto.journal"
    auto = AutoMultiTaskClassifier(models, cv=3, journal=path).fit(X, Y)
    assert [P.shape for P in auto.predict_proba(X)] == [(600, 3), (600, 2)]
    for P in auto.predict_proba(X):
        assert_allclose(P.sum(axis=1), 1.0)
    assert any(own != Calibration() for own in auto.calibrations_.values())
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM pieces WHERE rowid > 2")
    again = AutoMultiTaskClassifier(models, cv=3, journal=path).fit(X, Y)
    assert again.calibrations_ == auto.calibrations_
    polytask.save(auto.set_params(journal=None), tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    for other in (again, loaded):
        for first, second in zip(auto.predict_proba(X), other.predict_proba(X), strict=True):
            assert_array_equal(first, second)
