"""New rows against training rows: the tests against scipy, planted changes, unchanged rows."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from polytask import (
    BayesianMultiTaskClassifier,
    DataError,
    IncompatibleError,
    Monitoring,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    ParameterError,
    SingleTask,
    calibrate,
    compare,
    load,
    monitor,
    save,
)
from polytask.messages import Translator
from polytask.monitoring.records import Gain
from polytask.monitoring.tests import (
    cell_counts,
    mean_p_values,
    rank_moments,
    score_moments,
    share_p_values,
)
from polytask.penalties import L2
from polytask.statistics import fit_parts

N = 300


def cells_of(values: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Count values in cells of one value each, with empty cells between them."""
    return np.bincount(2 * np.searchsorted(every, values) + 1, minlength=2 * len(every) + 1) * 1.0


@pytest.mark.parametrize("ties", [False, True])
def test_rank_tests_of_equal_sizes_are_those_of_scipy(ties):
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=40), rng.normal(0.4, 1.5, size=40)
    old, new = (old.round(), new.round()) if ties else (old, new)
    every = np.unique(np.concatenate([old, new]))
    counts = cells_of(old, every), cells_of(new, every)
    # With as many new rows as old ones the sum is symmetric, and its law the normal one.
    wilcoxon = scipy.stats.mannwhitneyu(new, old, method="asymptotic", use_continuity=False)
    assert rank_moments(*counts).p_values() == pytest.approx(wilcoxon.pvalue, rel=1e-9)
    if not ties:
        mood = scipy.stats.mood(old, new).pvalue
        assert rank_moments(*counts, spread=True).p_values() == pytest.approx(mood, rel=1e-9)


def test_moments_are_those_of_random_choices():
    rng = np.random.default_rng(1)
    scores, both = rng.exponential(size=6), np.array([3, 1, 4, 2, 5, 1])
    rows, m = np.repeat(scores, both), 5
    train, new = both.copy(), np.zeros(6)
    for cell in rng.choice(np.repeat(np.arange(6), both), m, replace=False):
        train[cell] -= 1
        new[cell] += 1
    found = score_moments(scores, train.astype(float), new)
    sums = rng.permuted(np.tile(rows, (200_000, 1)), axis=1)[:, :m].sum(axis=1)
    assert found.excess == pytest.approx(new @ scores - sums.mean(), abs=0.02)
    assert found.variance == pytest.approx(sums.var(), rel=0.02)
    assert found.third == pytest.approx(((sums - sums.mean()) ** 3).mean(), rel=0.1)


def test_skewed_tails_are_near_the_exact_ones():
    # Of rare cells a normal law would be wrong by powers of ten.
    train, new = np.array([960.0, 40.0]), np.array([180.0, 20.0])
    table = [[20, 180], [40, 960]]
    exact = scipy.stats.fisher_exact(table, alternative="greater").pvalue
    moments = score_moments(np.array([0.0, 1.0]), train, new)
    assert moments.p_values(two_sided=False, step=1.0) == pytest.approx(exact, rel=0.25)


def test_shares_and_means_are_those_of_scipy():
    p = share_p_values(*map(np.array, ([3.0], [50.0], [9.0], [40.0])))
    sides = [scipy.stats.fisher_exact([[9, 31], [3, 47]], alternative=a).pvalue
             for a in ("greater", "less")]  # fmt: skip
    assert p[0] == pytest.approx(min(2 * min(sides), 1.0))
    assert np.isnan(share_p_values(*map(np.array, ([0.0], [50.0], [0.0], [40.0]))))[0]
    rng = np.random.default_rng(2)
    old, new = rng.normal(size=12), rng.normal(1, 3, size=30)
    facts = [(v.mean(), v.var(ddof=1), np.float64(len(v))) for v in (old, new)]
    welch = scipy.stats.ttest_ind(old, new, equal_var=False).pvalue
    assert mean_p_values(*facts[0], *facts[1]) == pytest.approx(welch)


def test_cells_count_equal_cuts_once():
    values, cuts = np.array([0.0, 0, 0, 1, 2, 3]), np.array([0.0, 0.0, 1.0, 3.0])
    below = np.array([(values < c).sum() for c in cuts])
    above = np.array([(values > c).sum() for c in cuts])
    found = cell_counts(np.array(6.0), below, above)
    assert found.sum() == 6
    assert sorted(found[found > 0].tolist()) == [1, 1, 1, 3]
    assert found.tolist()[1::2] != [0] * 4  # the three zeros are one cell of equal values
    assert found[2::2][-1] == 0


@pytest.fixture(scope="module")
def shops() -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({
        "shop": rng.choice(["a", "b", "c"], N), "age": rng.normal(40, 10, N),
        "colour": rng.choice(["red", "blue", "green"], N, p=[0.6, 0.3, 0.1]),
        "visits": rng.poisson(3, N).astype(float),
    })  # fmt: skip
    table.loc[rng.random(N) < 0.1, "age"] = np.nan
    y = table["age"].fillna(40) / 10 + (table["colour"] == "red") + rng.normal(size=N)
    return table, y


@pytest.fixture(scope="module")
def model(shops):
    table, y = shops
    fitted = MultiTaskRegressor(L2(0.01), task_column="shop").fit(table, y)
    return calibrate(fitted, table, y)


def test_training_rows_are_no_change_and_changes_are_named(shops, model):
    table, y = shops
    same = monitor(model, table, y)
    assert same.status == 0
    assert not same.shifts
    assert same.conclusive
    assert "No change" in same.summary()
    assert "没有发现变化" in same.summary("zh")

    new = table.copy()
    new.loc[new["shop"] == "a", "visits"] += 4
    new.loc[new["shop"] == "b", "colour"] = "violet"
    new.loc[:99, "age"] = np.nan
    new.loc[290:, "shop"] = "new"
    found = monitor(model, new)
    named = {(s.task, s.column, s.kind) for s in found.shifts}
    assert {("a", "visits", "location"), ("b", "colour=red", "share")} <= named
    assert (None, "age", "missing") in named
    assert not {task for task, column, _ in named if column == "visits"} - {"a", None}
    shift = next(s for s in found.shifts if (s.task, s.column) == ("a", "visits"))
    assert shift.after - shift.before == 4
    assert shift.chance > 0.8
    assert [(one.column, one.levels) for one in found.new_levels] == [("colour", ("violet",))]
    assert {one.task: one.action for one in found.tasks}["new"] == "adapt"
    assert found.status == 3
    assert "targets" in found.unchecked


def test_grown_errors_of_one_task_are_refitted(shops, model):
    table, y = shops
    noise = np.random.default_rng(0).normal(0, 4, N)
    wrong = y + np.where(table["shop"] == "c", noise, 0.0)
    wrong[5:9] = np.nan
    found = monitor(model, table, wrong)
    states = {one.task: one for one in found.tasks}
    assert [t for t, one in states.items() if one.action == "refit"] == ["c"]
    assert states["c"].growth > 2 > states["a"].growth
    assert states["c"].coverage < 0.7 < states["a"].coverage
    assert sum(one.labelled for one in found.tasks) == N - 4
    assert found.status == 4
    # Errors as usual are those of coverage_frame.
    usual = dict(zip(*model.coverage_frame(0.9)[["task", "coverage"]].to_numpy().T, strict=True))
    assert states["a"].usual_coverage == usual["a"]


def test_a_learned_prior_of_compare_keeps_errors_beside_its_own_intervals(shops, tmp_path):
    table, y = shops
    kept = compare(table, y, task_column="shop", models=["learned prior"])
    prior = kept.best_model("learned prior")
    own = prior.predict_interval(table)
    assert_array_equal(own, copy_without_errors(prior).predict_interval(table))
    with pytest.raises(IncompatibleError, match="intervals or sets of its own"):
        prior.coverage_frame()
    save(prior, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert_array_equal(again.predict_interval(table), own)
    same = monitor(again, table, y)
    assert (same.status, same.unchecked) == (0, ())
    noise = np.random.default_rng(0).normal(0, 4, N)
    found = monitor(again, table, y + np.where(table["shop"] == "c", noise, 0.0))
    states = {one.task: one for one in found.tasks}
    assert [t for t, one in states.items() if one.action == "refit"] == ["c"]
    assert states["c"].growth > 2
    assert np.isnan(states["c"].coverage)
    assert calibrate(again, table, y).coverage_frame()["coverage"].between(0.7, 1).all()


def copy_without_errors(model):
    found = copy.copy(model)
    found._forget_held_out()
    return found


def test_gains_tell_whether_the_model_is_worth_its_place(shops, model):
    table, y = shops
    gains = {gain.rival: gain for gain in monitor(model, table, y).gains}
    assert gains["mean"].low > 0
    assert gains["mean"].rows == N
    # The ratio of squared errors, with the mean of the other folds near the mean of the task.
    error = (y - model.predict(table)).pow(2).sum()
    within = y.groupby(table["shop"]).var(ddof=1).mul(y.groupby(table["shop"]).size()).sum()
    assert gains["mean"].gain == pytest.approx(1 - error / within, abs=0.02)
    opposite = monitor(model, table, 2 * y.mean() - y)
    assert {g.rival for g in opposite.gains if g.high < 0} == {"mean", "separate"}
    # That a rival is better is no change, and no such advice stands below that none was found.
    steady = dataclasses.replace(opposite, tasks=(), shifts=(), refit_all=False)
    assert steady.status == 0
    assert "Refit" not in steady.summary()
    assert "better than the model" in steady.summary()


def test_targets_in_columns_and_classes():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(150, 4))
    Y = X @ rng.normal(size=(4, 3)) + rng.normal(size=(150, 3))
    several = MultiTaskRegressor(L2(0.01)).fit(X, Y)
    several = calibrate(several, X, Y)
    wrong = Y.copy()
    wrong[:, 1] += 4 * rng.normal(size=150)
    wrong[:20, 0] = np.nan
    found = monitor(several, X, wrong)
    assert {one.task: one.action for one in found.tasks} == {0: "none", 1: "refit", 2: "none"}
    assert monitor(several, X + np.array([0, 0, 2, 0])).shifts[0].column == "x2"

    task, y = (
        np.repeat(["a", "b"], 75),
        np.where(X[:, 0] + rng.logistic(size=150) > 0, "yes", "no"),
    )
    classes = BayesianMultiTaskClassifier().fit(X, y, task)
    classes = calibrate(classes, X, y, task=task)
    assert monitor(classes, X, y, task).status == 0
    turned = monitor(classes, X, np.where(y == "yes", "no", "yes"), task)
    assert turned.refit_all
    assert turned.status == 4
    gaps = y.astype(object)
    gaps[:10] = None
    assert monitor(classes, X, gaps, task).status == 0


def test_models_of_statistics_keep_means_and_older_ones_nothing(shops, tmp_path):
    rng = np.random.default_rng(5)
    X, task = rng.normal(size=(N, 3)), np.repeat([0, 1, 2], N // 3)
    summed = MultiTaskRegressor(L2(0.01)).partial_fit(X, X.sum(axis=1), task)
    kept = summed.data_card_.training
    assert kept.mean[1, :3] == pytest.approx(X[task == 1].mean(axis=0))
    assert kept.variance[1, :3] == pytest.approx(X[task == 1].var(axis=0))
    assert monitor(summed, X, task=task).status == 0
    found = monitor(summed, X + np.array([0, 1, 0]), task=task)
    assert {one.column for one in found.shifts} == {"x1"}
    assert "spread" in found.unchecked

    save(summed, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert monitor(again, X + np.array([0, 1, 0]), task=task).to_json() == found.to_json()
    again.data_card_ = dataclasses.replace(again.data_card_, training=None)
    nothing = monitor(again, X, task=task)
    assert "columns" in nothing.unchecked
    assert nothing.status == 5


def test_rows_in_parts_keep_means_and_shares(shops):
    table, y = shops
    classes = np.where(y > y.median(), "high", "low")
    rows = table.drop(columns="age").assign(kind=classes)
    read = lambda: (rows[k : k + 100] for k in (0, 100, 200))  # noqa: E731
    parts = fit_parts(MultiTaskClassifier(L2(0.01)), read, "kind", task_column="shop")
    kept = parts.data_card_.training
    own = rows[rows["shop"] == kept.tasks[0]]
    at = parts.coef_feature_names_.tolist().index("visits")
    assert kept.mean[0, at] == pytest.approx(own["visits"].mean())
    assert kept.variance[0, at] == pytest.approx(own["visits"].var(ddof=0))
    assert kept.mean[0, -1] == pytest.approx((own["kind"] == kept.classes[0][0]).mean())
    X = rows.drop(columns="kind")
    assert monitor(parts, X, classes).status == 0
    moved = monitor(parts, X.assign(visits=X["visits"] + 3))
    assert {one.column for one in moved.shifts} == {"visits"}


def test_new_tasks_are_judged_where_the_model_predicts_them(shops):
    table, y = shops
    new = table.assign(shop=np.where(np.arange(N) < 40, "new", table["shop"]))
    for kind, predicted in (({"unseen_tasks": "shared"}, True), ({}, False)):
        shared = MultiTaskRegressor(L2(0.01), task_column="shop", **kind).fit(table, y)
        state = next(one for one in monitor(shared, new, y).tasks if one.task == "new")
        assert (state.action, state.labelled) == ("adapt", 40)
        assert np.isfinite(state.error) == predicted
        if predicted:
            wanted = np.abs(y - shared.predict(new))[:40].mean()
            assert state.error == pytest.approx(wanted)
    alone = SingleTask(Ridge()).fit(table[["visits"]], y, task=table["shop"])
    found = monitor(alone, new[["visits"]], y, new["shop"])
    assert {one.task: one.action for one in found.tasks}["new"] == "fit"
    assert "adapt cannot extend this kind of model: new." in found.summary()


def test_the_headline_says_whether_rows_changed_or_tasks_are_new(shops):
    table, y = shops
    model = MultiTaskRegressor(L2(0.01), task_column="shop").fit(table, y)
    moved = table.assign(visits=table["visits"] + 4)
    strange = table.assign(shop=np.where(np.arange(N) < 40, "new", table["shop"]))
    both = strange.assign(visits=moved["visits"])
    told = {"The rows have changed": moved, "There are new tasks": strange}
    told |= {"The rows have changed, and there are new tasks": both}
    for said, rows in told.items():
        assert monitor(model, rows).document().headline == said


def test_words_say_which_model_is_better_and_how_growth_and_level_came_about(shops):
    table, y = shops
    model = calibrate(MultiTaskRegressor(L2(0.01), task_column="shop").fit(table, y), table, y)
    found = monitor(model, table, y)
    better = Gain("separate", 0.21, -0.3, 0.7, 0.98, 40, 4)
    worse = dataclasses.replace(better, gain=-0.21, low=-0.7, high=0.3)
    for gain, words in {
        better: "Here the model is better than a separate model",
        worse: "Here a separate model of the task's new rows is better: the squared error of the",
    }.items():
        said = dataclasses.replace(found, gains=(gain,)).summary()
        assert words in said
        assert "The level of these intervals is 98% rather than 95% because" in said
    usual = dataclasses.replace(found, gains=(dataclasses.replace(better, level=0.95),))
    assert "rather than 95%" not in usual.summary()
    say = Translator()
    for growth, same in ((1.0, True), (1.3, False)):
        states = [dataclasses.replace(one, growth=1.0, action="watch") for one in found.tasks]
        states[0] = dataclasses.replace(states[0], growth=growth)
        told = " ".join(dataclasses.replace(found, tasks=tuple(states)).columns_said(say))
        assert ("The growth of all tasks is the same here" in told) == same
        assert "Watch: columns of the task have moved" in told


def test_rows_without_weight_are_not_kept():
    rng = np.random.default_rng(6)
    X, task = rng.normal(size=(60, 2)), np.repeat([0, 1], 30)
    weight = (np.arange(60) % 3 > 0) * rng.uniform(0.5, 2, 60)
    y, used = X.sum(axis=1), weight > 0
    kept = MultiTaskRegressor(L2(0.01)).fit(X, y, task, weight).data_card_.training
    fewer = MultiTaskRegressor(L2(0.01)).fit(X[used], y[used], task[used]).data_card_.training
    for name in ("counts", "cuts", "below", "above"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fewer, name))


def test_of_a_task_of_two_rows_nothing_is_kept():
    X = np.random.default_rng(9).normal(size=(60, 2))
    for task in (np.repeat([0, 1, 2], [1, 2, 57]), np.repeat(np.arange(30), 2)):
        model = MultiTaskRegressor(L2(0.01)).fit(X, X[:, 0], task)
        cuts = model.data_card_.training.cuts
        assert np.isnan(cuts[:2]).all()
        assert np.isfinite(cuts[2:]).all() == (len(cuts) == 3)
        found = monitor(model, X, task=task)
        assert not found.shifts
        assert not any(one.outside for one in found.tasks)


def test_a_target_that_moved_is_not_one_whose_name_begins_its_name():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, 2))
    Y = pd.DataFrame({"s": X[:, 0] + rng.normal(size=N), "s2": X[:, 1] + rng.normal(size=N)})
    model = calibrate(MultiTaskRegressor(L2(0.01)).fit(X, Y), X, Y)
    moved = monitor(model, X, Y.assign(s2=Y["s2"] + 8))
    assert {one.column for one in moved.shifts} == {"s2"}
    assert {one.task: one.action for one in moved.tasks} == {"s": "none", "s2": "refit"}


def test_a_prediction_that_is_a_target_of_training_is_not_outside_of_them():
    X, task = np.arange(60.0)[:, None], np.repeat([0, 1], 30)
    y = np.random.default_rng(8).normal(size=60)
    trees = SingleTask(DecisionTreeRegressor()).fit(X, y, task)
    assert [one.outside for one in monitor(trees, X, task=task).tasks] == [0, 0]
    line = SingleTask(Ridge()).fit(X, X[:, 0], task)
    assert [one.outside for one in monitor(line, X + 100, task=task).tasks] == [30, 30]


def test_few_rows_are_no_answer_and_results_come_back(shops, model, tmp_path):
    table, y = shops
    few = monitor(model, table[table["shop"] == "a"].head(1))
    assert [one.action for one in few.tasks] == ["too_few"]
    assert few.status == 5
    found = monitor(model, table.assign(visits=table["visits"] * 3), y)
    assert Monitoring.from_json(found.to_json()).to_json() == found.to_json()
    older = {k: v for k, v in json.loads(found.to_json()).items() if k != "lock"}
    assert Monitoring.from_json(json.dumps(older)).lock == {}
    page = found.to_html(tmp_path / "m.html", "zh").read_text(encoding="utf-8")
    assert "visits" in page
    assert "该做什么" in page
    assert len(found.tasks_frame()) == 3
    assert "before" in found.shifts_frame()
    with pytest.raises(ParameterError, match="rate"):
        monitor(model, table, rate=1.5)
    with pytest.raises(DataError, match="model"):
        monitor("model", table)


def test_rows_far_from_all_others_and_targets_of_another_kind(shops, model):
    rows, y = shops
    numbers = rows.select_dtypes("number").columns
    far = rows.assign(**dict.fromkeys(numbers, 1e300))
    assert monitor(model, far, y).status in (3, 4)
    assert monitor(model, rows, y * 0.0 + 1e308).status == 4
    with pytest.raises(DataError, match="must be numbers; got 'high'"):
        monitor(model, rows, ["high"] * len(rows))


def test_unchanged_rows_are_seldom_called_a_change():
    called = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        level, task = rng.normal(size=20), np.repeat(np.arange(20), 8)

        def rows(rng=rng, level=level, task=task) -> np.ndarray:
            skewed = rng.lognormal(size=len(task)), rng.binomial(1, 0.05, len(task))
            return np.column_stack([rng.normal(size=len(task)) + level[task], *skewed])

        X = rows()
        fitted = MultiTaskRegressor(L2(0.01)).fit(X, X.sum(axis=1), task=task)
        called += monitor(fitted, rows(), task=task).status != 0
    # At the stated rate of 5% more than 8 of 60 have a chance below 1%.
    assert called <= 8


def test_that_time_has_passed_is_no_change():
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(600) % 300, unit="D")
    X = pd.DataFrame({"x": rng.normal(size=600), "day": day})
    task = np.arange(600) % 2
    model = MultiTaskRegressor(date_features=True).fit(X, X["x"] + task, task=task)
    later = X.assign(x=rng.normal(size=600), day=day + pd.Timedelta(days=301))
    assert not monitor(model, later, task=task).shifts
    only = later[later["day"].dt.day_of_week == 2]
    found = monitor(model, only, task=task[only.index]).shifts
    assert found
    assert all(shift.column.startswith("day=weekday=") for shift in found)


def test_numbers_beside_classes_are_watched_as_numbers():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])

    def targets(frame, moved):
        level = frame["a"] + moved + 0.3 * rng.normal(size=len(frame))
        return pd.DataFrame({"level": level, "kind": np.where(frame["b"] > 0, "yes", "no")})

    model = MultiTaskModel().fit(X, targets(X, 0.0))
    assert model.data_card_.training.classes == (None, ("no",))
    fresh = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    assert "level" not in str(monitor(model, fresh, targets(fresh, 0.0)).shifts)
    assert "level" in str(monitor(model, fresh, targets(fresh, 3.0)).shifts)
