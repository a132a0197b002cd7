"""The automatic estimators."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import polytask
from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    MultiTaskRegressor,
    _workers,
    adapt,
)
from polytask._workers import Workers
from polytask.baselines import Pooled
from polytask.data import GroupedRows, TaskData, WithinTasks
from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    DataWarning,
    IncompatibleError,
    ParameterError,
    TimeBudgetError,
)
from polytask.messages import LazyMessage, Translator
from polytask.penalties import L21
from polytask.selection.auto import clock, fitting, trying
from polytask.selection.auto.explaining import explain, reasons
from polytask.selection.auto.fitting import AutoRow, Combination
from polytask.selection.auto.trying import make_splits, units_of
from polytask.selection.candidates import MODELS
from polytask.selection.held import held_out

FEW = ["separate", "pooled", "learned prior"]
TOO_LATE = "there was not time for it"


def alike(seed: int = 0, tasks: int = 6, rows: int = 25):
    """Tasks with much the same coefficients and little data."""
    rng = np.random.default_rng(seed)
    task = np.repeat([f"t{k}" for k in range(tasks)], rows)
    X = rng.standard_normal((len(task), 5))
    coef = np.array([2.0, -1.0, 0.5, 0.0, 0.0]) + 0.1 * rng.standard_normal((tasks, 5))
    level = rng.standard_normal(tasks)
    own = np.repeat(np.arange(tasks), rows)
    eta = np.sum(X * coef[own], axis=1) + level[own]
    return X, eta, task, rng


def numbers(seed: int = 0):
    X, eta, task, rng = alike(seed)
    return X, eta + rng.standard_normal(len(eta)), task


def classes(seed: int = 0):
    X, eta, task, rng = alike(seed, tasks=4, rows=60)
    y = np.where(eta + rng.logistic(size=len(eta)) > 0, "ill", "well")
    return X, y, task


def test_predictions_are_the_weighted_ones_of_the_members():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(FEW).fit(X, y, task=task)
    weights = model.weights()
    assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights.to_numpy() >= 0).all()
    parts = [member.predict(X, task=task) for member in model.members_.values()]
    expected = sum(weights.loc[task, name] * p for name, p in zip(weights, parts, strict=True))
    assert_allclose(model.predict(X, task=task), expected, rtol=1e-10)


def test_what_suits_the_data_has_the_weight():
    X, y, task = numbers()
    shared = AutoMultiTaskRegressor(FEW).fit(X, y, task=task)
    board = shared.leaderboard()
    assert board["model"].iloc[0] == "learned prior"
    assert_allclose(board["weight"].sum(), 1.0, atol=1e-9)
    rng = np.random.default_rng(5)
    task = np.repeat(["a", "b", "c"], 150)
    coef = np.repeat(rng.standard_normal((3, 3)) * 3, 150, axis=0)
    Z = rng.standard_normal((450, 3))
    apart = AutoMultiTaskRegressor(FEW).fit(Z, np.sum(Z * coef, axis=1), task=task)
    assert apart.weights().get("pooled", pd.Series(0.0, index=["a"])).max() < 0.05


def test_scores_of_the_leaderboard_are_of_unseen_rows():
    X, y, task = numbers()
    noise = np.random.default_rng(9).standard_normal(len(y))
    tree = ("tree", DecisionTreeRegressor(random_state=0))
    board = AutoMultiTaskRegressor(["pooled", tree]).fit(X, noise, task=task).leaderboard()
    # A tree knows the rows that it has seen by heart.
    assert (board.set_index("model").loc[["tree pooled", "tree per task"], "score"] < 0).all()


def test_classes_have_mixed_probabilities():
    X, y, task = classes()
    model = AutoMultiTaskClassifier(["separate", "pooled + intercepts"]).fit(X, y, task=task)
    P = model.predict_proba(X, task=task)
    assert_allclose(P.sum(axis=1), 1.0)
    weights = model.weights()
    parts = [member.predict_proba(X, task=task) for member in model.members_.values()]
    expected = sum(
        weights.loc[task, name].to_numpy()[:, None] * p
        for name, p in zip(weights, parts, strict=True)
    )
    assert_allclose(P, expected, rtol=1e-10)
    assert_array_equal(model.predict(X, task=task), model.classes_[P.argmax(axis=1)])
    assert model.score(X, y, task=task) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_target_matrices(kind):
    X, eta, _, rng = alike(tasks=1, rows=120)
    Y = np.column_stack([eta, -eta]) + 0.5 * rng.standard_normal((120, 2))
    if kind == "numbers":
        trees = "joint forest", "joint extra trees"
        model = AutoMultiTaskRegressor(["separate", *trees, "pooled + category"])
        fitted = model.fit(X, Y)
        assert fitted.predict(X).shape == (120, 2)
        assert fitted.score(X, Y) > 0.5
    else:
        fitted = AutoMultiTaskClassifier(["separate", "joint forest"]).fit(X, Y > 0)
        first, second = fitted.predict_proba(X)
        assert first.shape == second.shape == (120, 2)
        assert fitted.score(X, Y > 0) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_a_matrix_with_gaps_has_a_forest_per_target(kind):
    X, _, _, rng = alike(tasks=1, rows=150)
    # What no linear model can say.
    Y = np.column_stack([X[:, 0] * X[:, 1], X[:, 1] * X[:, 2]])
    Y = Y if kind == "numbers" else (Y > 0).astype(float)
    Y[rng.permutation(150)[:40], 0] = np.nan
    estimator = {"numbers": AutoMultiTaskRegressor, "classes": AutoMultiTaskClassifier}[kind]
    model = estimator(["separate", "joint forest", "forest per task"], cv=3).fit(X, Y)
    board = model.leaderboard().set_index("model")
    assert board.index[0] == "forest per task"
    assert board.loc["forest per task", "score"] > 0.1 > board.loc["separate", "score"]
    assert "without gaps" in board.loc["joint forest", "note"]


def test_targets_count_alike_whatever_their_unit():
    X, eta, _, rng = alike(tasks=1, rows=150)
    Y = np.column_stack([eta, eta**2]) + 0.3 * rng.standard_normal((150, 2))
    names = ["separate", "pooled + category"]
    plain = AutoMultiTaskRegressor(names).fit(X, Y).leaderboard().set_index("model")
    large = AutoMultiTaskRegressor(names).fit(X, Y * [1.0, 1e6]).leaderboard()
    assert_allclose(
        large.set_index("model").loc["separate", "score"], plain.loc["separate", "score"]
    )


def test_unseen_tasks_get_the_average_weights():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(FEW, unseen_tasks="shared").fit(X, y, task=task)
    assert "separate" in set(model.leaderboard().query("note != ''")["model"])
    found = model.predict(X[:3], task=["new"] * 3)
    parts = [member._predict_task(X[:3], -1) for member in model.members_.values()]
    assert_allclose(found, model.shared_weights_ @ np.array(parts))
    classifier = AutoMultiTaskClassifier(["pooled"], unseen_tasks="shared")
    X, y, task = classes()
    assert classifier.fit(X, y, task=task).predict_proba(X[:2], task=["new"] * 2).shape == (2, 2)


def test_tables_and_task_columns():
    X, y, task = numbers()
    table = pd.DataFrame(X, columns=list("abcde")).assign(
        school=task, town=np.where(X[:, 0] > 0, "x", "y")
    )
    model = AutoMultiTaskRegressor(FEW, task_column="school").fit(table, y)
    found = model.predict(table)
    assert np.corrcoef(found, y)[0, 1] > 0.8


@pytest.mark.slow
def test_a_saved_choice_is_the_same(tmp_path: Path):
    X, y, task = classes()
    model = AutoMultiTaskClassifier(["separate", "pooled", "learned prior"]).fit(X, y, task=task)
    polytask.save(model, tmp_path / "m.polytask")
    loaded = polytask.load(tmp_path / "m.polytask")
    assert_array_equal(loaded.predict_proba(X, task=task), model.predict_proba(X, task=task))
    pd.testing.assert_frame_equal(loaded.leaderboard(), model.leaderboard())
    assert loaded.explain() == model.explain()


def test_a_journal_goes_on_where_it_was(tmp_path: Path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    first = AutoMultiTaskRegressor(FEW, journal=path).fit(X, y, task=task)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM pieces WHERE rowid > 7")
    again = AutoMultiTaskRegressor(FEW, journal=path).fit(X, y, task=task)
    assert_array_equal(again.predict(X, task=task), first.predict(X, task=task))
    assert_array_equal(again.leaderboard()["score"], first.leaderboard()["score"])
    with pytest.raises(DataError, match="auto"):
        AutoMultiTaskRegressor(FEW, journal=path).fit(X, y + 1.0, task=task)


@pytest.mark.usefixtures("hours")
def test_little_time_tries_one_candidate():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(FEW, time_budget=3.0).fit(X, y, task=task)
    assert list(model.members_) == ["separate"]
    assert model.stopped_
    assert (model.leaderboard()["note"] == TOO_LATE).sum() == 2
    assert "There was not time for all folds of all candidates." in model.explain()


@pytest.mark.usefixtures("hours")
def test_what_takes_least_is_tried_first():
    X, y, task = numbers()
    asked = ["near the mean", "learned prior", "separate"]
    model = AutoMultiTaskRegressor(asked, time_budget=3.0).fit(X, y, task=task)
    assert list(model.members_) == ["separate"]


@pytest.mark.usefixtures("hours")
def test_one_fold_of_every_candidate_comes_before_the_second_of_any():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(FEW, time_budget=6.0).fit(X, y, task=task)
    assert model.stopped_
    # The best of three on one fold, and time for a fit of it on all rows.
    assert list(model.members_) == ["learned prior"]
    assert model.leaderboard()["score"].notna().all()


def folds_in(path, names=FEW):
    """Return how many folds of every candidate a journal has."""
    with closing(sqlite3.connect(path)) as database:
        text = str(database.execute("SELECT key FROM pieces").fetchall())
    return [sum(f"{fold}/{name}" in text for fold in range(5)) for name in names]


@pytest.fixture
def hours(monkeypatch):
    """A clock by which a fold takes a second, or what a test says, and all rows 5/4 of one."""
    now = SimpleNamespace(seconds=0.0, folds=0, lengths={})
    fake = SimpleNamespace(monotonic=lambda: now.seconds, process_time=time.process_time)
    for module in (trying, clock):
        monkeypatch.setattr(module, "time", fake)

    def one_fold(*args):
        now.seconds += now.lengths.get(now.folds, 1.0)
        now.folds += 1
        return held_out(*args)

    class InThisProcess(Workers):
        """Workers whose fits share the clock with the test, ended as those of others are."""

        def results(self, pieces, deadline=None):
            for piece in pieces:
                record = self._work(self._shared, piece)
                now.seconds += 1.25 if piece[1] < 0 else 0.0
                if deadline is not None and now.seconds > deadline:
                    now.seconds = deadline
                    return
                yield piece, record

    monkeypatch.setattr(trying, "held_out", one_fold)
    monkeypatch.setattr(fitting, "Workers", InThisProcess)
    return now


# The first candidate is fitted on all rows at once, in 5/4 seconds; time is kept for the one that
# is best so far, and for one that would have to be fitted on all rows, too.
@pytest.mark.parametrize(
    ("budget", "tried"),
    [
        (3.4, [2, 0, 0]),
        (4.6, [2, 1, 0]),
        (5.6, [1, 1, 1]),
        (6.6, [1, 1, 2]),
        # The best has all folds before others have a second.
        (11.4, [2, 1, 5]),
        (18.9, [5, 5, 5]),
    ],
)
def test_a_time_budget_keeps_time_for_fits_on_all_rows(budget, tried, hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    model = AutoMultiTaskRegressor(FEW, journal=path, time_budget=budget).fit(X, y, task=task)
    assert folds_in(path) == tried
    assert model.stopped_ == (tried != [5, 5, 5])
    assert hours.seconds <= budget
    # Time for 'pooled' on all rows is not kept once its last fold is done: it has no weight.
    assert "pooled" not in model.members_


def test_a_slow_candidate_is_given_up_and_a_quick_one_behind_it_tried(hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    asked = ["separate", "pooled + category", "pooled + intercepts"]
    hours.lengths = {1: 5.0}
    model = AutoMultiTaskRegressor(asked, journal=path, time_budget=18.0).fit(X, y, task=task)
    # 8.25 seconds of 18 are over: one more of the second are 5, and 6.25 on all rows.
    assert folds_in(path, asked) == [5, 1, 5]
    assert set(model.members_) <= {"separate", "pooled + intercepts"}
    board = model.leaderboard().set_index("model")
    assert board["folds"].to_dict() == {"separate": 5, "pooled + intercepts": 5, asked[1]: 1}
    assert board.loc[asked[1], "note"] == (
        "scored on 1 of 5 folds: the time budget, less what is kept for fitting on all rows, "
        "did not allow more"
    )


def test_a_first_fold_takes_no_more_than_half_of_the_time_from_the_others(hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    hours.lengths = {1: 50.0}
    model = AutoMultiTaskRegressor(FEW, journal=path, time_budget=18.0).fit(X, y, task=task)
    # It is ended after 7.9 seconds, and what is expected to take as long is not begun.
    assert folds_in(path) == [5, 0, 0]
    assert set(model.members_) == {"separate"}


def test_what_cannot_end_in_time_is_not_begun(hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    asked = ["separate", "near the mean", "same features"]
    hours.lengths = {1: 6.0}
    model = AutoMultiTaskRegressor(asked, journal=path, time_budget=20.0).fit(X, y, task=task)
    # One like the second takes 13.5 seconds, of 12 that are left; and the second, which is better
    # than the first, has its folds and 7.5 seconds on all rows.
    assert folds_in(path, asked) == [1, 5, 0]
    assert model.stopped_


def test_a_search_takes_less_on_further_folds_and_tries_all_again_on_all_rows():
    kept = clock.Clock(100.0, 115.0, n_folds=5)
    search = SimpleNamespace(name="near the mean", cost=2)
    kept.note(search, 8.0, less=0.25)
    assert kept.of(search.name) == 2.0
    kept.note(search, 3.0, less=1.0)
    assert kept.of(search.name) == 3.0
    kept.reserve([search.name])
    assert kept.reserved == {search.name: 10.0}


def test_one_slow_fold_leaves_time_for_others(hours):
    X, y, task = numbers()
    # The third fold of the first candidate: the median of its folds is one second still.
    hours.lengths = {4: 8.0}
    model = AutoMultiTaskRegressor(FEW[:2], time_budget=19.6).fit(X, y, task=task)
    assert not model.stopped_


def test_a_candidate_that_time_cut_off_is_gone_on_with(hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    whole = AutoMultiTaskRegressor(FEW).fit(X, y, task=task)
    hours.seconds = 0.0
    cut = AutoMultiTaskRegressor(FEW, journal=path, time_budget=12.4).fit(X, y, task=task)
    assert cut.stopped_
    again = AutoMultiTaskRegressor(FEW, journal=path).fit(X, y, task=task)
    assert not again.stopped_
    assert_array_equal(again.predict(X, task=task), whole.predict(X, task=task))


@pytest.mark.slow
def test_what_fits_into_no_single_run_is_finished_by_several(hours, tmp_path):
    X, y, task = numbers()
    path = tmp_path / "auto.journal"
    kept = []
    for run in range(20):
        hours.seconds = 0.0
        hours.lengths = {0: 3.0} if run == 0 else {}
        model = AutoMultiTaskRegressor(FEW, journal=path, time_budget=3.6)
        if run == 0:
            # One fold takes 3 seconds, and there is none left for all rows.
            with pytest.raises(TimeBudgetError, match=r"fit of 'separate' takes .*Give more time"):
                model.fit(X, y, task=task)
        else:
            model.fit(X, y, task=task)
        kept.append(sum(folds_in(path)))
        if kept[-1] == 15:
            break
    assert kept[0] == 1
    assert kept == sorted(set(kept))
    assert kept[-1] == 15
    assert not model.stopped_


class Slow(RegressorMixin, BaseEstimator):
    """Takes time: on all rows other time than on folds."""

    def __init__(self, fold=0.0, whole=0.0):
        self.fold = fold
        self.whole = whole

    def fit(self, X, y):
        time.sleep(self.whole if len(X) == 150 else self.fold)
        self.model_ = LinearRegression().fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)


FOREVER = 600.0


@pytest.mark.parametrize("forks", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_fit_that_takes_too_long_is_ended(forks, monkeypatch):
    if not forks:
        monkeypatch.setattr(_workers, "_forks", lambda: False)
    X, y, task = numbers()
    asked = ["separate", ("slow", Pooled(Slow(FOREVER, FOREVER)))]
    model = AutoMultiTaskRegressor(asked, time_budget=8.0 if forks else 30.0)
    model.fit(X, y, task=task)
    assert model.stopped_
    assert list(model.members_) == ["separate"]
    assert set(model.leaderboard().query("note != ''")["model"]) == {"slow"}


@pytest.mark.slow
def test_what_cannot_be_fitted_on_all_rows_in_time_is_not_used_and_named(tmp_path):
    X, y, task = numbers()
    asked = ["separate", ("slow", Pooled(Slow(0.0, FOREVER), "intercept"))]
    model = AutoMultiTaskRegressor(asked, time_budget=8.0).fit(X, y, task=task)
    assert model.unfitted_ == ("slow",)
    assert list(model.members_) == ["separate"]
    assert_allclose(model.task_weights_, 1.0)
    assert "There was no time to fit “slow” on all rows" in model.explain()
    assert "slow" in model.explain("zh")
    board = model.leaderboard().set_index("model")
    assert board["score"].notna().all()
    assert_allclose(board["weight"][["separate", "slow"]], [1.0, 0.0])
    polytask.save(model.set_params(models="default"), tmp_path / "model.polytask")
    again = polytask.load(tmp_path / "model.polytask")
    assert again.explain() == model.explain()


@pytest.mark.slow
def test_what_was_stopped_is_used_where_nothing_else_is_fitted_on_all_rows():
    X, y, task = numbers()
    asked = [("blind", Pooled(Slow())), ("slow", Pooled(Slow(0.0, FOREVER), "intercept"))]
    model = AutoMultiTaskRegressor(asked, time_budget=8.0).fit(X, y, task=task)
    assert model.unfitted_ == ("slow",)
    assert list(model.members_) == ["blind"]
    assert np.isfinite(model.predict(X, task=task)).all()


def test_a_budget_in_which_nothing_is_finished_is_refused():
    X, y, task = numbers()
    asked = [("slow", Pooled(Slow(FOREVER, FOREVER)))]
    with pytest.raises(TimeBudgetError, match="not even one fit of 'slow' was"):
        AutoMultiTaskRegressor(asked, time_budget=2.0).fit(X, y, task=task)


@pytest.mark.slow
def test_a_budget_for_folds_but_no_fit_on_all_rows_is_refused_with_what_it_takes():
    X, y, task = numbers()
    asked = [("slow", Pooled(Slow(0.5, FOREVER)))]
    with pytest.raises(TimeBudgetError, match=r"a fit of 'slow' takes .*Give more time than that"):
        AutoMultiTaskRegressor(asked, time_budget=20.0).fit(X, y, task=task)


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_models_per_task_predict_no_task_that_is_allowed_too_late(kind):
    X, y, task = {"numbers": numbers, "classes": classes}[kind]()
    estimator = {"numbers": AutoMultiTaskRegressor, "classes": AutoMultiTaskClassifier}[kind]
    model = estimator(["separate"]).fit(X, y, task=task).set_params(unseen_tasks="shared")
    assert model.predict(X[:2], task=task[:2]).shape == (2,)
    with pytest.raises(DataError, match="uses 'separate', a model per task, which predicts no"):
        model.predict(X[:2], task=["new", task[0]])
    other = estimator(["pooled"]).fit(X, y, task=task).set_params(unseen_tasks="shared")
    assert other.predict(X[:2], task=["new", task[0]]).shape == (2,)


def test_groups_stay_together():
    X, y, task = numbers()
    X, y, task = (np.concatenate([part, part]) for part in (X, y, task))
    group = np.tile(np.arange(len(y) // 2), 2)
    tree = ("tree", DecisionTreeRegressor(random_state=0))
    by_row = AutoMultiTaskRegressor([tree]).fit(X, y, task=task).leaderboard()
    together = AutoMultiTaskRegressor([tree], cv=GroupedRows(group, n_splits=4))
    board = together.fit(X, y, task=task).leaderboard()
    # A twin of a held-out row in the training part gives the row away.
    assert board["score"].max() < by_row["score"].max() - 0.1


class Sulking(RegressorMixin, BaseEstimator):
    """Cannot be fitted."""

    def fit(self, X, y):
        raise ValueError("not today")

    def predict(self, X):
        raise AssertionError


def test_a_candidate_that_fails_is_left_out_with_its_reason():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(["pooled", ("sulk", Sulking())]).fit(X, y, task=task)
    board = model.leaderboard().set_index("model")
    assert "not today" in board.loc["sulk pooled", "note"]
    assert list(model.members_) == ["pooled"]
    with pytest.raises(DataError, match=r"could fit no candidate.*not today"):
        AutoMultiTaskRegressor([("sulk", Sulking())]).fit(X, y, task=task)


def test_it_says_what_it_did_in_two_languages():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(FEW).fit(X, y, task=task)
    assert "learned prior" in model.explain()
    assert "候选" in model.explain("zh")
    with pytest.raises(ParameterError, match="lang"):
        model.explain("fr")


def test_the_best_of_each_kind_is_said():
    rows = [
        AutoRow("boosting, corrected", "shared", "trees", 0.61, 0.0, 1.0, 1.0, ""),
        AutoRow("learned prior", "shared", "linear", 0.5, 0.1, 0.0, 1.0, ""),
        AutoRow("boosting pooled", "pooled", "trees", 0.4, 0.1, 0.0, 1.0, ""),
        AutoRow("separate", "separate", "linear", 0.3, 0.1, 0.0, 1.0, ""),
    ]
    members = {"boosting, corrected": BayesianMultiTaskRegressor()}
    found = Combination(members, np.ones(1), np.ones((2, 1)), tuple(rows),
                        0.61, np.inf, False)  # fmt: skip
    best = explain(found, Translator("en"))[-1]
    assert best.startswith("The best of each kind: trees: “boosting, corrected” (0.610)")
    assert "joint: “learned prior” (0.500)" in best
    assert "separate: “separate” (0.300)" in best
    assert "pooled:" not in best
    first = explain(found, Translator("en"))[0]
    assert first.startswith(
        "Of 4 candidates, “boosting, corrected” predicts best on its own: boosted"
    )
    assert "树：“boosting, corrected”（0.610）" in explain(found, Translator("zh"))[-1]


def test_what_time_left_unfinished_is_not_said_to_have_been_compared():
    few = LazyMessage("left_out.unfinished", {"folds": 2, "n": 5})
    rows = (
        AutoRow("separate", "separate", "linear", 0.2, 0.0, 1.0, 1.0, "", folds=5),
        AutoRow("learned prior", "shared", "linear", np.nan, np.nan, 0.0, 1.0, str(few),
                said=few.node, folds=2),
    )  # fmt: skip
    members = {"separate": BayesianMultiTaskRegressor()}
    found = Combination(members, np.ones(1), np.ones((2, 1)), rows, 0.2, np.inf, True)
    best, used, partly = explain(found, Translator("en"))
    assert best.startswith("There was time to try one candidate: “separate”")
    assert "nothing that there was time to compare with it predicts clearly better" in used
    assert partly.startswith("1 candidate is not compared")
    # A chosen model that is not used is named before what takes its place.
    unfitted = explain(replace(found, unfitted=("boosted",)), Translator("en"))
    assert "no time to fit “boosted” on all rows, so it is not used" in unfitted[1]


def test_a_member_with_little_weight_is_not_said_to_have_none():
    rows = [
        AutoRow("learned prior", "shared", "linear", 0.5, 0.0, 0.997, 1.0, ""),
        AutoRow("separate", "separate", "linear", 0.3, 0.1, 0.003, 1.0, ""),
    ]
    shared = np.array([0.997, 0.003])
    members = dict.fromkeys(["learned prior", "separate"], BayesianMultiTaskRegressor())
    found = Combination(members, shared, np.tile(shared, (2, 1)),
                        tuple(rows), 0.51, np.inf, False)  # fmt: skip
    assert "“learned prior” 100%, “separate” under 1%" in explain(found, Translator("en"))[1]
    assert "不到 1%" in explain(found, Translator("zh"))[1]


def test_wrong_choices_are_named():
    X, y, task = numbers()
    with pytest.raises(ParameterError, match="random_state"):
        AutoMultiTaskRegressor(FEW, random_state=-1).fit(X, y, task=task)
    with pytest.raises(
        ParameterError, match=r"models of .* among 'default', 'deep', 'separate', 'sep"
    ):
        AutoMultiTaskRegressor(["ridge"]).fit(X, y, task=task)
    with pytest.raises(ParameterError, match="time_budget"):
        AutoMultiTaskRegressor(FEW, time_budget=-1.0).fit(X, y, task=task)


@pytest.mark.slow
def test_one_row_tasks_and_one_class_tasks_do_not_stop_it():
    X, y, task = numbers()
    task = task.astype(object)
    task[-1] = "alone"
    model = AutoMultiTaskRegressor(FEW).fit(X, y, task=task)
    assert np.isfinite(model.predict(X[-1:], task=["alone"])).all()
    X, y, task = classes()
    y = np.where(task == "t0", "ill", y)
    model = AutoMultiTaskClassifier(FEW).fit(X, y, task=task)
    assert np.isfinite(model.predict_proba(X, task=task)).all()


def test_a_clone_is_not_fitted():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(["pooled", DecisionTreeRegressor()]).fit(X, y, task=task)
    assert not hasattr(clone(model), "members_")
    trees = AutoMultiTaskClassifier([DecisionTreeClassifier()])
    assert trees.get_params()["cv"] == 5


@pytest.mark.slow
def test_every_candidate_can_be_asked_for_by_name():
    # Boosting is slow, and networks have tests of their own.
    names = {name for name, c in MODELS.items() if "boosting" not in name and c.family != "deep"}
    X, y, task = (part[:75] for part in numbers())
    model = AutoMultiTaskRegressor(sorted(names), cv=3)
    assert set(model.fit(X[:, :2], y, task=task).leaderboard()["model"]) == names


@pytest.mark.slow
def test_folds_that_say_nothing_of_a_target_do_not_count():
    X, eta, _, rng = alike(tasks=1, rows=80)
    Y = np.column_stack([eta, eta]) + 0.3 * rng.standard_normal((80, 2))
    Y[20:, 0] = np.nan
    folds = list(KFold(4).split(X))
    model = AutoMultiTaskRegressor(["learned prior", "near the mean"], cv=folds).fit(X, Y)
    assert np.isfinite(model.leaderboard()["score"]).all()
    Y[60:] = np.nan
    three = AutoMultiTaskRegressor(["learned prior"], cv=folds).fit(X, Y)
    assert np.isfinite(three.score_)


def test_what_does_not_vary_has_no_score():
    X, _, task = numbers()
    model = AutoMultiTaskRegressor(["pooled", "separate"]).fit(X, np.full(len(X), 0.1), task=task)
    assert model.leaderboard()["score"].isna().all()
    assert_allclose(model.predict(X, task=task), 0.1)


def test_targets_beyond_squares_are_refused():
    X, y, task = numbers()
    with pytest.raises(DataError, match="y of AutoMultiTaskRegressor must be of size up to"):
        AutoMultiTaskRegressor(["pooled"]).fit(X, 1e200 * y, task=task)


class Astray(RegressorMixin, BaseEstimator):
    """Predicts what cannot be squared."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.full(len(X), 1e200)


def test_a_candidate_beyond_measure_is_left_out_with_its_reason():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(["pooled", ("astray", Astray())]).fit(X, y, task=task)
    board = model.leaderboard().set_index("model")
    assert "squares overflow" in board.loc["astray pooled", "note"]
    told = ("astray pooled", False, "它的预测值太大，平方会溢出")
    assert told in reasons(model, Translator("zh"))
    assert list(model.members_) == ["pooled"]


def test_a_member_that_does_not_converge_says_so():
    X, y, task = numbers()
    hasty = ("hasty", MultiTaskRegressor(L21(0.01), max_iter=1, tol=1e-12))
    with pytest.warns(ConvergenceWarning, match="stopped after"):
        AutoMultiTaskRegressor([hasty]).fit(X, y, task=task)


def test_folds_that_share_rows_are_refused():
    X, y, task = numbers()
    rows = np.arange(len(y))
    often = [(rows[rows % 5 != k], rows[rows % 5 == k]) for k in (0, 1, 1)]
    with pytest.raises(DataError, match="folds that hold out no row twice; got 30 rows"):
        AutoMultiTaskRegressor(["pooled"], cv=often).fit(X, y, task=task)


def test_labels_are_for_the_classifier_of_the_same_kind():
    X, _, task = numbers()
    with pytest.raises(DataError, match="For labels use AutoMultiTaskClassifier"):
        AutoMultiTaskRegressor(["pooled"]).fit(X, np.where(X[:, 0] > 0, "a", "b"), task=task)


def test_a_cell_that_drowns_its_column_is_named():
    X, y, task = numbers()
    X[7, 1] = 1e50
    with pytest.warns(DataWarning, match=r"Column 1 of X holds 1e\+50 in row 7, counting from 0"):
        AutoMultiTaskRegressor(["pooled"]).fit(X, y, task=task)
    X[7, 1] = 1e300
    huge = AutoMultiTaskRegressor(["pooled", "learned prior"])
    with pytest.raises(DataError, match=r"so that sums stay finite; got .* \(column 1, row 7"):
        huge.fit(X, y, task=task)


@pytest.mark.parametrize(
    ("cv", "alone"),
    [(5, True), (GroupedRows(np.arange(150) // 2), True), (KFold(5, shuffle=True), False)],
)
def test_what_counts_as_independent_follows_the_folds(cv, alone):
    X, y, task = numbers()
    units = units_of(TaskData.from_long(X, y, task), cv)
    assert (units is not None) == alone
    if isinstance(cv, GroupedRows):
        assert_array_equal(units, np.arange(150) // 2)


def test_numbers_beside_labels_are_refused_with_what_takes_both():
    X, y, _ = numbers()
    mixed = pd.DataFrame({"height": y, "kind": np.where(y > 0, "tall", "small")})
    for estimator in (AutoMultiTaskRegressor(FEW), AutoMultiTaskClassifier(["pooled"])):
        with pytest.raises(DataError, match=r"numbers \('height'\) and labels \('kind'\).*Model"):
            estimator.fit(X, mixed)


def test_adapt_says_which_model_to_take():
    X, y, task = numbers()
    model = AutoMultiTaskRegressor(["pooled", "learned prior"]).fit(X, y, task=task)
    model.members_ = {"learned prior": BayesianMultiTaskRegressor().fit(X, y, task=task)}
    with pytest.raises(IncompatibleError, match=r"mean of 1 .*members_\['learned prior'\]"):
        adapt(model, X[:5], y[:5], task=["new"] * 5)
    new = adapt(model.members_["learned prior"], X[:5], y[:5], task=["new"] * 5)
    assert "new" in new.tasks_
    model.members_ = {"pooled": Pooled(Ridge()).fit(X, y, task=task)}
    with pytest.raises(IncompatibleError, match="adapt a MultiTaskModelCV, fitted on"):
        adapt(model, X[:5], y[:5], task=["new"] * 5)


def test_folds_of_many_rows_are_as_many_as_tell_candidates_apart() -> None:
    def folds_of(n: int, cv: object, tasks: int = 2) -> int:
        data = TaskData.from_long(np.zeros((n, 1)), np.zeros(n), np.arange(n) % tasks)
        return len(make_splits(data, cv, False, "Auto"))

    assert [folds_of(n, 5) for n in (1_000, 3_000, 300_000)] == [5, 3, 2]
    # Weights of its own take rows of each task.
    assert folds_of(3_000, 5, tasks=300) == 5
    assert folds_of(130_000, WithinTasks(5)) == 5


@pytest.mark.slow
def test_where_nothing_can_be_predicted_it_is_no_worse_than_the_mean() -> None:
    # Rare events in a target matrix, few rows, features that say nothing of them.
    asked = ["task means", "separate", "pooled", "learned prior", "same features"]
    means, errors = 0, []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((460, 6))
        Y = rng.exponential(5.0, (460, 3)) * (rng.random((460, 3)) < 0.05)
        train, test = np.arange(60), np.arange(60, 460)
        model = AutoMultiTaskRegressor(asked).fit(X[train], Y[train])
        means += list(model.members_) == ["task means"]
        mean = np.mean((Y[test] - Y[train].mean(axis=0)) ** 2)
        errors.append(np.mean((Y[test] - model.predict(X[test])) ** 2) / mean)
    assert means >= 4
    assert np.mean(errors) < 1.01
    assert max(errors) < 1.05
    last = AutoMultiTaskRegressor(["task means", "separate"]).fit(X[train], Y[train])
    assert "nothing predicts clearly better than the means" in last.explain()
    assert "均值" in last.explain("zh")
