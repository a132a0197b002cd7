"""The race: what is as good as the best is rarely stopped, what is far behind at once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression

import polytask
from polytask import AutoMultiTaskRegressor
from polytask.baselines import Pooled
from polytask.data import GroupedRows
from polytask.messages import Translator
from polytask.selection.auto.explaining import reasons
from polytask.selection.auto.held_out_rows import HeldOutRows
from polytask.selection.auto.mixing import LogMix, SquaredMix
from polytask.selection.auto.race import LEVEL, look, losses_of

FOLDS, MODELS, ROWS = 5, 6, 100


def bench(rng, n, unit=None):
    """Held-out rows of five folds, the constant being 0."""
    unit = np.arange(n) if unit is None else unit
    task = np.zeros(n, dtype=int)
    fold = np.sort(np.arange(n) % FOLDS)
    y = rng.standard_normal(n)
    return HeldOutRows(y, np.ones(n), task, fold, unit, np.zeros((n, 1)), 1, SquaredMix())


def stopped(rows, losses):
    """Return after how many folds each model is stopped, 0 for never, the others going on."""
    after, running = np.zeros(losses.shape[1], dtype=int), np.arange(losses.shape[1])
    comparisons = (losses.shape[1] - 1) * (FOLDS - 1)
    for folds in range(1, FOLDS):
        part = rows.first(folds)
        seen = look(losses[rows.fold < folds][:, running], part, comparisons)
        after[running[seen.behind]] = folds
        running = running[~seen.behind]
    return after


@pytest.mark.parametrize("noise", ["normal", "heavy tails", "groups"])
def test_what_is_as_good_as_the_best_is_stopped_as_rarely_as_stated(noise):
    rng = np.random.default_rng(0)
    unit = np.arange(ROWS) if noise != "groups" else np.arange(ROWS) // 4
    rows, runs, first, anyone = bench(rng, ROWS, unit), 250, 0, 0
    for _ in range(runs):
        draws = rng.standard_normal((ROWS, MODELS))
        if noise == "heavy tails":
            draws = rng.standard_t(3, (ROWS, MODELS))
        if noise == "groups":
            draws = 0.3 * draws + rng.standard_normal((ROWS, MODELS))[unit]
        after = stopped(rows, 1.0 + draws)
        first, anyone = first + (after[0] > 0), anyone + (after > 0).any()
    # The stated level is that of one candidate; here all are equal to the best.
    assert first / runs <= LEVEL
    # The comparisons are not so careful that nothing is ever stopped.
    assert anyone / runs > 0.01


def test_what_is_clearly_behind_is_stopped_after_the_first_fold_and_no_other():
    rng = np.random.default_rng(1)
    rows = bench(rng, 200)
    losses = 1.0 + 0.5 * rng.standard_normal((200, 1)) + 0.1 * rng.standard_normal((200, 3))
    losses[:, 1] += 0.2
    assert_array_equal(stopped(rows, losses), [0, 1, 0])
    seen = look(losses, rows, 2)
    assert seen.leader in (0, 2)
    assert_allclose(seen.gaps, losses.mean(axis=0) - losses.mean(axis=0).min())


def test_one_independent_unit_tells_nothing():
    rng = np.random.default_rng(2)
    rows = bench(rng, 50, np.zeros(50, dtype=int))
    assert not look(np.tile([0.0, 9.0], (50, 1)), rows, 1).behind.any()


def test_losses_beyond_all_numbers_neither_lead_nor_stop_others():
    rng = np.random.default_rng(3)
    losses = np.column_stack([np.full(50, np.inf), np.ones(50), 1.0 + rng.random(50)])
    seen = look(losses, bench(rng, 50), 2)
    assert seen.leader == 1
    assert_array_equal(seen.behind, [False, False, True])


def test_probabilities_that_are_too_bold_are_not_behind_for_that():
    rng = np.random.default_rng(4)
    chance = rng.uniform(0.1, 0.9, 400)
    hit = rng.random(400) < chance
    bold = chance**6 / (chance**6 + (1 - chance) ** 6)
    seen = [np.where(hit, p, 1 - p) for p in (chance, bold)]
    rows = bench(rng, 400)
    rows = HeldOutRows(np.ones(400), rows.weight, rows.task, rows.fold, rows.unit,
                       np.full((400, 2), 0.5), 1, LogMix())  # fmt: skip
    own, other = (losses_of(np.column_stack([p, 1 - p]), rows).mean() for p in seen)
    assert_allclose(own, other, rtol=1e-3)


def numbers():
    """Six tasks with a level each, and coefficients much alike."""
    rng = np.random.default_rng(0)
    own = np.repeat(np.arange(6), 25)
    X = rng.standard_normal((150, 5))
    coef = np.array([2.0, -1.0, 0.5, 0.0, 0.0]) + 0.1 * rng.standard_normal((6, 5))
    y = np.sum(X * coef[own], axis=1) + 2 * rng.standard_normal(6)[own]
    return X, y + rng.standard_normal(150), own


class Counting(RegressorMixin, BaseEstimator):
    """Least squares that know nothing of tasks; counts its fits."""

    fits = 0

    def fit(self, X, y):
        type(self).fits += 1
        self.model_ = LinearRegression().fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)


def test_a_choice_stops_what_is_behind_and_says_so(tmp_path):
    X, y, task = numbers()
    asked = ["pooled", "pooled + intercepts", ("blind", Pooled(Counting()))]
    Counting.fits = 0
    model = AutoMultiTaskRegressor(asked).fit(X, y, task=task)
    assert model.behind_ == {"blind": 1}
    assert Counting.fits == 1
    assert not model.stopped_
    board = model.leaderboard().set_index("model")
    # What sharing is compared with is never stopped, however far behind.
    assert board.loc["pooled", "note"] == ""
    assert np.isfinite(board.loc["pooled", "standard_error"])
    assert board.loc["blind", "note"].startswith("stopped after 1 of 5 folds: it explains")
    assert "less of the loss than 'pooled + intercepts'" in board.loc["blind", "note"]
    assert board.loc["blind", "score"] < board.loc["pooled + intercepts", "score"]
    # It is better than 'pooled' on one fold, which is no rank among those of five.
    assert board["folds"].tolist() == [5, 5, 1]
    said = "1 candidate was stopped before all folds were fitted"
    assert f"{said}, because it was behind the best" in model.explain()
    assert "Of 3 candidates" in model.explain()
    assert "停止" in model.explain("zh")
    ((name, stopped, why),) = reasons(model, Translator("zh"))
    assert (name, stopped) == ("blind", True)
    assert "折后停止" in why
    polytask.save(model.set_params(models="default"), tmp_path / "model.polytask")
    again = polytask.load(tmp_path / "model.polytask")
    assert again.explain() == model.explain()
    assert again.behind_ == model.behind_


def test_side_by_side_the_same_are_stopped(tmp_path):
    X, y, task = numbers()
    asked = ["pooled", "pooled + intercepts", "near the mean", ("blind", Pooled(Counting()))]
    cv = GroupedRows(np.arange(150) // 2, n_splits=3)
    alone = AutoMultiTaskRegressor(asked, cv=cv).fit(X, y, task=task)
    together = AutoMultiTaskRegressor(asked, cv=cv, n_jobs=2, journal=tmp_path / "j")
    assert together.fit(X, y, task=task).behind_ == alone.behind_
    assert_array_equal(together.predict(X, task=task), alone.predict(X, task=task))
    # A run that goes on from the journal has the same race.
    assert together.fit(X, y, task=task).behind_ == alone.behind_
