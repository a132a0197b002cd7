"""New tasks: what is learned from 0, 1, 2, ... rows, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    DataError,
    DataWarning,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    Pooled,
    SingleTask,
    TaskData,
    adapt,
    load,
    save,
)
from polytask.penalties import L1, L2, L21, TraceNorm, toward_mean
from polytask.selection.shared_base import SharedBase

D, T, N = 4, 12, 25
MEAN = np.array([1.0, -2.0, 0.5, 0.0])


def rows(seed=0, n_tasks=T, n=N, first=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(first, first + n_tasks), n)
    X = rng.standard_normal((len(task), D)) * [1.0, 2.0, 0.5, 3.0] + 1.0
    W = MEAN + 0.5 * rng.standard_normal((n_tasks, D))
    b = 4.0 + rng.standard_normal(n_tasks)
    eta = np.einsum("ij,ij->i", X, W[task - first]) + b[task - first]
    return X, eta + 0.5 * rng.standard_normal(len(task)), task


def classes(seed=0, **params):
    X, y, task = rows(seed, **params)
    return X, np.where(y > 3.0, "yes", "no"), task


X, y, task = rows()
NEW = rows(1, n_tasks=3, n=60, first=100)
FITTED = {
    "toward_mean": MultiTaskRegressor(toward_mean(0.1), standardize=True),
    "l21": MultiTaskRegressor(L21(0.05)),
    "l1": MultiTaskRegressor(L1(0.05)),
    "trace": MultiTaskRegressor(TraceNorm(0.1), intercept="task"),
    "shared intercept": MultiTaskRegressor(L2(0.1), intercept="shared"),
    "no intercept": MultiTaskRegressor(L2(0.1), intercept=None),
    "search": MultiTaskRegressorCV(toward_mean(), alphas=6, cv=3),
    "model": MultiTaskModel(L2(0.1)),
    "prior": BayesianMultiTaskRegressor(),
}


@pytest.fixture(scope="module", params=FITTED)
def model(request):
    return FITTED[request.param].fit(X, y, task=task)


def part(n, label=100):
    own = np.flatnonzero(NEW[2] == label)[:n]
    return NEW[0][own], NEW[1][own]


def test_old_tasks_are_predicted_as_before_and_the_model_is_not_changed(model):
    before, attributes = model.predict(X, task=task), set(vars(model))
    new = adapt(model, *part(5), task=100)
    np.testing.assert_allclose(new.predict(X, task=task), before, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X, task=task), before)
    assert set(vars(model)) == attributes
    assert len(model.tasks_) == T
    assert type(new) is type(model)
    assert new.tasks_.tolist() == [*range(T), 100]
    assert new.coef_.shape == (T + 1, D)
    assert new.data_card_.rows_per_task[-1] == 5
    assert new.card().json


def test_without_rows_a_new_task_is_an_unseen_one(model):
    new = adapt(model, None, task=100)
    shared = model.unseen_tasks
    model.unseen_tasks = "shared"
    want = model.predict(X[:9], task=np.full(9, 555))
    model.unseen_tasks = shared
    np.testing.assert_allclose(new.predict(X[:9], task=np.full(9, 100)), want, rtol=1e-9)
    assert new.adaptation_.scores == {}
    assert "no targets" in new.adaptation_.summary()


def test_more_rows_predict_better(model):
    errors = []
    for n in (0, 2, 8, 40):
        squares = []
        for label in np.unique(NEW[2]):
            new = (
                adapt(model, *part(n, label), task=label) if n else adapt(model, None, task=label)
            )
            own = np.flatnonzero(NEW[2] == label)[40:]
            predicted = new.predict(NEW[0][own], task=np.full(len(own), label))
            squares.append(np.mean((NEW[1][own] - predicted) ** 2))
        errors.append(np.mean(squares))
    assert errors[-1] < errors[0]
    assert errors[-1] < 1.0 or getattr(model, "intercept", "auto") in ("shared", None)
    assert max(errors[1:]) < 1.1 * errors[0]


def test_the_order_of_adaptations_does_not_matter(model):
    one = adapt(adapt(model, *part(5, 100), task=100), *part(7, 101), task=101)
    other = adapt(adapt(model, *part(7, 101), task=101), *part(5, 100), task=100)
    together = np.concatenate(
        [np.flatnonzero(NEW[2] == 100)[:5], np.flatnonzero(NEW[2] == 101)[:7]]
    )
    both = adapt(model, NEW[0][together], NEW[1][together], task=NEW[2][together])
    at = np.repeat([100, 101], 10)
    want = one.predict(NEW[0][:20], task=at)
    np.testing.assert_allclose(other.predict(NEW[0][:20], task=at), want, rtol=1e-9)
    np.testing.assert_allclose(both.predict(NEW[0][:20], task=at), want, rtol=1e-9)


def test_saved_and_loaded(model, tmp_path):
    new = adapt(model, *part(6), task=100)
    save(new, tmp_path / "m")
    loaded = load(tmp_path / "m")
    at = np.full(10, 100)
    np.testing.assert_array_equal(loaded.predict(X[:10], task=at), new.predict(X[:10], task=at))
    assert loaded.adaptation_ == new.adaptation_
    again = adapt(loaded, *part(6, 101), task=101)
    assert again.tasks_.tolist()[-2:] == [100, 101]


def test_a_weight_of_two_is_the_row_twice(model):
    rows_, y_ = part(4)
    twice = adapt(model, np.repeat(rows_, 2, axis=0), np.repeat(y_, 2), task=100)
    weight = adapt(model, rows_, y_, task=100, sample_weight=np.full(4, 2.0))
    if twice.adaptation_.strengths == weight.adaptation_.strengths:
        np.testing.assert_allclose(weight.coef_[-1], twice.coef_[-1], rtol=1e-8)


def test_a_penalised_task_is_where_a_refit_puts_it():
    """With toward_mean and many tasks, one more task hardly moves the others."""
    model = MultiTaskRegressor(toward_mean(5.0), intercept_strength=50.0)
    many = rows(0, n_tasks=60)
    model.fit(*many[:2], task=many[2])
    new_X, new_y = part(3)
    new = adapt(model, new_X, new_y, task=100)
    joined = [np.concatenate([a, b]) for a, b in zip(many, (new_X, new_y, [100] * 3), strict=True)]
    refit = clone(model).fit(*joined[:2], task=joined[2])
    np.testing.assert_allclose(new.coef_[-1], refit.coef_[-1], atol=0.05)
    at = np.full(20, 100)
    one, two = new.predict(X[:20], task=at), refit.predict(X[:20], task=at)
    assert np.sqrt(np.mean((one - two) ** 2)) < 0.05 * np.std(two)


def test_the_pull_of_quadratic_penalties_is_their_strength():
    model = MultiTaskRegressor(toward_mean(50.0) + L2(7.0), intercept="task").fit(X, y, task=task)
    # Per row of a task rather than per mean of its losses.
    np.testing.assert_allclose(model._pull.strength, N * 57.0, rtol=1e-6)


def test_a_feature_in_which_tasks_agree_is_not_learned_anew():
    data = rows()
    model = MultiTaskRegressor(L21(fraction=0.7), standardize=True).fit(*data[:2], task=data[2])
    dropped = np.flatnonzero(np.abs(model.coef_).max(axis=0) == 0)
    assert len(dropped)
    new = adapt(model, *part(30), task=100)
    np.testing.assert_allclose(new.coef_[-1, dropped], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    "estimator", [MultiTaskClassifier(L2(0.02)), BayesianMultiTaskClassifier()]
)
def test_classes(estimator):
    model = estimator.fit(*classes()[:2], task=task)
    new_X, new_y, labels = classes(1, n_tasks=1, n=200, first=100)
    losses = []
    for n in (0, 1, 5, 60):
        few = (new_X[:n], new_y[:n]) if n else (new_X[:1], None)
        new = adapt(model, *few, task=100)
        proba = new.predict_proba(new_X[60:], task=labels[60:])
        own = (new_y[60:, None] == new.classes_).argmax(axis=1)
        losses.append(-np.log(proba[np.arange(len(own)), own]).mean())
        assert np.isfinite(new.coef_).all()
    assert losses[-1] < losses[0]
    assert losses[1] < losses[0] + 0.2
    before = model.predict_proba(X, task=task)
    np.testing.assert_allclose(new.predict_proba(X, task=task), before, rtol=1e-9)
    with pytest.raises(DataError, match="'maybe'"):
        adapt(model, new_X[:2], ["maybe", "no"], task=100)


def test_several_classes_and_one_seen():
    cut = np.digitize(y, np.quantile(y, [0.33, 0.66]))
    model = MultiTaskClassifier(L2(0.02)).fit(X, np.array(["a", "b", "c"])[cut], task=task)
    new = adapt(model, X[:4], ["b"] * 4, task="new")
    proba = new.predict_proba(X[:4], task=["new"] * 4)
    before = adapt(model, None, task="new").predict_proba(X[:4], task=["new"] * 4)
    assert proba.shape == (4, 3)
    assert (proba[:, 1] > before[:, 1]).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_sparse_is_as_dense_with_few_rows_and_with_many():
    for n in (3, 50):
        new_X, new_y = part(n)
        found = []
        for kind in (np.asarray, sp.csr_array):
            model = MultiTaskRegressor(toward_mean(0.1)).fit(kind(X), y, task=task)
            found.append(adapt(model, kind(new_X), new_y, task=100))
        dense, thin = found
        np.testing.assert_allclose(thin.coef_, dense.coef_, rtol=1e-6)
        np.testing.assert_allclose(thin.intercept_, dense.intercept_, rtol=1e-6)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("estimator", [MultiTaskRegressor, BayesianMultiTaskRegressor])
def test_tables(library, estimator):
    columns = {f"f{j}": X[:, j].tolist() for j in range(D)}
    frame = library(columns | {"school": [f"s{t}" for t in task.tolist()]})
    model = estimator(task_column="school").fit(frame, y)
    new_X, new_y = part(5)
    fresh = library({f"f{j}": new_X[:, j].tolist() for j in range(D)} | {"school": ["new"] * 5})
    new = adapt(model, fresh, new_y)
    plain = adapt(
        model, library({f"f{j}": new_X[:, j].tolist() for j in range(D)}), new_y, task="new"
    )
    np.testing.assert_array_equal(new.coef_, plain.coef_)
    assert new.predict(fresh).shape == (5,)
    assert adapt(model, fresh).tasks_.tolist()[-1] == "new"
    with pytest.raises(DataError, match="twice"):
        adapt(model, fresh, new_y, task="new")


def test_forms_of_new_rows():
    model = MultiTaskRegressor(toward_mean(0.1)).fit(X, y, task=task)
    new_X, new_y = part(5)
    want = adapt(model, new_X, new_y, task=100)
    for other in (
        adapt(model, TaskData.from_long(new_X, new_y, [100] * 5)),
        adapt(model, {100: (new_X, new_y)}),
        adapt(model, new_X.tolist(), new_y.tolist(), task=np.full(5, 100)),
    ):
        np.testing.assert_array_equal(other.coef_, want.coef_)
        assert other.adaptation_ == want.adaptation_


def test_a_new_target_of_a_target_matrix():
    Y = np.column_stack([X @ MEAN, X @ MEAN + X[:, 0], X @ MEAN - X[:, 1]])
    model = MultiTaskRegressor(toward_mean(0.1)).fit(X, Y)
    new = adapt(model, X[:8], (X @ MEAN)[:8], task="fourth")
    assert new.predict(X).shape == (len(X), 4)
    np.testing.assert_allclose(new.predict(X)[:, :3], model.predict(X))


def test_only_changed_posteriors_are_worked_out_and_all_are_right():
    model = BayesianMultiTaskRegressor().fit(X, y, task=task)
    own = np.isin(NEW[2], [100, 101])
    new = adapt(model, NEW[0][own], NEW[1][own], task=NEW[2][own])
    new.partial_fit(X[:5], y[:5], task=task[:5])
    whole = new._tasks.linear()
    np.testing.assert_allclose(new.coef_, whole.coef, rtol=1e-9)
    np.testing.assert_allclose(new.intercept_, whole.intercept, rtol=1e-9)
    both = np.concatenate([X, NEW[0][own]]), np.concatenate([y, NEW[1][own]])
    again = BayesianMultiTaskRegressor(prior=model)
    again.fit(*both, task=np.concatenate([task, NEW[2][own]]))
    np.testing.assert_allclose(new.coef_[1:], again.coef_[1:], rtol=1e-6)


def test_one_known_task_is_a_weak_teacher():
    model = MultiTaskRegressor(L2(0.01)).fit(X[:25], y[:25])
    new = adapt(model, *part(40), task="second")
    assert np.isfinite(new.coef_).all()
    assert new.adaptation_.scores["adapted"] < new.adaptation_.scores["source"]


REFUSED = {
    "single": (SingleTask(Ridge()), {"task": 100}, IncompatibleError, "one model per task"),
    "pooled": (Pooled(Ridge()), {"task": 100}, IncompatibleError, "one model for all"),
    "corrected": (
        SharedBase(Pooled(Ridge()), cv=2), {"task": 100}, IncompatibleError,
        "SharedBase has one model for all",
    ),
    "foreign": (Ridge(), {"task": 100}, IncompatibleError, "a fitted estimator of polytask"),
    "known": (FITTED["l1"], {"task": 3}, DataError, "the model knows 3 already"),
    "nameless": (FITTED["l1"], {}, ParameterError, "which task the rows belong to"),
    "source": (FITTED["l1"], {"task": 99, "source": (X, y)}, ParameterError, "source of adapt"),
    "domain": (FITTED["l1"], {"task": 100, "domain": "old"}, ParameterError, "domain of adapt"),
    "no rows of a shift": (
        FITTED["l1"], {"task": 100, "domain": "shift"}, DataError, "needs source="
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_adapted_is_refused(case):
    estimator, params, error, said = REFUSED[case]
    fitted = estimator.fit(X, y) if case == "foreign" else estimator.fit(X, y, task=task)
    with pytest.raises(error, match=said):
        adapt(fitted, *part(5), **params)


def test_bad_rows_are_refused():
    model = MultiTaskRegressor(L1(0.05)).fit(X, y, task=task)
    new_X, new_y = part(5)
    with pytest.raises(DataError, match="has 3 features"):
        adapt(model, new_X[:, :3], new_y, task=100)
    with pytest.raises(DataError, match="row"):
        adapt(model, new_X, np.where(np.arange(5) == 2, np.nan, new_y), task=100)
    with pytest.raises(DataError, match="fitted before"):
        adapt(MultiTaskRegressor(), new_X, new_y, task=100)
    with pytest.raises(DataError, match="one target per row"):
        adapt(model, TaskData.from_targets(new_X, np.column_stack([new_y, new_y])))
    mixed = MultiTaskModel(L2(0.1)).fit(X, np.column_stack([y, y > 0]))
    with pytest.raises(IncompatibleError, match="one loss for all tasks"):
        adapt(mixed, new_X, new_y, task="third")
    classifier = SingleTask(LogisticRegression()).fit(X, y > 0, task=task)
    with pytest.raises(IncompatibleError, match="SingleTask"):
        adapt(classifier, new_X, new_y > 0, task=100)


def test_the_report_speaks_two_languages():
    model = MultiTaskRegressor(toward_mean(0.1)).fit(X, y, task=task)
    report = adapt(model, *part(10), task=100).adaptation_
    assert report.summary().startswith("Adapted to 1 task (100) with 10 rows. On rows held out, ")
    assert "已用 10 行数据适应 1 个任务（100）" in report.summary("zh")
    assert report.chosen == "adapted"
    assert set(report.scores) == {"adapted", "source"}
    mean, error = report.differences["source"]
    assert error > 0
    assert mean == pytest.approx(
        (report.scores["adapted"] ** 2 - report.scores["source"] ** 2) / 2
    )


@pytest.mark.parametrize("estimator", [MultiTaskRegressor(), BayesianMultiTaskRegressor()])
def test_values_that_overflow_are_refused_and_large_ones_stay_finite(estimator):
    X, y, task = rows()
    model = clone(estimator).fit(X, y, task=task)
    new = X[:5].copy()
    new[2, 1] = 1e300
    with pytest.raises(DataError, match=r"X of adapt .* got 1e\+300"):
        adapt(model, new, y[:5], task="new")
    with pytest.raises(DataError, match=r"y of adapt .* got 1e\+300"):
        adapt(model, X[:5], np.full(5, 1e300), task="new")
    new[2, 1] = 1e60
    more = adapt(model, new, y[:5], task="new")
    assert np.isfinite(more.predict(X[:5], task=["new"] * 5)).all()


@pytest.mark.parametrize("classes", [False, True])
def test_more_rows_that_overflow_are_refused_and_nothing_changes(classes):
    X, y, task = rows()
    kind = BayesianMultiTaskClassifier if classes else BayesianMultiTaskRegressor
    y = y > 4.0 if classes else y
    model = kind().fit(X, y, task=task)
    before = model.predict(X, task=task)
    new = X[:5].copy()
    new[2, 1] = 1e300
    with pytest.raises(DataError, match=r"got 1e\+300"):
        model.partial_fit(new, y[:5], task=task[:5])
    np.testing.assert_array_equal(model.predict(X, task=task), before)


@pytest.mark.parametrize("column", [None, "g"])
@pytest.mark.parametrize("classes", [False, True])
def test_a_learned_prior_of_a_table_takes_a_task_without_rows(column, classes):
    X, y, task = rows()
    table = pd.DataFrame(X, columns=list("abcd"))
    table["d"] = np.where(table["d"] > 1.0, "high", "low")
    kind = BayesianMultiTaskClassifier if classes else BayesianMultiTaskRegressor
    y = y > 4.0 if classes else y
    if column is None:
        more = adapt(kind().fit(table, y, task=task), None, task="new")
        given = more.predict(table.head(3), task=["new"] * 3)
        shared = more.predict(table.head(3), task=["nobody"] * 3)
    else:
        more = adapt(kind(task_column="g").fit(table.assign(g=task), y), None, task="new")
        given = more.predict(table.head(3).assign(g="new"))
        shared = more.predict(table.head(3).assign(g="nobody"))
    np.testing.assert_allclose(np.asarray(given, float), np.asarray(shared, float))


@pytest.mark.parametrize("classes", [False, True])
def test_rows_that_a_prior_of_equal_tasks_cannot_use_are_said_to_change_nothing(classes):
    rng, kind = np.random.default_rng(0), BayesianMultiTaskRegressor
    X, task = rng.standard_normal((240, 3)), np.repeat(list("abcdef"), 40)
    y = X @ [1.0, 0.5, -1.0] + rng.standard_normal(240)
    if classes:
        kind, y = BayesianMultiTaskClassifier, y > 0
    equal = kind().fit(X, y, task=task)
    more = adapt(equal, X[:20], y[:20][::-1], task="new")
    assert more.adaptation_.fixed
    assert "the rows change nothing" in more.adaptation_.summary()
    given, shared = (m.predict(X, task=["new"] * 240) for m in (more, equal))
    np.testing.assert_allclose(np.asarray(given, float), np.asarray(shared, float), atol=1e-3)
    X, y, task = rows()
    y = y > 4.0 if classes else y
    usual = adapt(kind().fit(X, y, task=task), X[:20], y[:20], task="new")
    assert not usual.adaptation_.fixed
    assert "change nothing" not in usual.adaptation_.summary()


def test_other_units_than_those_of_the_model_are_seen():
    known = BayesianMultiTaskRegressor().fit(X, y, task=task)
    X_new, y_new = NEW[0][:20], NEW[1][:20]
    fine = adapt(known, X_new, y_new, task="d").adaptation_
    assert fine.worse_than_mean == ()
    assert "have the units" not in fine.summary()
    far = adapt(known, X_new, y_new + 1000, task="d").adaptation_
    assert far.worse_than_mean == ("adapted", "source")
    assert "Predicting the mean of the other new rows is significantly better" in far.summary()
    left_out = (y_new - y_new.mean()) * len(y_new) / (len(y_new) - 1)
    assert far.mean_rmse == pytest.approx(np.sqrt(np.mean(left_out**2)))


def test_a_new_task_that_is_called_like_a_known_one_is_named():
    names = np.array([f"school {k}" for k in task])
    known = clone(FITTED["l21"]).fit(X, y, task=names)
    with pytest.warns(DataWarning, match="'school 1' and 'School 1'"):
        adapt(known, NEW[0][:20], NEW[1][:20], task="School 1")


def test_new_rows_far_from_those_of_training_are_named():
    table = pd.DataFrame(X, columns=list("abcd"))
    known = clone(FITTED["l21"]).fit(table, y, task=task)
    new = pd.DataFrame(NEW[0][:20], columns=list("abcd")).assign(b=1e6)
    with pytest.warns(DataWarning, match="'b' lies far outside"):
        adapt(known, new, NEW[1][:20], task=100)
