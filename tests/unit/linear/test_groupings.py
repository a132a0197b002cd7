"""Several groupings: forms, effects, prediction, intervals, files, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.linalg
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from polytask import (
    AutoMultiTaskModel,
    BayesianMultiTaskRegressor,
    MultiTaskRegressor,
    Pooled,
    SingleTask,
    TaskData,
    adapt,
    load,
    relatedness,
    save,
)
from polytask.data import WithinTasks
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.metrics import task_scorer
from polytask.statistics import collect, collect_parts, fit_parts
from polytask.task_relations import Relatedness

NAMES = ["store", "product"]
FEATURES = ["price", "ads"]


def sales(n=600, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    store, product = rng.integers(0, 12, n), rng.integers(0, 20, n)
    price, ads = rng.standard_normal((2, n))
    draws = np.random.default_rng(99)
    stores, products = draws.standard_normal((12, 2)), 0.6 * draws.standard_normal(20)
    y = 3.0 + price + stores[store, 0] + products[product]
    y += stores[store, 1] * price + 0.5 * rng.standard_normal(n)
    return pd.DataFrame(
        {
            "price": 10.0 + 2.0 * price,
            "ads": ads,
            "store": np.array(list("abcdefghijkl"))[store],
            "product": product,
            "y": y,
        }
    )


@pytest.fixture(scope="module")
def data():
    return sales()


@pytest.fixture(scope="module")
def model(data):
    return BayesianMultiTaskRegressor(task_column=NAMES).fit(data[[*FEATURES, *NAMES]], data["y"])


def test_forms_agree(data, model):
    X, y, task = data[FEATURES], data["y"], data[NAMES]
    expected = model.predict(data[[*FEATURES, *NAMES]])
    for table in (data, pl.from_pandas(data)):
        held = BayesianMultiTaskRegressor(task_column=NAMES)
        held.fit(table[[*FEATURES, *NAMES]], table["y"])
        assert_allclose(held.predict(table[[*FEATURES, *NAMES]]), expected, rtol=1e-10)
    beside = BayesianMultiTaskRegressor().fit(X, y, task=task)
    assert_allclose(beside.predict(X, task=task), expected, rtol=1e-10)
    assert_allclose(beside.predict(X, task=task[NAMES[::-1]]), expected, rtol=1e-10)
    arrays = BayesianMultiTaskRegressor().fit(X.to_numpy(), y, task=task.to_numpy())
    assert_allclose(arrays.predict(X.to_numpy(), task=task.to_numpy()), expected, rtol=1e-10)
    assert list(arrays.effects_) == [0, 1]
    sparse = sp.csr_array(X.to_numpy())
    thin = BayesianMultiTaskRegressor().fit(sparse, y, task=task)
    assert_allclose(thin.predict(sparse, task=task), expected, rtol=1e-8)


def test_task_data_have_groupings(data, model):
    X, y, task = data[FEATURES], data["y"], data[NAMES]
    columns = [*FEATURES, *NAMES]
    for held in (
        TaskData.from_long(data[[*columns, "y"]], "y", task=NAMES),
        TaskData.from_long(pl.from_pandas(data[columns]), y.to_numpy(), task=NAMES),
        TaskData.from_long(X, y, task=task),
        TaskData.from_long(X.to_numpy(), y, task=task.to_numpy()),
    ):
        found = BayesianMultiTaskRegressor().fit(held)
        assert_allclose(found.predict(held), model.predict(data[columns]), rtol=1e-10)
    # Two rows have two labels, whatever columns are called.
    assert TaskData.from_long(data[columns].head(2), [1.0, 2.0], task=NAMES).groupings is None
    with pytest.raises(DataError, match=r"each of two or more groupings; got shape \(600, 1\)"):
        TaskData.from_long(X, y, task=task[["store"]])
    with pytest.warns(DataWarning, match="order"):
        TaskData.from_long(X, y, task=task[::-1])


def test_columns_of_an_array_by_position(data):
    codes = np.unique(data["store"], return_inverse=True)[1]
    X = np.column_stack([codes, data[FEATURES], data["product"]]).astype(float)
    held = BayesianMultiTaskRegressor(task_column=[0, -1]).fit(X, data["y"])
    beside = BayesianMultiTaskRegressor().fit(X[:, 1:3], data["y"], task=X[:, [0, 3]])
    assert_allclose(held.predict(X), beside.predict(X[:, 1:3], task=X[:, [0, 3]]), rtol=1e-10)
    assert held.n_features_in_ == 4
    assert held.coef_.shape == (12, 2)


def test_coefficients_and_effects(data, model):
    assert_array_equal(model.tasks_, np.unique(data["store"]))
    assert_array_equal(model.levels_["product"], np.arange(20))
    assert model.effects_["store"].shape == (12, 3)
    assert model.effects_["product"].shape == (20, 3)
    # A prediction is the coefficients of the store and what the product adds.
    store = np.searchsorted(model.tasks_, data["store"])
    line = model.intercept_[store] + np.sum(model.coef_[store] * data[FEATURES], axis=1)
    product = model.effects_["product"][data["product"]]
    line += product[:, 0] + np.sum(product[:, 1:] * data[FEATURES].to_numpy(), axis=1)
    assert_allclose(model.predict(data[[*FEATURES, *NAMES]]), line, rtol=1e-10)
    # The slopes of the price differ between stores, those of the products do not.
    first, second = model.structure_.structures
    assert type(second).__name__ == "NoVariation"
    assert type(first).__name__ != "NoVariation"
    assert model.prior_["store"].covariance[1, 1] > 0.1
    assert_allclose(model.noise_, 0.5, rtol=0.1)
    assert model.solution_.status.ok


def test_shares_of_the_variance(model):
    # Drawn with variances of 1 each of intercepts and slopes of the price, and 0.36; noise 0.25.
    shares = np.array([model.variance_shares_[name] for name in NAMES])
    draws = np.random.default_rng(99)
    stores, products = draws.standard_normal((12, 2)), 0.6 * draws.standard_normal(20)
    sizes = np.array([stores.var(axis=0, ddof=1).sum(), products.var(ddof=1)])
    assert_allclose(shares[:, 0], sizes / (sizes.sum() + 0.25), atol=0.03)
    assert (shares[:, 1] < shares[:, 0]).all()
    assert (shares[:, 0] < shares[:, 2]).all()
    assert shares.min() > 0.0
    assert shares.max() < 1.0


def test_unseen_levels_have_the_prior_mean_of_their_grouping_alone(data, model):
    rows = data[[*FEATURES, *NAMES]].head(3).copy()
    known, known_std = model.predict(rows, return_std=True)
    strange = rows.assign(product=[99, 98, 97])
    found, std = model.predict(strange, return_std=True)
    product = model.effects_["product"][rows["product"]]
    added = product[:, 0] + np.sum(product[:, 1:] * rows[FEATURES].to_numpy(), axis=1)
    assert_allclose(found, known - added, rtol=1e-10)
    assert (std > known_std).all()
    nowhere = model.predict(rows.assign(product=99, store="zz"))
    mean = model.coef_ - model.effects_["store"][:, 1:]
    assert_allclose(mean, mean[:1].repeat(12, axis=0), atol=1e-10)
    intercept = (model.intercept_ - model.effects_["store"][:, 0])[0]
    assert_allclose(nowhere, intercept + rows[FEATURES].to_numpy() @ mean[0], rtol=1e-8)
    strict = (
        clone(model).set_params(unseen_tasks="error").fit(data[[*FEATURES, *NAMES]], data["y"])
    )
    with pytest.raises(DataError, match=r"product .* 20 labels .* 3 unseen"):
        strict.predict(strange)
    with pytest.raises(DataError, match=r"1 unseen label"):
        strict.predict(rows.assign(store=["zz", "a", "b"]))


def test_intervals_are_around_the_prediction(data, model):
    rows = data[[*FEATURES, *NAMES]].head(50)
    mean, std = model.predict(rows, return_std=True)
    lower, upper = model.predict_interval(rows, level=0.9)
    assert_allclose((lower + upper) / 2.0, mean, rtol=1e-10)
    assert_allclose(upper - lower, 2.0 * 1.6448536269514722 * std, rtol=1e-10)


def test_units_do_not_matter(data, model):
    rows = data[[*FEATURES, *NAMES]]
    other = clone(model).fit(rows.assign(price=1000.0 * rows["price"]), 50.0 * data["y"] + 7.0)
    found = other.predict(rows.assign(price=1000.0 * rows["price"]))
    assert_allclose(found, 50.0 * model.predict(rows) + 7.0, rtol=1e-5)
    assert_allclose(other.effects_["store"][:, 0], 50.0 * model.effects_["store"][:, 0], rtol=1e-3)


def test_weights_of_zero_and_two(data):
    rows, y = data[[*FEATURES, *NAMES]], data["y"]
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    weight[:40] = 1
    repeated = np.repeat(np.arange(len(y)), weight)
    one = BayesianMultiTaskRegressor("diagonal", task_column=NAMES)
    two = clone(one).fit(rows.iloc[repeated], y.iloc[repeated])
    one.fit(rows, y, sample_weight=weight)
    assert_allclose(one.predict(rows), two.predict(rows), rtol=1e-5)
    assert_allclose(one.log_marginal_likelihood_, two.log_marginal_likelihood_, rtol=1e-8)


def test_files_and_copies(data, model, tmp_path):
    rows = data[[*FEATURES, *NAMES]].head(9).assign(product=[*range(7), 98, 99])
    save(model, tmp_path / "model.polytask")
    for again in (load(tmp_path / "model.polytask"), pickle.loads(pickle.dumps(model))):
        for one, two in zip(
            again.predict(rows, return_std=True), model.predict(rows, return_std=True), strict=True
        ):
            assert_array_equal(one, two)
        assert_array_equal(again.effects_["product"], model.effects_["product"])
        assert again.structure_ == model.structure_
    assert clone(model).task_column == NAMES
    assert model.get_params()["task_column"] == NAMES


def test_scores_and_searches(data, model):
    rows, y = data[[*FEATURES, *NAMES]], data["y"]
    explained = 1.0 - np.sum((y - model.predict(rows)) ** 2) / np.sum((y - y.mean()) ** 2)
    assert model.score(rows, y) == pytest.approx(explained)
    beside = BayesianMultiTaskRegressor().fit(data[FEATURES], y, task=data[NAMES])
    assert beside.score(data[FEATURES], y, task=data[NAMES]) == pytest.approx(explained)
    assert len(model.task_scores(rows, y).values) == 12
    parts = KFold(3, shuffle=True, random_state=0)
    pipe = make_pipeline(FunctionTransformer(), clone(model))
    assert (cross_val_score(pipe, rows, y, cv=parts) > 0.8).all()
    # Tasks are the levels of the first grouping.
    own = [r2_score(y[part.index], model.predict(part)) for _, part in rows.groupby("store")]
    assert task_scorer("r2")(model, rows, y) == pytest.approx(np.mean(own))
    search = GridSearchCV(clone(model), {"structure": ["none", "diagonal"]}, cv=parts)
    assert search.fit(rows, y).best_params_["structure"] == "diagonal"


def test_a_later_fit_on_one_grouping_leaves_nothing_behind(data, model):
    again = clone(model).fit(data[[*FEATURES, *NAMES]], data["y"])
    again.set_params(task_column="store").fit(data[[*FEATURES, "store"]], data["y"])
    plain = BayesianMultiTaskRegressor(task_column="store")
    plain.fit(data[[*FEATURES, "store"]], data["y"])
    assert again.effects_ is None
    assert_array_equal(
        again.predict(data[[*FEATURES, "store"]]), plain.predict(data[[*FEATURES, "store"]])
    )
    again.evidence(n_bootstrap=19)


def test_dates_and_categories_are_encoded_beside_groupings(data):
    rows = data[[*FEATURES, *NAMES]].assign(
        day=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(data)) % 90, unit="D"),
        colour=np.where(data["ads"] > 0, "red", "blue"),
    )
    model = BayesianMultiTaskRegressor("none", task_column=NAMES, date_features=True)
    model.fit(rows, data["y"])
    assert "colour=red" in model.coef_feature_names_
    assert np.isfinite(model.predict(rows)).all()


MATRIX = np.random.default_rng(0).standard_normal((600, 2))


@pytest.mark.parametrize(
    "refused",
    [
        lambda X, y, task: MultiTaskRegressor().fit(X, y, task=task),
        lambda X, y, task: MultiTaskRegressor().fit(X, y, task=task.to_numpy()),
        lambda X, y, task: MultiTaskRegressor(task_column=NAMES).fit(X.join(task), y),
        lambda X, y, task: AutoMultiTaskModel().fit(X, y > 0, task=task),
        lambda X, y, task: SingleTask(MultiTaskRegressor()).fit(X, y, task=task),
        lambda X, y, task: Pooled(MultiTaskRegressor()).fit(X, y, task=task),
        lambda X, y, task: relatedness(X, y, task=task),
        lambda X, y, task: collect(X, y, task=task),
        lambda X, y, task: collect_parts(
            lambda: [X.join(task).assign(y=y)], "y", task_column=NAMES
        ),
        lambda X, y, task: fit_parts(
            MultiTaskRegressor(), lambda: [X.join(task).assign(y=y)], "y", task_column=NAMES
        ),
        lambda X, y, task: fit_parts(
            BayesianMultiTaskRegressor(task_column=NAMES), lambda: [X.join(task).assign(y=y)], "y"
        ),
        lambda X, y, task: MultiTaskRegressor().fit(TaskData.from_long(X, y, task)),
        lambda X, y, task: (
            MultiTaskRegressor().fit(X, y, task=task["store"]).predict(X, task=task)
        ),
        lambda X, y, task: (
            MultiTaskRegressor()
            .fit(X, y, task=task["store"])
            .predict(TaskData.from_long(X, y, task))
        ),
        lambda X, y, task: WithinTasks(2, task_column=NAMES).split(X.join(task)).__next__(),
    ],
)
def test_everything_else_names_what_takes_several_groupings(data, refused):
    words = "BayesianMultiTaskRegressor takes rows that belong to several groupings"
    with pytest.raises((DataError, ParameterError), match=words):
        refused(data[FEATURES], data["y"], data[NAMES])


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda m, X, y: m.evidence(), "evidence"),
        (lambda m, X, y: m.partial_fit(X, y), "partial_fit"),
        (lambda m, X, y: m.to_sklearn("a"), "scikit-learn"),
    ],
)
def test_what_is_for_one_grouping_says_so(data, model, use, what):
    with pytest.raises(IncompatibleError, match=f"{what}.* is for a model of one grouping"):
        use(model, data[[*FEATURES, *NAMES]], data["y"])


def test_relatedness_is_of_the_first_grouping_and_says_the_shares(model):
    found = relatedness(model)
    assert [line.task for line in found.tasks] == list("abcdefghijkl")
    assert found.groupings == model.variance_shares_
    assert "is differences between levels of “product” (95% interval" in found.summary()
    assert Relatedness.from_json(found.to_json()).groupings == found.groupings


@pytest.mark.parametrize("g", [0, 1])
def test_a_new_level_has_its_posterior_and_all_else_stays(data, g):
    new = (data["store"] == "c") if g == 0 else (data["product"] == 7)
    rows, y = data[[*FEATURES, *NAMES]], data["y"]
    model = BayesianMultiTaskRegressor("diagonal", task_column=NAMES).fit(rows[~new], y[~new])
    few = new & (np.cumsum(new) <= 6)
    more = adapt(model, rows[few], y[few], sample_weight=np.linspace(0.5, 2.0, 6))
    assert_array_equal(more.predict(rows[~new]), model.predict(rows[~new]))
    assert_array_equal(more.levels_[NAMES[g]], [*model.levels_[NAMES[g]], "c" if g == 0 else 7])
    # The posterior of all effects and the mean given all rows, with the same covariances.
    Z = np.column_stack([np.ones(len(data)), data[FEATURES]])
    Z[:, 1:] = (Z[:, 1:] - model._grouped.mean) / model._grouped.scale
    weight = np.where(new, 0.0, 1.0)
    weight[few] = np.linspace(0.5, 2.0, 6)
    blocks, precision = [Z], [np.zeros((3, 3))]
    for name, covariance in zip(NAMES, model._grouped.covariances, strict=True):
        labels = np.unique(data[name])
        held = (data[name].to_numpy()[:, None] == labels).astype(float)
        blocks.append((held[:, :, None] * Z[:, None, :]).reshape(len(data), -1))
        precision.append(np.kron(np.eye(len(labels)), np.linalg.pinv(covariance)))
    X, noise = np.hstack(blocks), model._grouped.noise
    A = (X.T * weight) @ X / noise + scipy.linalg.block_diag(*precision)
    target = (y - model._grouped.target_mean) / model._grouped.target_scale
    found = np.linalg.solve(A, (X.T * weight) @ target / noise)
    place = 3 + 3 * (2 if g == 0 else 12 + 7)
    assert_allclose(more._grouped.deviations()[g][-1], found[place : place + 3], atol=1e-6)
    # It is known better than an unknown one, and so are its rows.
    _, std = more.predict(rows[new], return_std=True)
    _, wide = model.predict(rows[new], return_std=True)
    assert (std < wide).all()
    assert f"Adapted to 1 level of {NAMES[g]}" in more.adaptation_.summary()
    assert more.data_card_.n_rows == model.data_card_.n_rows + 6


def test_adapted_levels_are_saved_and_other_rows_are_refused(data, model, tmp_path):
    rows, y = data[[*FEATURES, *NAMES]].head(4), data["y"].head(4)
    new = rows.assign(product=[77, 77, 78, 77])
    more = adapt(model, new, y)
    save(more, tmp_path / "m.polytask")
    assert_array_equal(load(tmp_path / "m.polytask").predict(new), more.predict(new))
    assert more.adaptation_.rows == (3, 1)
    for given, words in (
        (rows.assign(product=[77, 77, rows["product"].iloc[2], 77]), r"known in 1 row \(2\)"),
        (new.assign(store="zz"), "new levels of 'store', 'product'"),
    ):
        with pytest.raises(DataError, match=words):
            adapt(model, given, y)
    with pytest.raises(IncompatibleError, match="needs X_new and y_new"):
        adapt(model, new)
    with pytest.raises(IncompatibleError, match="domain=None"):
        adapt(model, new, y, domain="new")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": "task"}, "noise .* 'common' with several groupings; got 'task'"),
        ({"mean_prior": "gaussian"}, "mean_prior .* 'flat' with several groupings"),
        ({"scale_targets": "task"}, "scale_targets .* with several groupings"),
        ({"task_column": ["store"]}, "a list of two or more different columns"),
        ({"task_column": ["store", "store"]}, "a list of two or more different columns"),
        ({"task_column": ["store", 1.5]}, "a list of two or more different columns"),
    ],
)
def test_parameters_that_do_not_go_together(data, parameters, message):
    model = BayesianMultiTaskRegressor(**({"task_column": NAMES} | parameters))
    with pytest.raises(ParameterError, match=message):
        model.fit(data[[*FEATURES, *NAMES]], data["y"])


def test_input_that_cannot_be_used(data, model):
    X, y, task = data[FEATURES], data["y"], data[NAMES]
    table = data[[*FEATURES, *NAMES]]
    plain = BayesianMultiTaskRegressor()
    with pytest.raises(DataError, match=r"no column 'prodct'. Did you mean 'product'"):
        plain.set_params(task_column=["store", "prodct"]).fit(table, y)
    plain.set_params(task_column=None)
    with pytest.raises(DataError, match=r"product .* a label in every row; got no label in 1 row"):
        plain.fit(X, y, task=task.assign(product=task["product"].where(task.index != 5)))
    with pytest.raises(DataError, match="as long as X"):
        plain.fit(X, y, task=task.head(9))
    with pytest.raises(DataError, match="two or more groupings"):
        plain.fit(X, y, task=task[["store"]])
    with pytest.raises(DataError, match="given task labels twice"):
        clone(model).fit(table, y, task=task)
    with pytest.raises(DataError, match="2-D y"):
        plain.fit(X, MATRIX, task=task)
    with pytest.raises(IncompatibleError, match="need the long form"):
        clone(model).fit({"a": (X, y)})
    with pytest.raises(DataError, match="4 rows or more"):
        clone(model).fit(table.head(3), y.head(3))
    beside = BayesianMultiTaskRegressor().fit(X, y, task=task)
    for given in (None, task["store"], task[["store"]], task.rename(columns={"store": "shop"})):
        with pytest.raises(DataError, match="fitted on the groupings 'store', 'product'"):
            beside.predict(X, task=given)


@pytest.mark.parametrize("kind", ["zero", "constant", "line", "line and levels", "slopes"])
def test_targets_without_any_noise_are_learned(kind):
    rng = np.random.default_rng(1)
    first, second = np.arange(20) % 3, rng.integers(0, 2, 20)
    x = rng.standard_normal((20, 2))
    y = {
        "zero": np.zeros(20),
        "constant": np.full(20, 3.0),
        "line": x @ [1.0, 2.0],
        "line and levels": x @ [1.0, 2.0] + first + 2.0 * second,
        "slopes": x[:, 0] * (first + 1.0) + second * x[:, 1],
    }[kind]
    X = pd.DataFrame(x, columns=FEATURES)
    X = X.assign(store=first.astype(str), product=second.astype(str))
    model = BayesianMultiTaskRegressor("auto", task_column=NAMES).fit(X, y)
    assert_allclose(model.predict(X), y, atol=1e-4)


def test_many_levels_are_solved_by_conjugate_gradients(data, monkeypatch):
    rows = data[[*FEATURES, *NAMES]]
    exact = BayesianMultiTaskRegressor("scalar", task_column=NAMES).fit(rows, data["y"])
    monkeypatch.setattr("polytask.bayes.crossed_left.LARGEST_DENSE", 0)
    found = clone(exact).fit(rows, data["y"])
    for one, two in zip(
        found.predict(rows, return_std=True), exact.predict(rows, return_std=True), strict=True
    ):
        assert_allclose(one, two, rtol=0.01, atol=0.01)
    assert exact.log_marginal_likelihood_error_ == 0.0
    assert found.log_marginal_likelihood_error_ > 0.0
    apart = found.log_marginal_likelihood_ - exact.log_marginal_likelihood_
    assert abs(apart) < 4.0 * found.log_marginal_likelihood_error_
    assert found.solution_.status.ok
    # Then "auto" is intercepts alone.
    alone = clone(exact).set_params(structure="auto").fit(rows, data["y"])
    assert len(alone.evidence_) == 1


@pytest.mark.slow
def test_intervals_of_shares_cover():
    # A grouping without differences has a share of about 0, of which nothing tells the error.
    covered, sizes = [], np.array([0.8**2, 0.5**2, 0.0])
    for seed in range(60):
        rng = np.random.default_rng(seed)
        codes = np.column_stack([rng.integers(0, size, 800) for size in (40, 40, 20)])
        y = rng.standard_normal(800)
        for own, size in zip(codes.T, sizes, strict=True):
            y += np.sqrt(size) * rng.standard_normal(40)[own]
        model = BayesianMultiTaskRegressor("none").fit(rng.standard_normal((800, 1)), y, codes)
        share, low, high = np.array(list(model.variance_shares_.values())).T
        true = sizes / (1.0 + sizes.sum())
        covered.append(((low <= true) & (true <= high))[:2])
        assert share[2] < 0.06
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)


@pytest.mark.slow
def test_intervals_cover():
    covered = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n, levels = 3000, (150, 60)
        x = rng.standard_normal(n)
        codes = np.column_stack([rng.integers(0, size, n) for size in levels])
        y = 1.0 + x + rng.standard_normal(n)
        for own, size, spread in zip(codes.T, levels, (0.8, 0.5), strict=True):
            effects = spread * rng.standard_normal((size, 2))
            y += effects[own, 0] + effects[own, 1] * x
        inside = rng.random(n) < 0.6
        # A tenth of the levels of each grouping is in no training row.
        inside &= (codes[:, 0] >= 15) & (codes[:, 1] >= 6)
        model = BayesianMultiTaskRegressor().fit(x[inside, None], y[inside], task=codes[inside])
        lower, upper = model.predict_interval(x[~inside, None], task=codes[~inside])
        hit = (lower <= y[~inside]) & (y[~inside] <= upper)
        strange = (codes[~inside, 0] < 15).astype(int) + (codes[~inside, 1] < 6)
        covered.append([hit[strange == k].mean() for k in range(3)])
    assert np.mean(covered, axis=0)[:2] == pytest.approx([0.9, 0.9], abs=0.03)
    # Rows of two unknown levels are few.
    assert np.mean(covered, axis=0)[2] == pytest.approx(0.9, abs=0.08)
