"""Contributions add up to predictions, follow their definition, and agree with shap."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
    MissingBlocks,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    Pooled,
    SingleTask,
    explain,
    load,
    save,
)
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.explanation import ArrayFunction
from polytask.penalties import L21

N = 240
EXACT = 1e-9


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, N),
            "colour": rng.choice(["red", "blue", "green"], N),
            "when": pd.date_range("2024-01-01", periods=N),
            "school": rng.choice(list("abcd"), N),
        },
        index=np.arange(N)[::-1],
    )


@pytest.fixture(scope="module")
def y(table):
    noise = np.random.default_rng(1).normal(size=N)
    own = (table["school"] == "a") * 0.05 * table["age"]
    return np.asarray(0.1 * table["age"] + (table["colour"] == "red") + own + noise)


def _of_class(model, found, rows):
    """Return the decision values of the explained classes."""
    values = model.decision_function(rows)
    if values.ndim == 1:
        return values
    places = [model.classes_.tolist().index(label) for label in found.label]
    return values[np.arange(len(rows)), places]


NUMBERS = {
    "penalised": MultiTaskRegressor(L21(0.1), unseen_tasks="shared"),
    "searched": MultiTaskRegressorCV(cv=3, unseen_tasks="shared"),
    "learned prior": BayesianMultiTaskRegressor(),
    "separate": SingleTask(make_pipeline(StandardScaler(), Ridge())),
    "pooled": Pooled(Ridge(), "none", unseen_tasks="shared"),
    "intercepts": Pooled(
        make_pipeline(StandardScaler(), Ridge()), "intercept", unseen_tasks="shared"
    ),
    "category": Pooled(Ridge(), "category", unseen_tasks="shared"),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_linear_models_of_numbers_are_exact(name, table, y):
    model = NUMBERS[name].set_params(task_column="school", date_features=True).fit(table, y)
    rows = table.iloc[::-7]
    found = explain(model, rows)
    assert found.methods == ("exact",)
    assert list(found.contributions.columns) == ["age", "colour", "when", "school"]
    assert list(found.contributions.index) == list(rows.index)
    np.testing.assert_allclose(found.value, model.predict(rows), atol=EXACT)
    # The common part is the prediction for a task that is not known; at the mean it is 0.
    if model.unseen_tasks == "shared":
        common = found.baseline + found.common.sum(axis=1)
        np.testing.assert_allclose(common, model.predict(rows.assign(school="z")), atol=EXACT)
    every = explain(model, table)
    np.testing.assert_allclose(every.common.mean(), 0.0, atol=EXACT)


def test_a_contribution_is_a_coefficient_times_the_way_from_the_mean(table, y):
    X, school = np.column_stack([table["age"], y**2]), table["school"].to_numpy()
    model = MultiTaskRegressor(L21(0.1)).fit(X, y, task=school)
    found = explain(model, X, school)
    place = [model.tasks_.tolist().index(label) for label in school]
    wanted = model.coef_[place] * (X - X.mean(axis=0))
    np.testing.assert_allclose(found.contributions[["x0", "x1"]], wanted, atol=EXACT)
    other = explain(model, X[:1], school[:1], background=X[10:11]).contributions
    np.testing.assert_allclose(
        other[["x0", "x1"]].to_numpy()[0], model.coef_[place[0]] * (X[0] - X[10]), atol=EXACT
    )


CLASSES = {
    "penalised": MultiTaskClassifier(),
    "learned prior": BayesianMultiTaskClassifier(),
    "separate": SingleTask(LogisticRegression(max_iter=3000)),
    "pooled": Pooled(LogisticRegression(max_iter=3000), "intercept"),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CLASSES)
def test_linear_models_of_classes_are_exact(name, n_classes, table, y):
    labels = np.array(["low", "mid", "top"])[:n_classes]
    classes = labels[np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))]
    rows = table.drop(columns="when")
    model = CLASSES[name].set_params(task_column="school").fit(rows, classes)
    found = explain(model, rows)
    assert set(found.output) == {"decision"}
    if name != "learned prior":
        np.testing.assert_allclose(found.value, _of_class(model, found, rows), atol=EXACT)
    # Of a learned prior, classes have no decision values but probabilities.
    else:
        each = [explain(model, rows, label=label).value for label in model.classes_]
        odds = 1 / (1 + np.exp(-np.column_stack(each)))
        wanted = model.predict_proba(rows)
        np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), wanted, atol=EXACT)


def test_levels_of_several_groupings_stand_in_their_columns(table, y):
    rows, n = table[["age", "colour", "school"]], np.round(np.exp(y / 4))
    for model, target in (
        (BayesianMultiTaskRegressor(), y),
        (BayesianMultiTaskClassifier(), y > 5),
        (BayesianMultiTaskModel(loss="poisson"), n),
    ):
        model.set_params(task_column=["school", "colour"]).fit(rows, target)
        found = explain(model, rows)
        assert list(found.own.columns) == ["age", "school", "colour"]
        if found.output[0] == "log_mean":
            np.testing.assert_allclose(np.exp(found.value), model.predict(rows), rtol=EXACT)
        elif found.label is None:
            np.testing.assert_allclose(found.value, model.predict(rows), atol=EXACT)
        else:
            odds = 1 / (1 + np.exp(-found.value))
            np.testing.assert_allclose(odds, model.predict_proba(rows)[:, 1], atol=EXACT)
        assert (found.common[["school", "colour"]] == 0).all(axis=None)


def test_targets_tables_of_tasks_and_counts(table, y):
    X = table[["age", "colour"]]
    Y = np.empty((N, 2), dtype=object)
    Y[:, 0], Y[:, 1] = y, np.where(y > 5, "much", "little")
    model = MultiTaskModel().fit(X, Y)
    found = explain(model, X)
    assert found.common.index.names == ["task", "row"]
    assert found.output[[0, N]].tolist() == ["prediction", "decision"]
    # A number and a class have nothing in common.
    assert (found.common == 0).all(axis=None)
    np.testing.assert_allclose(found.value[:N], model.predict(X)[:, 0].astype(float), atol=EXACT)
    only = explain(model, X, model.tasks_[1])
    np.testing.assert_allclose(only.value, found.value[N:], atol=EXACT)

    parts = {
        label: (own.drop(columns="colour") if label == "a" else own, y[table["school"] == label])
        for label, own in X.groupby(np.asarray(table["school"]))
    }
    separate = MultiTaskRegressor(L21(0.1)).fit(parts)
    given = {label: own for label, (own, _) in parts.items()}
    found = explain(separate, given)
    wanted = np.concatenate(list(separate.predict(given).values()))
    np.testing.assert_allclose(found.value, wanted, atol=EXACT)
    # A column that a task lacks adds nothing to its predictions.
    assert (found.contributions.loc["a", "colour"] == 0).all()

    counts = Pooled(PoissonRegressor(), "intercept").fit(
        X, np.round(np.exp(y / 4)), task=table["school"]
    )
    found = explain(counts, X, table["school"])
    assert set(found.output) == {"log_mean"}
    np.testing.assert_allclose(np.exp(found.value), counts.predict(X, table["school"]), rtol=EXACT)


def _exact_shapley(f, x, background):
    """Return Shapley values by their definition over all sets of columns."""
    d = len(x)
    values = np.zeros(d)
    for j in range(d):
        others = [k for k in range(d) if k != j]
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            for chosen in itertools.combinations(others, size):
                without, with_ = background.copy(), background.copy()
                without[:, list(chosen)] = x[list(chosen)]
                with_[:, [*chosen, j]] = x[[*chosen, j]]
                values[j] += weight * (f(with_) - f(without)).mean()
    return values


def test_sampled_contributions_are_near_shapley_values_by_as_much_as_they_say(y):
    rng = np.random.default_rng(2)
    X, task = rng.normal(size=(N, 3)), np.repeat(["a", "b", "c"], N // 3)
    target = X[:, 0] * X[:, 1] + (task == "b") * X[:, 2]
    model = Pooled(make_pipeline(PolynomialFeatures(2), Ridge(1e-6)), "category").fit(
        X, target, task
    )
    few, back = X[:6], X[::12]
    found = explain(model, few, task[:6], background=back, n_permutations=400)
    assert found.methods == ("sampling",)
    np.testing.assert_allclose(found.value, model.predict(few, task[:6]), atol=EXACT)
    wanted = np.array(
        [_exact_shapley(lambda Z: model.predict(Z, ["a"] * len(Z)), x, back) for x in few]
    )
    names = ["x0", "x1", "x2"]
    away = np.abs(found.contributions[names] - wanted) / found.standard_error[names]
    assert found.standard_error[names].to_numpy().max() < 0.25
    assert away.to_numpy().max() < 4.5
    again = explain(model, few, task[:6], background=back, n_permutations=400)
    np.testing.assert_array_equal(again.own, found.own)


def test_what_separate_models_share_is_the_mean_of_tasks(table, y):
    X, task = np.column_stack([table["age"], y]), table["school"].to_numpy()
    model = SingleTask(Ridge()).fit(X, y, task)
    exact = explain(model, X[:5], task[:5], background=X)
    # The same models by sampling.
    nearest = SingleTask(make_pipeline(PolynomialFeatures(1, include_bias=False), Ridge()))
    sampled = explain(nearest.fit(X, y, task), X[:5], task[:5], background=X, n_permutations=N)
    assert (exact.methods, sampled.methods) == (("exact",), ("sampling",))
    np.testing.assert_allclose(sampled.contributions, exact.contributions, atol=1e-3)
    np.testing.assert_allclose(sampled.common, exact.common, atol=0.2)


@pytest.mark.slow
def test_boosted_trees_with_a_learned_prior(table, y):
    lightgbm = pytest.importorskip("lightgbm", reason="comes with the extra 'trees'")
    from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor
    from polytask.boosting.plain import TreeClassifier, TreeRegressor
    from polytask.selection.shared_base import SharedBase

    rows = table.drop(columns="when")
    options = {"max_iter": 20, "varying": ["age"], "cv": 2, "task_column": "school"}
    for model in (
        MixedBoostingRegressor(**options),
        MixedBoostingRegressor(**options | {"task_column": ["school", "colour"]}),
        Pooled(TreeRegressor(), "category", task_column="school", unseen_tasks="shared"),
        SingleTask(TreeRegressor(), task_column="school"),
        SingleTask(lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), task_column="school"),
        SharedBase(TreeRegressor(), task_column="school", unseen_tasks="shared"),
    ):
        found = explain(model.fit(rows, y), rows)
        assert "tree_shap" in found.methods
        np.testing.assert_allclose(found.value, model.predict(rows), atol=EXACT)
        if model.unseen_tasks == "shared" and model.task_column == "school":
            common = found.baseline + found.common.sum(axis=1)
            np.testing.assert_allclose(common, model.predict(rows.assign(school="z")), atol=EXACT)
    for labels in (np.digitize(y, [4, 5.5]), y > 5):
        for classes in (
            MixedBoostingClassifier(**options),
            SingleTask(TreeClassifier(), task_column="school"),
        ):
            found = explain(classes.fit(rows, labels), rows)
            np.testing.assert_allclose(found.value, _of_class(classes, found, rows), atol=EXACT)
    counts = MixedBoostingRegressor(**options, loss="poisson").fit(rows, np.round(np.exp(y / 4)))
    np.testing.assert_allclose(
        np.exp(explain(counts, rows).value), counts.predict(rows), rtol=EXACT
    )


def test_combinations_are_weighted_sums_of_their_members(table, y):
    rows = table.drop(columns="when")
    models = ["pooled", "separate", "learned prior"]
    model = AutoMultiTaskRegressor(models, cv=2, task_column="school").fit(rows, y)
    model.task_weights_ = np.array(
        [[0.2, 0.3, 0.5], [0.0, 0.4, 0.6], [1.0, 0, 0], [0.3, 0.3, 0.4]]
    )
    members = {"pooled": Pooled(Ridge()), "separate": SingleTask(Ridge()),
               "learned prior": BayesianMultiTaskRegressor()}  # fmt: skip
    X = model.encoder_.transform(rows.drop(columns="school"))
    model.members_ = {name: own.fit(X, y, rows["school"]) for name, own in members.items()}
    model.shared_weights_ = np.array([0.5, 0.0, 0.5])
    found = explain(model, rows)
    assert found.methods == ("exact",)
    np.testing.assert_allclose(found.value, model.predict(rows), atol=EXACT)
    common = 0.5 * sum(
        explain(own, X, rows["school"]).common.to_numpy()
        for name, own in model.members_.items()
        if name != "separate"
    )
    np.testing.assert_allclose(found.common["age"], common[:, 0], atol=EXACT)
    classes = AutoMultiTaskClassifier(models, cv=2, task_column="school").fit(rows, y > 5)
    found = explain(classes, rows.head(4), background=rows)
    odds = found.value if found.output[0] == "probability" else 1 / (1 + np.exp(-found.value))
    np.testing.assert_allclose(odds, classes.predict_proba(rows.head(4))[:, 1], atol=EXACT)


@pytest.mark.slow
def test_networks_are_sampled(table, y):
    deep = pytest.importorskip("polytask.deep", reason="needs PyTorch")
    rows = table.drop(columns="when")
    model = deep.DeepMultiTaskRegressor(max_epochs=3, task_column="school").fit(rows, y)
    found = explain(model, rows.head(6), n_permutations=16)
    assert found.methods == ("sampling",)
    np.testing.assert_allclose(found.value, model.predict(rows.head(6)), atol=1e-5)


def test_the_summary_tells_what_is_shared_from_what_differs(table):
    rng = np.random.default_rng(3)
    X, task = rng.normal(size=(N, 2)), np.repeat(list("abcdef"), N // 6)
    slope = dict(zip("abcdef", [-2, 2, -2, 2, -2, 2], strict=True))
    target = 3 * X[:, 0] + X[:, 1] * [slope[one] for one in task] + 0.1 * rng.normal(size=N)
    model = BayesianMultiTaskRegressor().fit(X, target, task)
    summary = explain(model, X, task).summary()
    assert summary.index.tolist() == ["x0", "x1", "(task)"]
    assert summary.loc["x0", "common"] > 10 * summary.loc["x0", "own"]
    assert summary.loc["x1", "own"] > 3 * summary.loc["x1", "common"]
    by_task = explain(model, X, task).summary(by_task=True)
    assert by_task.loc[("a", "x1"), "own"] > 1.0
    mean = by_task["own"].unstack().loc[:, ["x0", "x1"]].mean()
    np.testing.assert_allclose(mean, summary.loc[["x0", "x1"], "own"])


def test_charts_and_tables_hold_the_same_numbers(table, y):
    rows = table.drop(columns="when")
    found = explain(MultiTaskRegressor(L21(0.1), task_column="school").fit(rows, y), rows)
    axes = Figure().subplots(2)
    every, one = (found.plot(ax, row) for ax, row in zip(axes, (None, 3), strict=True))
    widths = [[bar.get_width() for bar in bars] for bars in every.containers]
    np.testing.assert_allclose(np.transpose(widths), found.summary()[["common", "own"]])
    order = found.contributions.iloc[3].abs().sort_values(ascending=False).index
    widths = [bar.get_width() for bar in one.containers[0]]
    np.testing.assert_allclose(widths, found.common.iloc[3][order])
    frame = found.frame()
    np.testing.assert_allclose(frame["contribution of age"], found.contributions["age"])
    assert repr(found) == "Explanation(240 rows, 3 columns, exact)"


def test_a_saved_model_is_explained_alike(table, y, tmp_path):
    rows = table.drop(columns="when")
    model = MultiTaskRegressor(L21(0.1), task_column="school").fit(rows, y)
    save(model, tmp_path / "m.polytask")
    found = explain(load(tmp_path / "m.polytask"), rows)
    np.testing.assert_array_equal(found.own, explain(model, rows).own)
    old = MultiTaskRegressor(L21(0.1), task_column="school").fit(rows, y)
    object.__setattr__(old.data_card_, "means", None)
    with pytest.raises(DataError, match="keeps no means"):
        explain(old, rows)
    given = explain(old, rows, background=rows)
    np.testing.assert_allclose(given.contributions, found.contributions, atol=EXACT)


def test_what_cannot_be_explained_is_refused(table, y):
    rows = table.drop(columns="when")
    model = MultiTaskRegressor(task_column="school").fit(rows, y)
    with pytest.raises(ParameterError, match="label is for models of classes"):
        explain(model, rows, label="red")
    with pytest.raises(ParameterError, match="n_permutations"):
        explain(model, rows, n_permutations=0)
    nearest = Pooled(KNeighborsRegressor(), task_column="school").fit(rows, y)
    with pytest.raises(DataError, match="got a single row"):
        explain(nearest, rows.head(1))
    ages = {"task": rows["school"].to_numpy(), "X": rows[["age"]].to_numpy()}
    blocks = MissingBlocks(MultiTaskRegressor()).fit(**ages, y=y)
    with pytest.raises(IncompatibleError, match="does not take MissingBlocks apart"):
        explain(blocks, **ages)
    with pytest.raises(DataError, match="model of explain must be"):
        explain(Ridge().fit(y[:, None], y), y[:, None])
    classes = MultiTaskClassifier(task_column="school").fit(rows, y > 5)
    with pytest.raises(ParameterError, match="classes of the model"):
        explain(classes, rows, label="red")


def test_without_shap_trees_are_sampled_and_the_command_is_named(table, y, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shap", None)
    rows = table.drop(columns="when").head(40)
    model = Pooled(HistGradientBoostingRegressor(max_iter=5), task_column="school").fit(
        rows, y[:40]
    )
    with pytest.warns(DataWarning, match=r"polytask\[explain\]"):
        found = explain(model, rows.head(3))
    assert found.methods == ("sampling",)


def test_trees_of_scikit_learn_by_shap(table, y):
    shap = pytest.importorskip("shap", reason="comes with the extra 'explain'")
    X = np.column_stack([table["age"], y**2, np.arange(N)])
    boosted = Pooled(HistGradientBoostingRegressor(max_iter=10)).fit(X, y, table["school"])
    found = explain(boosted, X[:9], table["school"][:9])
    wanted = shap.TreeExplainer(boosted.estimator_).shap_values(X[:9])
    np.testing.assert_allclose(found.contributions.iloc[:, :3], wanted, atol=EXACT)
    np.testing.assert_allclose(
        found.value, boosted.predict(X[:9], table["school"][:9]), atol=EXACT
    )
    forest = SingleTask(RandomForestClassifier(5, random_state=0)).fit(X, y > 5, table["school"])
    found = explain(forest, X[:9], table["school"][:9])
    assert (found.methods, found.output[0]) == (("tree_shap",), "probability")
    wanted = forest.predict_proba(X[:9], table["school"][:9])[:, 1]
    np.testing.assert_allclose(found.value, wanted, atol=EXACT)


def test_linear_contributions_are_those_of_shap(table, y):
    shap = pytest.importorskip("shap", reason="comes with the extra 'explain'")
    X, task = np.column_stack([table["age"], y**2]), table["school"].to_numpy()
    model = MultiTaskRegressor(L21(0.1)).fit(X, y, task)
    own = shap.LinearExplainer(model.to_sklearn("b"), shap.maskers.Independent(X, max_samples=N))
    found = explain(model, X[:9], ["b"] * 9, background=X)
    np.testing.assert_allclose(
        found.contributions[["x0", "x1"]], own.shap_values(X[:9]), atol=EXACT
    )


@pytest.fixture(scope="module")
def additive(table, y):
    """Return a model whose contributions are the same in any order, of text, dates and gaps."""
    rows = table.assign(colour=table["colour"].where(np.arange(N) % 9 > 0))
    model = Pooled(Ridge(), "intercept", task_column="school", date_features=True).fit(rows, y)
    return model, rows


def test_tables_are_functions_of_arrays(additive):
    model, rows = additive
    function = ArrayFunction(model, rows)
    assert function.feature_names == ["age", "colour", "when", "school"]
    np.testing.assert_allclose(function(function.data), model.predict(rows), atol=EXACT)
    few = function.numbered(rows.iloc[5:8])
    np.testing.assert_array_equal(few, function.data[5:8])
    with pytest.raises(DataError, match="'colour' has the cell 'pink'"):
        function.numbered(rows.assign(colour="pink"))
    with pytest.raises(DataError, match="ArrayFunction"):
        ArrayFunction(model, rows.to_numpy())


def test_classes_and_targets_as_functions_of_arrays(table, y):
    rows = table[["age", "colour"]]
    classes = MultiTaskClassifier().fit(rows, np.where(y > 5, "up", "down"), task=table["school"])
    function = ArrayFunction(classes, rows, "b", "down")
    wanted = classes.predict_proba(rows, ["b"] * N)[:, 0]
    np.testing.assert_allclose(function(function.data), wanted)
    with pytest.raises(ParameterError, match="classes of the model"):
        ArrayFunction(classes, rows, "b", "side")
    targets = MultiTaskRegressor().fit(rows, np.column_stack([y, -y]))
    function = ArrayFunction(targets, rows, targets.tasks_[1])
    np.testing.assert_allclose(function(function.data), targets.predict(rows)[:, 1])


# All but the first compile for half a minute.
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("Exact", "Permutation")]


@pytest.mark.parametrize("name", ["Kernel", *SLOW])
def test_explainers_of_shap_work_on_tables_with_text(name, additive):
    shap = pytest.importorskip("shap", reason="comes with the extra 'explain'")
    model, rows = additive
    back, few = rows.iloc[::30], rows.iloc[:2]
    function = ArrayFunction(model, rows)
    wanted = explain(model, few, background=back).contributions.iloc[:, :3]
    start, given = function.numbered(back), function.numbered(few)
    if name == "Kernel":
        found = shap.KernelExplainer(function, start).shap_values(given, silent=True)
    else:
        masker = shap.maskers.Independent(start, max_samples=N)
        found = getattr(shap, f"{name}Explainer")(function, masker)(given).values
    np.testing.assert_allclose(found[:, :3], wanted, atol=1e-6)
