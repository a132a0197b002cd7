"""MissingBlocks: against fits by hand, in every form, and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MissingBlocks,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    Pooled,
    SingleTask,
    TaskData,
    compare,
    load,
    save,
)
from polytask.baselines._missing_blocks import FeatureBlocks, Patterns
from polytask.penalties import L2, L21, along_graph, toward_mean

COLUMNS = ["a1", "a2", "a3", "b1", "b2", "c1", "c2"]
GROUPS = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}
PLACES = {"a": [0, 1, 2], "b": [3, 4]}
TASKS = np.array(["north", "south", "west"])
PENALTY = L21(fraction=0.05)


def sample(seed=0, n=150, gaps=True):
    """Rows of three tasks; a third lacks the features b, a sixth the features a."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 7)) + 0.3
    task = rng.integers(3, size=n)
    W = np.array([1.0, -1.0, 0.0, 1.5, 0.0, 0.5, 0.0])[:, None] * (1 + 0.2 * rng.random((7, 3)))
    y = np.einsum("ij,ji->i", X, W[:, task]) + 0.3 * rng.standard_normal(n) + task
    if gaps:
        X[: n // 3, 3:5] = np.nan
        X[n // 3 : n // 2, :3] = np.nan
    mixed = rng.permutation(n)
    return X[mixed], y[mixed], TASKS[task[mixed]]


def frame(X):
    return pd.DataFrame(X, columns=COLUMNS)


def by_hand(X, y, task, weight=None):
    """The separate form: a table for every task and pattern, of the columns that it has."""
    parts, weights = {}, {}
    for label in TASKS:
        for b in (True, False):
            for a in (True, False):
                rows = task == label
                rows = rows & (~np.isnan(X[:, 0]) == a) & (~np.isnan(X[:, 3]) == b)
                if rows.any():
                    part = frame(X[rows]).dropna(axis=1)
                    parts[label, f"{a}{b}"] = part, y[rows]
                    weights[label, f"{a}{b}"] = None if weight is None else weight[rows]
    return parts, None if weight is None else weights


# ------------------------------------------------------------------ what it equals


REGRESSORS = [
    MultiTaskRegressor(PENALTY),
    MultiTaskRegressor(toward_mean(1.0) + L2(0.1), standardize=True, scale_targets="auto"),
    BayesianMultiTaskRegressor(),
    SingleTask(Ridge()),
]


def forms(X, y, task):
    """The same rows in every form, as arguments of `fit` and of `predict`."""
    wide = np.where(task[:, None] == TASKS[None, :], y[:, None], np.nan)
    separate = {label: (X[task == label], y[task == label]) for label in TASKS}
    apart = {label: part for label, (part, _) in separate.items()}
    return {
        "long": ({"X": X, "y": y, "task": task}, {"X": X, "task": task}),
        "table": ({"X": frame(X), "y": y, "task": task}, {"X": frame(X), "task": task}),
        "targets": ({"X": X, "y": wide}, {"X": X}),
        "separate": ({"X": separate}, {"X": apart}),
    }


def flat(predicted):
    return (
        np.concatenate([predicted[t] for t in TASKS]) if isinstance(predicted, dict) else predicted
    )


@pytest.mark.parametrize("form", ["long", "table", "targets", "separate"])
@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda e: type(e).__name__)
def test_without_gaps_it_is_the_inner_estimator(estimator, form):
    fit, rows = forms(*sample(gaps=False))[form]
    model = MissingBlocks(estimator, GROUPS if form == "table" else PLACES).fit(**fit)
    inner = clone(estimator).fit(**fit)
    np.testing.assert_array_equal(flat(model.predict(**rows)), flat(inner.predict(**rows)))
    assert model.score(**fit) == inner.score(**fit)
    assert model.estimator_.tasks_.tolist() == inner.tasks_.tolist()


@pytest.mark.parametrize("form", ["long", "targets", "separate"])
@pytest.mark.parametrize("levels", [2, 3])
def test_without_gaps_it_is_the_inner_classifier(form, levels):
    X, y, task = sample(gaps=False)
    labels = np.array(["low", "mid", "top"])[
        np.digitize(y, np.quantile(y, [0.4, 0.7])[: levels - 1])
    ]
    fit, rows = forms(X, labels.astype(object), task)[form]
    if form == "targets":
        fit["y"] = np.where(task[:, None] == TASKS[None, :], labels[:, None], None)
    inner = MultiTaskClassifier(L2(0.1)).fit(**fit)
    model = MissingBlocks(MultiTaskClassifier(L2(0.1))).fit(**fit)
    np.testing.assert_array_equal(flat(model.predict(**rows)), flat(inner.predict(**rows)))
    ours, theirs = model.predict_proba(**rows), inner.predict_proba(**rows)
    for mine, other in zip(
        *[r.values() if isinstance(r, dict) else r for r in (ours, theirs)], strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-15)
    assert hasattr(model, "decision_function") == hasattr(inner, "decision_function")
    if form == "long":
        ours, theirs = model.decision_function(**rows), inner.decision_function(**rows)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"standardize": True, "scale_targets": "common"}], ids=str
)
def test_it_is_a_fit_with_a_task_for_each_pattern(settings, weighted):
    X, y, task = sample()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    inner = MultiTaskRegressor(PENALTY, tol=1e-12, **settings)
    model = MissingBlocks(inner, PLACES).fit(X, y, task=task, sample_weight=weight)
    parts, weights = by_hand(X, y, task, weight)
    wanted = clone(inner).fit(parts, sample_weight=weights)
    assert len(parts) == 9
    # By hand the patterns stand in the order of their names.
    rows = {(t, f"{a}{b}"): k for k, (t, a, b) in enumerate(patterns_of(model))}
    order = [rows[tuple(label)] for label in wanted.tasks_]
    np.testing.assert_allclose(model.estimator_.coef_[order], wanted.coef_, atol=1e-7)
    np.testing.assert_allclose(model.estimator_.intercept_[order], wanted.intercept_, atol=1e-7)
    inside = wanted.predict({label: part for label, (part, _) in parts.items()})
    got = model.predict(X, task=task)
    for (label, kind), values in inside.items():
        own = (task == label) & (f"{~np.isnan(X[:, 0])[0]}" != "")
        own &= ~np.isnan(X[:, 0]) == (kind in ("TrueTrue", "TrueFalse"))
        own &= ~np.isnan(X[:, 3]) == (kind in ("TrueTrue", "FalseTrue"))
        np.testing.assert_allclose(got[own], values, atol=1e-6)


def patterns_of(model):
    for (task, _), groups in zip(model.estimator_.tasks_, model.pattern_rows_, strict=True):
        yield task, "a" in groups[1], "b" in groups[1]


def test_separate_tasks_know_nothing_of_each_other():
    X, y, task = sample()
    model = MissingBlocks(SingleTask(Ridge()), PLACES).fit(X, y, task=task)
    own = (task == "west") & np.isnan(X[:, 3])
    wanted = Ridge().fit(X[own][:, [0, 1, 2, 5, 6]], y[own])
    got = model.predict(X[own], task=task[own])
    np.testing.assert_allclose(got, wanted.predict(X[own][:, [0, 1, 2, 5, 6]]))


def test_the_forms_agree():
    X, y, task = sample()
    inner = MultiTaskRegressor(PENALTY, tol=1e-10, intercept="task")
    found = {}
    for form, (fit, rows) in forms(X, y, task).items():
        groups = GROUPS if form == "table" else PLACES
        found[form] = MissingBlocks(inner, groups).fit(**fit).predict(**rows)
    np.testing.assert_allclose(found["table"], found["long"], atol=1e-8)
    column = np.searchsorted(TASKS, task)
    np.testing.assert_allclose(
        found["targets"][np.arange(len(y)), column], found["long"], atol=1e-6
    )
    for label, values in found["separate"].items():
        np.testing.assert_allclose(values, found["long"][task == label], atol=1e-6)


def test_tables_of_tasks_may_lack_columns():
    """A task without the columns is a task whose rows lack the group."""
    X, y, task = sample(gaps=False)
    X[task == "south", 3:5] = np.nan
    gapped = MissingBlocks(MultiTaskRegressor(PENALTY, tol=1e-10), GROUPS)
    gapped.fit(frame(X), y, task=task)
    tables = {t: (frame(X[task == t]).dropna(axis=1), y[task == t]) for t in TASKS}
    apart = clone(gapped).fit(tables)
    np.testing.assert_allclose(apart.estimator_.coef_, gapped.estimator_.coef_, atol=1e-8)
    assert apart.estimator_.tasks_.tolist() == TASKS.tolist()  # one pattern each: named alone
    south = apart.predict({"south": tables["south"][0]})["south"]
    np.testing.assert_allclose(south, gapped.predict(frame(X), task=task)[task == "south"])


def test_polars_and_categories():
    X, y, task = sample()
    table = frame(X).assign(site=task, colour=np.where(X[:, 5] > 0.3, "red", "blue"))
    table.loc[np.isnan(X[:, 0]), "colour"] = None
    groups = {"a": [*GROUPS["a"], "colour"], "b": GROUPS["b"]}
    model = MissingBlocks(MultiTaskRegressor(L21(0.01)), groups, task_column="site").fit(table, y)
    assert "colour=red" in model.coef_feature_names_
    assert not any("missing" in name for name in model.coef_feature_names_)
    assert model.feature_groups_["a"].tolist() == ["a1", "a2", "a3", "colour=blue", "colour=red"]
    other = clone(model).fit(pl.from_pandas(table), y)
    predicted = other.predict_frame(pl.from_pandas(table))
    assert isinstance(predicted, pl.DataFrame)
    np.testing.assert_allclose(
        predicted["prediction"].to_numpy(), model.predict(table), atol=1e-12
    )


def test_a_task_column_of_an_array_is_not_counted():
    X, y, task = sample()
    codes = np.searchsorted(TASKS, task).astype(float)
    joined = np.column_stack([X[:, :2], codes, X[:, 2:]])
    model = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES, task_column=2).fit(joined, y)
    wanted = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES).fit(X, y, task=codes)
    np.testing.assert_array_equal(model.predict(joined), wanted.predict(X, task=codes))
    joined[3, 2] = np.nan
    with pytest.raises(DataError, match="no label in 1 row"):
        model.fit(joined, y)


def test_weights():
    X, y, task = sample()
    weight = np.random.default_rng(3).integers(0, 3, len(y))
    inner = MultiTaskRegressor(PENALTY, tol=1e-12)
    model = MissingBlocks(inner, PLACES).fit(X, y, task=task, sample_weight=weight)
    rows = np.repeat(np.arange(len(y)), weight)
    repeated = MissingBlocks(inner, PLACES).fit(X[rows], y[rows], task=task[rows])
    np.testing.assert_allclose(model.estimator_.coef_, repeated.estimator_.coef_, atol=1e-8)


def test_weights_of_tasks_reach_their_patterns():
    X, y, task = sample()
    heavy = {"north": 1.0, "south": 5.0, "west": 0.5}
    named = MultiTaskRegressor(PENALTY, task_weight=heavy)
    listed = MultiTaskRegressor(PENALTY, task_weight=list(heavy.values()))
    models = [MissingBlocks(inner, PLACES).fit(X, y, task=task) for inner in (named, listed)]
    np.testing.assert_array_equal(*[m.estimator_.coef_ for m in models])
    parts, _ = by_hand(X, y, task)
    wanted = named.set_params(task_weight={pair: heavy[pair[0]] for pair in parts}, tol=1e-6)
    by_pair = wanted.fit(parts)
    assert models[0].estimator_.solution_.objective == pytest.approx(
        by_pair.solution_.objective, rel=1e-6
    )


def test_penalties_may_name_tasks_that_have_one_pattern_each():
    X, y, task = sample(gaps=False)
    X[task == "west", :3] = np.nan
    penalty = along_graph(1.0, {("north", "south"): 1.0}) + L2(0.1)
    model = MissingBlocks(MultiTaskRegressor(penalty), PLACES).fit(X, y, task=task)
    assert model.estimator_.tasks_.tolist() == TASKS.tolist()
    assert list(model.pattern_rows_) == [
        ("north", ("a", "b")), ("south", ("a", "b")), ("west", ("b",)),
    ]  # fmt: skip


# ------------------------------------------------------------------ classes


def test_classes_in_every_form():
    X, y, task = sample()
    labels = np.where(y > np.median(y), "yes", "no").astype(object)
    inner = MultiTaskClassifier(L2(0.05), tol=1e-10)
    long = MissingBlocks(inner, PLACES).fit(X, labels, task=task)
    assert long.classes_.tolist() == ["no", "yes"]
    assert long.score(X, labels, task=task) > 0.8
    proba = long.predict_proba(X, task=task)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(long.classes_[proba.argmax(axis=1)], long.predict(X, task=task))
    decided = long.decision_function(X, task=task)
    np.testing.assert_allclose(1 / (1 + np.exp(-decided)), proba[:, 1], atol=1e-12)
    wide = np.where(task[:, None] == TASKS[None, :], labels[:, None], None)
    targets = MissingBlocks(inner, PLACES).fit(X, wide)
    chosen = np.searchsorted(TASKS, task)
    every = targets.predict_proba(X)
    assert [part.shape for part in every] == [(len(y), 2)] * 3
    got = np.array([every[t][i] for i, t in enumerate(chosen)])
    np.testing.assert_allclose(got, proba, atol=1e-6)


def test_targets_with_classes_of_their_own():
    X, y, _ = sample()
    Y = np.column_stack(
        [np.where(y > 1, "ill", "well"), np.where(X[:, 5] + X[:, 6] > 0, "old", "young")]
    ).astype(object)
    Y[:10, 0] = None
    model = MissingBlocks(MultiTaskClassifier(L2(0.05)), PLACES).fit(X, Y)
    assert [c.tolist() for c in model.classes_] == [["ill", "well"], ["old", "young"]]
    # One column for each pair, as without gaps: no multinomial model of four classes.
    assert model.estimator_.coef_.shape == (6, 7)
    predicted = model.predict(X)
    assert np.mean(predicted[10:, 0] == Y[10:, 0]) > 0.7
    assert np.mean(predicted[:, 1] == Y[:, 1]) > 0.9
    for t, part in enumerate(model.predict_proba(X)):
        np.testing.assert_array_equal(model.classes_[t][part.argmax(axis=1)], predicted[:, t])
    inner = MultiTaskClassifier(L2(0.05), class_weight={"ill": 2.0})
    with pytest.raises(IncompatibleError, match="class_weight by class"):
        MissingBlocks(inner, PLACES).fit(X, Y)


def test_whole_numbers_with_gaps_stay_whole():
    X, y, _ = sample()
    Y = np.column_stack([np.digitize(y, [0, 2]), np.digitize(X[:, 5], [0, 1])]).astype(float)
    Y[:10, 0] = Y[5:9, 1] = np.nan
    model = MissingBlocks(MultiTaskClassifier(L2(0.05)), PLACES).fit(X, Y)
    assert model.predict(X).dtype.kind == "i"
    assert [c.tolist() for c in model.classes_] == [[0, 1, 2]] * 2
    assert [part.shape for part in model.predict_proba(X)] == [(len(y), 3)] * 2


def test_a_pattern_of_one_class():
    X, y, task = sample()
    labels = np.digitize(y, np.quantile(y, [0.4, 0.7]))
    labels[np.isnan(X[:, 0]) & (task == "west")] = 2
    model = MissingBlocks(MultiTaskClassifier(L2(0.05)), PLACES).fit(X, labels, task=task)
    proba = model.predict_proba(X, task=task)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert model.score(X, labels, task=task) > 0.7


# ------------------------------------------------------------------ patterns


def test_groups_are_found_from_what_is_missing_together():
    X, y, task = sample()
    found = MissingBlocks(MultiTaskRegressor(PENALTY)).fit(X, y, task=task)
    given = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES).fit(X, y, task=task)
    assert {k: v.tolist() for k, v in found.feature_groups_.items()} == {
        "x0..x2": ["x0", "x1", "x2"],
        "x3..x4": ["x3", "x4"],
    }
    np.testing.assert_array_equal(found.estimator_.coef_, given.estimator_.coef_)
    table = MissingBlocks(MultiTaskRegressor(PENALTY)).fit(frame(X), y, task=task)
    assert list(table.feature_groups_) == ["a1..a3", "b1..b2"]
    unnamed = MissingBlocks(MultiTaskRegressor(PENALTY), [[0, 1, 2], [3, 4]]).fit(X, y, task=task)
    assert list(unnamed.feature_groups_) == ["0", "1"]


def test_patterns_that_were_not_trained():
    """The largest trained pattern that needs no more than the row has."""
    X, y, task = sample()
    X[np.isnan(X[:, 0]), 5:] = np.nan  # patterns: a + b + c, a + c, b
    groups = PLACES | {"c": [5, 6]}
    model = MissingBlocks(MultiTaskRegressor(PENALTY), groups).fit(X, y, task=task)
    assert {names for _, names in model.pattern_rows_} == {("a", "b", "c"), ("a", "c"), ("b",)}
    row = np.random.default_rng(5).standard_normal((1, 7))
    without = row.copy()
    without[:, 5:] = np.nan  # a + b: b alone fits
    only_b = np.full((1, 7), np.nan)
    only_b[:, 3:5] = row[:, 3:5]
    assert model.predict(without, task=["west"]) == model.predict(only_b, task=["west"])
    only_a = np.full((2, 7), np.nan)
    only_a[0] = row
    only_a[1, :3] = row[:, :3]
    with pytest.raises(
        DataError,
        match=r"^Row 1 of X lacks 'b' and 'c', and MissingBlocks was trained on no rows of task "
        r"'west' that lack the same; it knows the patterns a \+ b \+ c, a \+ c, b\.$",
    ):
        model.predict(only_a, task=["west", "west"])
    with pytest.raises(DataError, match="Row 3 of X"):
        model.predict({"north": row[[0, 0]], "west": only_a})


def test_of_those_that_fit_the_largest_is_taken():
    members = tuple(np.array(m) for m in ([0, 1, 2], [3, 4], [5, 6]))
    blocks = FeatureBlocks(("a", "b", "c"), members, tuple("abcdefgh"))
    have = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=bool)
    patterns = Patterns(np.array([0, 0, 0, 0, 1]), have, np.array([9, 9, 5, 6, 9]))

    def chosen(task, *groups):
        return patterns.nearest(task, np.array(groups, dtype=bool), blocks)

    assert chosen(0, 1, 1, 1) == 0  # five features
    assert chosen(0, 1, 0, 1) == 1  # three rather than two
    assert chosen(0, 0, 1, 1) == 3  # two each, with more rows
    assert chosen(0, 0, 1, 0) == 2
    assert chosen(0, 0, 0, 0) is None
    assert chosen(1, 1, 1, 0) is None  # of another task only
    assert chosen(1, 1, 1, 1) == 4
    np.testing.assert_array_equal(blocks.features_of(have)[1], [1, 1, 1, 0, 0, 0, 0, 1])


def test_what_is_scattered_is_refused():
    X, y, task = sample()
    X[7, 1] = np.nan
    X[7, 0] = X[7, 2] = 0.0
    model = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES)
    with pytest.raises(DataError, match=r"^Row 7 of X lacks 'x1', but not all of its group 'a':"):
        model.fit(X, y, task=task)
    X[7, 1], X[9, 6] = 0.0, np.nan
    with pytest.raises(DataError, match=r"^Row 9 of X lacks 'x6', which is in no group"):
        model.fit(X, y, task=task)
    X[9, 6] = 0.0
    model.fit(X, y, task=task)
    X[11, :3], X[11, 2] = 0.0, np.nan
    with pytest.raises(DataError, match=r"^Row 11 of X lacks 'x2', but not all of its group 'a'"):
        model.predict(X, task=task)
    with pytest.raises(DataError, match="Row 11 of X lacks 'a3'"):
        MissingBlocks(MultiTaskRegressor(), GROUPS).fit(frame(X), y, task=task)


def test_single_values_are_no_blocks():
    X, y, task = sample(gaps=False)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    with pytest.raises(DataError, match=r"make \d+ different patterns in 150 rows: these are no"):
        MissingBlocks(MultiTaskRegressor()).fit(X, y, task=task)


def test_a_row_without_anything_is_refused():
    X, y, task = sample()
    X[4] = np.nan
    with pytest.raises(DataError, match="Row 4 of X of MissingBlocks has no feature at all"):
        MissingBlocks(MultiTaskRegressor(), PLACES | {"c": [5, 6]}).fit(X, y, task=task)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"a": [0, 1], "b": [1, 2]}, "1 in 'a' and in 'b'"),
        ({"a": [0, 9]}, "9 in 'a'"),
        ({"a": "a1"}, "mapping of names"),
        ({"a": []}, "mapping of names"),
        ("ab", "mapping of names"),
        (3, "mapping of names"),
        ({"a": ["a1"]}, "'a1' in 'a'"),
    ],
)
def test_groups_that_are_refused(groups, words):
    with pytest.raises(ParameterError, match=words):
        MissingBlocks(MultiTaskRegressor(), groups).fit(*sample()[:2])


def test_estimators_that_are_refused():
    X, y, task = sample()
    for estimator in (Ridge(), MultiTaskRegressor, None):
        with pytest.raises(ParameterError, match="a multi-task estimator"):
            MissingBlocks(estimator).fit(X, y, task=task)
    with pytest.raises(ParameterError, match="give it to MissingBlocks"):
        MissingBlocks(MultiTaskRegressor(task_column=0)).fit(X, y, task=task)
    with pytest.raises(ParameterError, match="regressor or classifier"):
        MissingBlocks(MultiTaskModel()).fit(X, y, task=task)
    with pytest.raises(ParameterError, match="unseen_tasks"):
        MissingBlocks(MultiTaskRegressor(), unseen_tasks="shared").fit(X, y, task=task)
    with pytest.raises(DataError, match="sparse"):
        MissingBlocks(MultiTaskRegressor()).fit(sp.csr_array(np.nan_to_num(X)), y, task=task)
    with pytest.raises(DataError, match="infinity"):
        MissingBlocks(MultiTaskRegressor()).fit(np.where(X > 2, np.inf, X), y, task=task)


def test_a_task_without_weight_cannot_be_predicted():
    X, y, task = sample()
    weight = (task != "west").astype(float)
    model = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES)
    with pytest.warns(match="no row of positive weight"):
        model.fit(X, y, task=task, sample_weight=weight)
    with pytest.raises(DataError, match="Task 'west' had no row of positive weight"):
        model.predict(X[:1], task=["west"])


# ------------------------------------------------------------------ in company


CASES = {
    "numbers": MissingBlocks(MultiTaskRegressor(PENALTY), PLACES),
    "classes": MissingBlocks(MultiTaskClassifier(L2(0.05)), PLACES),
    "apart": MissingBlocks(SingleTask(LogisticRegression()), PLACES),
    "searched": MissingBlocks(MultiTaskRegressorCV(L21(), alphas=5, cv=3)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_predicts_the_same(name, tmp_path):
    X, y, task = sample()
    values = (y > 1).astype(int) if name in ("classes", "apart") else y
    model = clone(CASES[name]).fit(X, values, task=task)
    save(model, tmp_path / "m")
    again = load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    assert again.pattern_rows_ == model.pattern_rows_
    assert again.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    assert pickle.loads(pickle.dumps(model)).score(X, values, task=task) == model.score(
        X, values, task=task
    )
    assert "MissingBlocks" in model.card().markdown


def test_other_estimators():
    X, y, task = sample()
    for inner in (BayesianMultiTaskRegressor(), Pooled(Ridge(), "intercept")):
        assert MissingBlocks(inner, PLACES).fit(X, y, task=task).score(X, y, task=task) > 0.5


def test_targets_have_intercepts_and_scales_of_their_own():
    X, y, _ = sample()
    Y = np.column_stack([y, 1e4 + 1e3 * (X[:, 5] + 0.1 * np.nan_to_num(X[:, 0]))])
    inner = MultiTaskRegressor(L21(fraction=0.01), standardize=True, scale_targets="auto")
    scores = MissingBlocks(inner, PLACES).fit(X, Y).task_scores(X, Y)
    assert min(scores.values) > 0.6


def test_scikit_learns_tools():
    X, y, task = sample()
    joined = np.column_stack([X, np.searchsorted(TASKS, task)])
    model = MissingBlocks(MultiTaskRegressor(L2(1.0)), PLACES, task_column=7)
    assert cross_val_score(model, joined, y, cv=3).min() > 0
    search = GridSearchCV(model, {"estimator__penalty__alpha": [0.1, 1e3]}, cv=3)
    assert search.fit(joined, y).best_params_ == {"estimator__penalty__alpha": 0.1}
    assert model.estimator.penalty.alpha == 1.0


@pytest.mark.slow
def test_comparison_takes_it():
    X, y, task = sample(n=240)
    model = MissingBlocks(MultiTaskRegressor(PENALTY), GROUPS)
    result = compare(frame(X), y, task=task, models=["default", ("blocks", model)], quick=True)
    row = {row.name: row for row in result.models}["blocks"]
    assert row.score.mean > 0.5
    assert not row.note


def test_a_table_for_a_model_of_arrays():
    X, y, task = sample()
    model = MissingBlocks(MultiTaskRegressor(PENALTY), PLACES).fit(X, y, task=task)
    predicted = model.predict_frame(frame(X), task=task)
    assert isinstance(predicted, pd.DataFrame)
    np.testing.assert_array_equal(predicted["prediction"], model.predict(X, task=task))


def test_data_of_tasks():
    X, y, task = sample()
    data = TaskData.from_long(frame(X), y, task)
    model = MissingBlocks(MultiTaskRegressor(PENALTY), GROUPS).fit(data)
    wanted = clone(model).fit(frame(X), y, task=task)
    np.testing.assert_array_equal(
        np.asarray(model.predict(data)), np.asarray(wanted.predict(frame(X), task=task))
    )
    assert model.score(data) == wanted.score(frame(X), y, task=task)


@parametrize_with_checks(
    [MissingBlocks(MultiTaskRegressor()), MissingBlocks(MultiTaskClassifier(L2(0.1)))]
)
def test_scikit_learn(estimator, check):
    check(estimator)
