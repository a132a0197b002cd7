"""Intervals and sets from held-out rows: by hand, at their level, saved, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    Pooled,
    SingleTask,
    calibrate,
    load,
    save,
)
from polytask._estimator import held_out_errors
from polytask._estimator.held_out_errors import ErrorRows, HeldOutErrors, quantile, task_scales
from polytask.data import LeaveTasksOut, TimeOrdered
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.penalties import L2, toward_mean


def tasks_of(rows, seed=0, tasks=20, spread=0.7):
    """Return linear tasks whose noise differs by task. Shapes: X (tasks * rows, 3)."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(tasks), rows)
    W = rng.standard_normal(3) + 0.3 * rng.standard_normal((tasks, 3))
    sd = np.exp(spread * rng.standard_normal(tasks))
    X = rng.standard_normal((len(task), 3))
    y = np.einsum("ij,ij->i", X, W[task]) + sd[task] * rng.standard_normal(len(task))
    return X, y, task


def halves(rows, **settings):
    """Return rows to fit and 200 more of every task of the same laws."""
    X, y, task = tasks_of(rows + 200, **settings)
    first = np.arange(len(y)) % (rows + 200) < rows
    return (X[first], y[first], task[first]), (X[~first], y[~first], task[~first])


def inside(model, rows, **asked):
    X, y, task = rows
    lower, upper = model.predict_interval(X, task, **asked)
    return (lower <= y) & (y <= upper)


class TestByHand:
    def test_quantile_counts_the_new_row(self):
        errors, ones = np.arange(9.0), np.ones(9)
        assert quantile(errors, ones, 0.9) == 8.0
        assert quantile(errors[:8], ones[:8], 0.9) == math.inf
        assert quantile(errors, ones, 0.5) == 4.0

    def test_interval_is_that_of_cv_plus(self):
        rng = np.random.default_rng(1)
        X, y = rng.standard_normal((24, 2)), rng.standard_normal(24)
        folds = [(np.flatnonzero(np.arange(24) % 3 != k), np.arange(k, 24, 3)) for k in range(3)]
        model = Pooled(LinearRegression()).fit(X, y, task=np.zeros(24))
        found = calibrate(model, X, y, np.zeros(24), cv=folds)
        new = rng.standard_normal((5, 2))
        lower, upper = found.predict_interval(new, np.zeros(5), level=0.8)
        low, high = np.zeros((24, 5)), np.zeros((24, 5))
        for train, test in folds:
            fold = LinearRegression().fit(X[train], y[train])
            errors = np.abs(y[test] - fold.predict(X[test]))[:, None]
            low[test], high[test] = fold.predict(new) - errors, fold.predict(new) + errors
        # One task has one scale, so that the errors are what they are.
        k = math.ceil(0.8 * 25)
        assert_allclose(upper, np.sort(high, axis=0)[k - 1], rtol=1e-9)
        assert_allclose(lower, np.sort(low, axis=0)[24 - k], rtol=1e-9)

    def test_classes_are_those_of_cv_plus(self):
        rng = np.random.default_rng(2)
        X = rng.standard_normal((40, 2))
        y = (X[:, 0] + rng.standard_normal(40) > 0).astype(int)
        folds = [(np.flatnonzero(np.arange(40) % 4 != k), np.arange(k, 40, 4)) for k in range(4)]
        model = Pooled(LogisticRegression()).fit(X, y, task=np.zeros(40))
        new = rng.standard_normal((30, 2))
        found = calibrate(model, X, y, np.zeros(40), cv=folds).predict_set(new, np.zeros(30), 0.95)
        above = np.zeros((30, 2))
        for train, test in folds:
            fold = LogisticRegression().fit(X[train], y[train])
            errors = 1 - fold.predict_proba(X[test])[np.arange(10), y[test]]
            above += (1 - fold.predict_proba(new)[:, :, None] > errors).sum(axis=2)
        expected = above < 0.95 * 41 - 1e-9
        expected[np.arange(30), model.predict_proba(new, np.zeros(30)).argmax(axis=1)] = True
        assert_array_equal(found, expected)
        assert 1 < found.sum(axis=1).mean() < 2

    def test_scales_of_tasks_are_learned(self):
        rng = np.random.default_rng(3)
        true = np.exp(0.8 * rng.standard_normal(200))
        task = np.repeat(np.arange(200), 10)
        errors = np.abs(true[task] * rng.standard_normal(2000)) * math.sqrt(math.pi / 2)
        scale, each = task_scales(errors, task, np.ones(2000), np.ones(200))
        own = np.bincount(task, errors) / 10
        # Pulled towards all tasks they are nearer to the truth than what each task says alone.
        assert np.mean(np.log(scale / true) ** 2) < 0.9 * np.mean(np.log(own / true) ** 2)
        # Without itself, an error does not pull its scale up.
        at = np.argmax(errors / own[task])
        assert each[at] < scale[task[at]]
        # Where all tasks are alike, no task has a scale of its own.
        alike, _ = task_scales(
            np.abs(rng.standard_normal(2000)), task, np.ones(2000), np.ones(200)
        )
        assert alike.max() / alike.min() < 1.2

    def test_two_rows_that_predict_each_other_tell_no_scale_of_one_another(self):
        # Each is predicted by the other, so that both err by the same number.
        pairs = np.repeat(np.abs(np.random.default_rng(0).standard_normal(50)), 2)
        _, each = task_scales(pairs, np.repeat(np.arange(50), 2), np.ones(100), np.ones(50))
        assert_allclose(each, each[0])
        # The log of one normal error varies far more than 1 / n says.
        n, few = np.repeat([21, 2], [100, 400]), np.random.default_rng(0)
        errors = np.abs([*few.standard_normal(2100), *np.repeat(few.standard_normal(400), 2)])
        scale, _ = task_scales(errors, np.repeat(np.arange(500), n), np.ones(2900), np.ones(500))
        assert scale.max() / scale.min() < 2

    @pytest.mark.parametrize("size", [1e-50, 0.01, 0.7, 1e50])
    def test_scales_do_not_depend_on_the_unit_of_the_weights(self, size):
        rng = np.random.default_rng(5)
        task, weight = np.repeat(np.arange(30), np.arange(1, 31)), 0.5 + rng.random(465)
        errors = np.abs(rng.standard_normal(465)) * np.exp(rng.standard_normal(30))[task]
        for own in (np.ones(465), weight):
            pair = [task_scales(errors, task, own * c, np.ones(30)) for c in (1.0, size)]
            assert_allclose(pair[0][0], pair[1][0], rtol=1e-9)
            assert_allclose(pair[0][1], pair[1][1], rtol=1e-9)
        assert pair[0][0].max() > 3 * pair[0][0].min()

    def test_tasks_without_errors_have_the_common_scale(self):
        scale, _ = task_scales(np.ones(3), np.array([0, 0, 2]), np.ones(3), np.ones(3))
        assert_allclose(scale, scale[0])
        assert_array_equal(task_scales(np.zeros(3), np.arange(3), np.ones(3), np.ones(3))[0], 0)

    def test_many_errors_are_thinned_evenly(self, monkeypatch):
        rng = np.random.default_rng(4)
        task = np.repeat([0, 1], [9000, 100])
        rows = ErrorRows(np.abs(rng.standard_normal(9100)), task, task % 2, np.ones(9100),
                         np.ones(9100, bool))  # fmt: skip
        numbers = np.ones(2, bool)
        whole = HeldOutErrors.of(rows, numbers, np.ones(2))
        monkeypatch.setattr(held_out_errors, "_MOST", 1000)
        few = HeldOutErrors.of(rows, numbers, np.ones(2))
        assert len(few.errors) == 1000
        assert np.bincount(few.task).tolist() == [900, 100]
        assert few.weight.sum() == pytest.approx(9100)
        for level in (0.5, 0.9, 0.99):
            radius = few.pool(0, False).radius(level)
            assert radius == pytest.approx(whole.pool(0, False).radius(level), rel=0.02)


class TestLevels:
    @pytest.mark.parametrize(
        "model",
        [
            MultiTaskRegressor(),
            SingleTask(LinearRegression()),
            Pooled(LinearRegression(), task_effect="intercept"),
            BayesianMultiTaskRegressor(),
        ],
        ids=lambda model: type(model).__name__,
    )
    def test_calibrated_intervals_hold_new_rows(self, model):
        train, new = halves(40)
        found = calibrate(model.fit(*train), *train)
        assert_array_equal(found.predict(new[0], new[2]), model.predict(new[0], new[2]))
        share = inside(found, new)
        assert 0.88 < share.mean() < 0.94
        # The noise of tasks differs by factors: a common one would miss half the rows of some.
        assert share.reshape(20, -1).mean(axis=1).min() > 0.75
        assert 0.76 < inside(found, new, level=0.8).mean() < 0.86
        assert 0.88 < inside(found, new, by_task=True).mean() < 0.95

    def test_searches_keep_what_their_folds_hold_out(self):
        train, new = halves(40)
        for model in (
            MultiTaskRegressorCV(toward_mean() + L2(), alphas=6),
            AutoMultiTaskRegressor(["separate", "pooled"]),
        ):
            found = model.fit(*train)
            share = inside(found, new)
            assert 0.88 < share.mean() < 0.94
            assert share.reshape(20, -1).mean(axis=1).min() > 0.75
            told = found.coverage_frame()
            assert (told["rows"] == 40).all()
            assert told["coverage"].mean() == pytest.approx(0.9, abs=0.02)
            # What one fit held out says nothing about the next.
            again = found.fit(train[0][:400], train[1][:400], train[2][:400])
            assert again.coverage_frame()["rows"].sum() == 400

    def test_sets_of_classes_hold_the_true_one(self):
        train, new = halves(40)
        X, y, task = new
        rows = train[0], train[1] > 0, train[2]
        for found in (
            MultiTaskClassifierCV(toward_mean() + L2(), alphas=3).fit(*rows),
            calibrate(MultiTaskClassifier().fit(*rows), *rows),
        ):
            sets = found.predict_set(X, task)
            assert sets.dtype == bool
            assert 0.87 < sets[np.arange(len(y)), (y > 0).astype(int)].mean() < 0.93
            assert 1.0 <= sets.sum(axis=1).mean() < 1.6
            assert (sets.sum(axis=1) > 0).all()
            assert not hasattr(found, "predict_interval")

    def test_counts_have_intervals_in_units_of_their_root(self):
        rng = np.random.default_rng(5)
        X, task = rng.standard_normal((3000, 1)), np.arange(3000) % 10
        y = rng.poisson(np.exp(2 + X[:, 0])).astype(float)
        first = np.arange(3000) < 1000
        model = MultiTaskRegressor(L2(0.01), loss="poisson").fit(X[first], y[first], task[first])
        found = calibrate(model, X[first], y[first], task[first])
        lower, upper = found.predict_interval(X[~first], task[~first])
        assert lower.min() >= 0
        held = (lower <= y[~first]) & (y[~first] <= upper)
        high = X[~first, 0] > 1
        assert 0.86 < held[high].mean() < 0.95
        assert 0.86 < held[~high].mean() < 0.95
        assert (upper - lower)[high].mean() > 2 * (upper - lower)[~high].mean()

    def test_unseen_tasks_have_the_errors_of_whole_tasks(self):
        X, y, task = tasks_of(20, tasks=60, spread=0.1)
        y = y + 5 * np.random.default_rng(6).standard_normal(60)[task]
        old = task < 30
        for make in (
            lambda *rows: MultiTaskRegressorCV(alphas=4, unseen_tasks="shared").fit(*rows),
            lambda *rows: calibrate(MultiTaskRegressor(unseen_tasks="shared").fit(*rows), *rows),
        ):
            found = make(X[old], y[old], task[old])
            lower, upper = found.predict_interval(X[~old], task[~old])
            assert 0.8 < ((lower <= y[~old]) & (y[~old] <= upper)).mean() < 1.0
            narrow = found.predict_interval(X[old], task[old])
            assert (upper - lower).mean() > 2 * (narrow[1] - narrow[0]).mean()


class TestForms:
    def test_several_targets_of_several_kinds(self):
        X, y, _ = tasks_of(100, tasks=2)
        Y = np.column_stack([y, 1000 * y, y > 0])
        Y[::3, 0] = np.nan
        model = MultiTaskModel(loss={0: "squared", 1: "squared", 2: "logistic"}).fit(X, Y)
        found = calibrate(model, X, Y)
        lower, upper = found.predict_interval(X)
        assert np.isnan(lower[:, 2]).all()
        for t in (0, 1):
            seen = ~np.isnan(Y[:, t])
            held = (lower[seen, t] <= Y[seen, t]) & (Y[seen, t] <= upper[seen, t])
            assert held.mean() == pytest.approx(0.91, abs=0.05)
        sets = found.predict_set(X)
        assert sets[0] is None
        assert sets[2].shape == (200, 2)

    def test_mappings_and_rows_in_any_order(self):
        X, y, task = tasks_of(12, tasks=4)
        found = calibrate(MultiTaskRegressor().fit(X, y, task), X, y, task)
        lower, upper = found.predict_interval(X, task)
        mixed = np.random.default_rng(0).permutation(len(y))
        assert_allclose(found.predict_interval(X[mixed], task[mixed])[1], upper[mixed])
        parts = found.predict_interval({t: X[task == t] for t in (2, 0)})
        assert_allclose(parts[0][2], lower[task == 2])
        assert_allclose(parts[1][0], upper[task == 0])

    def test_saved_and_loaded(self, tmp_path):
        X, y, task = tasks_of(12, tasks=4)
        rows = X, y > 0, task
        for model, asked in (
            (calibrate(MultiTaskRegressor().fit(X, y, task), X, y, task), "predict_interval"),
            (MultiTaskRegressorCV(alphas=3).fit(X, y, task), "predict_interval"),
            (calibrate(MultiTaskClassifier().fit(*rows), *rows), "predict_set"),
        ):
            save(model, tmp_path / "m.polytask")
            again = load(tmp_path / "m.polytask")
            (tmp_path / "m.polytask").unlink()
            for one, two in zip(
                getattr(again, asked)(X, task), getattr(model, asked)(X, task), strict=True
            ):
                assert_array_equal(one, two)

    def test_errors_of_whole_tasks_stay_apart_where_there_are_several_groupings(self):
        X, y, task = tasks_of(12, tasks=6)
        groupings = np.column_stack([task, np.arange(len(y)) % 3])
        model = BayesianMultiTaskRegressor("scalar", unseen_tasks="shared")
        found = calibrate(model.fit(X, y, groupings), X, y, groupings, cv=3)
        assert found.coverage_frame()["rows"].tolist() == [12.0] * 6
        assert len(found._held_out.strange) == len(y)
        new = np.column_stack([np.full(2, 99), [0, 1]])
        low, high = found.predict_interval(X[:2], new, level=0.5)
        assert (high - low > 0).all()

    def test_rows_of_tasks_of_one_row_count(self):
        X, y, task = tasks_of(10, tasks=6)
        task = np.where(np.arange(60) < 55, task, 100 + np.arange(60))
        found = calibrate(MultiTaskRegressor().fit(X, y, task), X, y, task)
        assert found.coverage_frame()["rows"].tolist() == [10.0] * 5 + [5.0] + [1.0] * 5
        assert not len(found._held_out.strange)
        assert len(found._fold_models) == 5
        # Separate models have nothing to predict such a row with.
        single = SingleTask(LinearRegression()).fit(X, y, task)
        assert calibrate(single, X, y, task).coverage_frame()["rows"].sum() == 55

    @pytest.mark.parametrize("kind", ["deep", "boosting", "criterion"])
    def test_networks_boosting_and_criteria(self, kind, tmp_path):
        X, y, task = tasks_of(40, tasks=5)
        if kind == "deep":
            pytest.importorskip("torch")
            from polytask.deep import DeepMultiTaskRegressor

            model = DeepMultiTaskRegressor(max_epochs=5, random_state=0)
        elif kind == "boosting":
            pytest.importorskip("lightgbm")
            from polytask.boosting import MixedBoostingRegressor

            model = MixedBoostingRegressor(cv=2)
        else:
            model = MultiTaskRegressorIC(L2(), alphas=3)
        found = calibrate(model.fit(X, y, task), X, y, task, cv=2)
        assert 0.85 < inside(found, (X, y, task)).mean() < 0.99
        save(found, tmp_path / "m.polytask")
        again = load(tmp_path / "m.polytask")
        for one, two in zip(
            again.predict_interval(X, task), found.predict_interval(X, task), strict=True
        ):
            assert_allclose(one, two, rtol=1e-5)

    def test_folds_that_look_forward_have_no_models(self):
        X, y, task = tasks_of(30, tasks=5)
        model = MultiTaskRegressor().fit(X, y, task)
        forward = TimeOrdered(np.tile(np.arange(30), 5), n_splits=3)
        found = calibrate(model, X, y, task, cv=forward)
        lower, upper = found.predict_interval(X, task)
        assert_allclose((lower + upper) / 2, model.predict(X, task))
        assert found.coverage_frame()["rows"].max() < 30


class TestRefusals:
    def test_nothing_held_out(self):
        X, y, task = tasks_of(10, tasks=3)
        with pytest.raises(IncompatibleError, match=r"polytask\.calibrate\(model, X, y"):
            MultiTaskRegressor().fit(X, y, task).predict_interval(X, task)
        with pytest.raises(IncompatibleError, match="no sets"):
            MultiTaskClassifier().fit(X, y > 0, task).predict_set(X, task)
        with pytest.raises(IncompatibleError, match="fitted estimator of polytask; got Dummy"):
            calibrate(DummyRegressor(), X, y, task)

    def test_levels_and_folds(self):
        X, y, task = tasks_of(10, tasks=3)
        model = MultiTaskRegressor().fit(X, y, task)
        twice = [(np.arange(20), np.arange(20, 30)), (np.arange(10), np.arange(20, 30))]
        with pytest.raises(ParameterError, match="10"):
            calibrate(model, X, y, task, cv=twice)
        with pytest.raises(ParameterError, match="level"):
            calibrate(model, X, y, task).predict_interval(X, task, level=90)

    def test_tasks_and_rows_that_no_fold_knows(self):
        X, y, task = tasks_of(10, tasks=3)
        model = MultiTaskRegressor().fit(X, y, task)
        found = calibrate(model, X, y, task)
        found.unseen_tasks = "shared"
        with pytest.raises(IncompatibleError, match="no intervals for unseen tasks"):
            found.predict_interval(X[:1], ["new"])
        model.unseen_tasks = "shared"
        found = calibrate(model, X, y, task, cv=LeaveTasksOut(3))
        with pytest.raises(IncompatibleError, match="for unseen tasks alone"):
            found.predict_interval(X, task)

    @pytest.mark.parametrize(
        ("model", "asked", "y"),
        [
            (MultiTaskRegressor(), "predict_interval", np.arange(24.0)),
            (MultiTaskClassifier(), "predict_set", np.arange(24) % 2),
        ],
    )
    def test_by_task_is_true_or_false(self, model, asked, y):
        X, _, task = tasks_of(8, tasks=3)
        model.fit(X, y, task)
        said = f"by_task of {type(model).__name__}.{asked} must be True or False; got 'yes'"
        with pytest.raises(ParameterError, match=said):
            getattr(model, asked)(X, task, by_task="yes")

    def test_too_few_errors(self):
        X, y, task = tasks_of(8, tasks=3)
        found = calibrate(MultiTaskRegressor().fit(X, y, task), X, y, task)
        with pytest.warns(DataWarning, match="3 tasks have too few held-out errors"):
            lower, _ = found.predict_interval(X, task, by_task=True)
        assert_array_equal(lower, found.predict_interval(X, task)[0])
        assert np.isinf(found.predict_interval(X, task, level=0.99)[0]).all()


def test_the_card_has_the_coverage_of_every_task():
    X, y, task = tasks_of(20, tasks=4)
    model = MultiTaskRegressor().fit(X, y, task)
    assert model.card().content["held out"] == {}
    found = calibrate(model, X, y, task)
    card = found.card()
    told = found.coverage_frame()
    assert card.content["held out"]["rows"] == 80
    assert card.content["held out"]["coverage at 90%"] == pytest.approx(told["coverage"].mean())
    assert [entry["coverage"] for entry in card.content["tasks"]] == told["coverage"].tolist()
    assert f"| 20 | {told['coverage'][0]} |" in card.markdown


def test_rows_that_cannot_be_those_of_the_fit_are_refused():
    import pandas as pd

    X, y, task = tasks_of(6, tasks=4)[:3]
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = MultiTaskRegressor().fit(table, y, task=task)
    for rows, labels, said in (
        (table.drop(columns="b"), task, "X of calibrate lacks 1 .* 'b'"),
        (table.assign(d=1.0), task, "X has 4 features, but calibrate is expecting 3"),
        (table, task + 10, "got 4 unseen labels"),
    ):
        with pytest.raises(DataError, match=said):
            calibrate(model, rows, y, task=labels)
    assert calibrate(model, table[["c", "a", "b"]], y, task=task).predict_interval(table, task)
