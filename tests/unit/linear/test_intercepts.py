"""Every intercept mode against brute force, and what is refused or fixed by convention."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from polytask import DataError, MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor
from polytask.penalties import L2, L21

ALPHA, STRENGTH = 0.3, 2.0
TASK = np.repeat([0, 1, 2], [7, 12, 9])
SIZES = np.bincount(TASK)


def problem(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(TASK), 2))
    eta = X @ [1.0, -1.0] + 0.5 * TASK + rng.normal(size=len(TASK))
    if kind == "squared":
        return X, eta
    if kind == "logistic":
        return X, (eta > 0).astype(int)
    y = np.digitize(eta, [-0.5, 0.9])
    return X, np.where((TASK == 2) & (y == 2), 1, y)


def column_classes(kind, y):
    """The class of each column, task by task."""
    return [np.unique(y[t == TASK]) if kind == "multinomial" else np.zeros(1) for t in range(3)]


def losses(kind, y, eta, classes):
    if kind == "squared":
        return 0.5 * (y - eta[:, 0]) ** 2
    if kind == "logistic":
        return np.logaddexp(0, eta[:, 0]) - y * eta[:, 0]
    code = np.searchsorted(classes, y)
    return np.logaddexp.reduce(eta, axis=1) - eta[np.arange(len(y)), code]


def brute_force(kind, mode, task_weight):
    """Write the objective of the documentation down again, and minimise it."""
    X, y = problem(kind)
    classes = column_classes(kind, y)
    label = np.concatenate(classes).astype(int)
    ends = np.cumsum([len(c) for c in classes])
    scale = SIZES / SIZES.mean() if task_weight == "size" else np.ones(3)
    K = len(label)

    def objective(p):
        W, b = p[: 2 * K].reshape(2, K), p[2 * K :]
        b = {None: np.zeros(K), "shared": b[label]}.get(mode, b)
        value = ALPHA / 2 * np.sum(W**2)
        for t in range(3):
            own, rows = slice(ends[t] - len(classes[t]), ends[t]), t == TASK
            eta = X[rows] @ W[:, own] + b[own]
            value += scale[t] * losses(kind, y[rows], eta, classes[t]).mean()
        if mode == "toward_mean":
            away = [b[label == c] - b[label == c].mean() for c in set(label)]
            value += STRENGTH / SIZES.mean() / 2 * sum(a @ a for a in away)
        return value

    found = minimize(objective, np.zeros(3 * K), method="BFGS", options={"gtol": 1e-7})
    return found.fun, found.x[: 2 * K].reshape(2, K).T


@pytest.mark.parametrize("task_weight", ["size", "equal"])
@pytest.mark.parametrize("mode", ["task", "toward_mean", "shared", None])
@pytest.mark.parametrize("kind", ["squared", "logistic", "multinomial"])
def test_brute_force(kind, mode, task_weight):
    X, y = problem(kind)
    estimator = MultiTaskRegressor if kind == "squared" else MultiTaskClassifier
    model = estimator(
        L2(ALPHA), intercept=mode, intercept_strength=STRENGTH, task_weight=task_weight, tol=1e-12
    ).fit(X, y, TASK)
    value, coef = brute_force(kind, mode, task_weight)
    assert model.solution_.objective == pytest.approx(value, abs=1e-10)
    assert_allclose(model.coef_, coef, atol=1e-5)


@pytest.mark.parametrize("mode", ["toward_mean", "shared"])
def test_a_task_of_one_class_is_finite(mode):
    X, y = problem("logistic")
    y = np.where(TASK == 1, 1, y)
    model = MultiTaskClassifier(intercept=mode).fit(X, y, TASK)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert model.task_classes_[1].tolist() == [0, 1]


@pytest.mark.parametrize("settings", [{"intercept": "task"}, {"intercept_strength": 0.0}])
def test_a_free_intercept_of_one_class_is_refused(settings):
    X, y = problem("logistic")
    y = np.where(TASK == 1, 1, y)
    with pytest.raises(DataError, match=r"Task 1 .* one class only \(1\).*toward_mean"):
        MultiTaskClassifier(**settings).fit(X, y, TASK)
    with pytest.raises(DataError, match="one class only"):
        MultiTaskModel(loss="logistic", **settings).fit(X, y, TASK)


def test_no_intercept_needs_no_second_class():
    X, y = problem("logistic")
    y = np.where(TASK == 1, 1, y)
    model = MultiTaskClassifier(L2(0.1), intercept=None).fit(X, y, TASK)
    assert model.intercept_.tolist() == [0.0] * 3


def test_one_class_targets_that_nothing_ties_are_refused():
    X, _ = problem("logistic")
    Y = np.column_stack([np.full(28, "a"), np.full(28, "b"), np.full(28, "c")])
    with pytest.raises(DataError, match="one class only"):
        MultiTaskClassifier().fit(X, Y)


def test_intercepts_of_several_classes_have_mean_zero():
    X, y = problem("multinomial")
    model = MultiTaskClassifier(L2(0.1), intercept="task").fit(X, y, TASK)
    owners = np.array([task for task, _ in model.columns_])
    for t in range(3):
        assert model.intercept_[owners == t].sum() == pytest.approx(0, abs=1e-12)
    # A pull ties the tasks, so that only a common shift is free.
    pulled = MultiTaskClassifier(L2(0.1)).fit(X, y, TASK)
    assert pulled.intercept_.sum() == pytest.approx(0, abs=1e-12)
    pulled.set_params(standardize=True).fit(X, y, TASK)
    assert pulled.intercept_.sum() == pytest.approx(0, abs=1e-12)


def test_auto_pulls_classes_and_frees_numbers():
    X, y = problem("logistic")
    rng = np.random.default_rng(1)
    Y = np.column_stack([y, X[:, 0] + 50.0, np.roll(y, 2), rng.normal(size=len(y)) - 50.0])
    loss = dict(enumerate(["logistic", "squared", "logistic", "squared"]))
    for strength in (0.0, 1.0, 1e6):
        model = MultiTaskModel(L2(0.1), loss=loss, intercept_strength=strength, tol=1e-10)
        model.fit(X, Y)
        residuals = Y - model.predict(X)
        assert_allclose(residuals[:, [1, 3]].sum(axis=0), 0, atol=1e-8)
        level = model.intercept_ + model.coef_ @ X.mean(axis=0)
        apart = abs(level[0] - level[2])
        assert (apart < 1e-4) == (strength == 1e6)


@pytest.mark.parametrize(
    ("mode", "weights"), [("task", SIZES[[0, 2]]), ("auto", None), ("toward_mean", None)]
)
def test_a_task_without_rows_borrows_its_intercept(mode, weights):
    """Free ones have nothing else to go by; a pull has its minimum at the mean of the others."""
    X, y = problem("squared")
    weight = (TASK != 1).astype(float)
    model = MultiTaskRegressor(L21(0.01), intercept=mode, tol=1e-12)
    with pytest.warns(UserWarning, match=r"1 task has no row of positive weight \(1\)"):
        model.fit(X, y + 10, TASK, weight)
    middle = X[TASK != 1].mean(axis=0) if mode == "auto" else np.zeros(X.shape[1])
    level = model.intercept_ + model.coef_ @ middle
    assert level[1] == pytest.approx(np.average(level[[0, 2]], weights=weights), rel=1e-9)
    assert not model.coef_[1].any()


def same(first, second, atol=1e-12):
    assert_allclose(first.coef_, second.coef_, rtol=0, atol=atol)
    assert_allclose(first.intercept_, second.intercept_, rtol=0, atol=atol)


def differ(first, second):
    assert np.abs(first.intercept_ - second.intercept_).max() > 1e-2


def separate(X, y):
    return {t: (X[t == TASK], y[t == TASK]) for t in range(3)}


def test_rows_with_a_task_label_have_pulled_intercepts():
    X, y = problem("squared")
    default = MultiTaskRegressor(L2(0.1)).fit(X, y, TASK)
    pulled = MultiTaskRegressor(L2(0.1), intercept="toward_mean", intercept_strength=1.0)
    # At the mean of the features, wherever that is.
    centred = X - X.mean(axis=0)
    assert_allclose(default.coef_, pulled.fit(centred, y, TASK).coef_, atol=1e-12)
    moved = MultiTaskRegressor(L2(0.1)).fit(X + 1000.0, y, TASK)
    assert_allclose(default.coef_, moved.coef_, atol=1e-9)
    differ(default, pulled.fit(X, y, TASK))
    same(MultiTaskRegressor(L2(0.1)).fit(separate(X, y)), default, atol=1e-10)
    free = MultiTaskRegressor(L2(0.1), intercept="task").fit(X, y, TASK)
    differ(default, free)
    same(free, MultiTaskRegressor(L2(0.1), intercept_strength=0.0).fit(X, y, TASK))


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskModel])
def test_targets_of_numbers_have_free_intercepts(kind):
    X, y = problem("squared")
    Y = np.column_stack([y, 2 * y + 5, X[:, 0] - y])
    Y[::5, 1] = np.nan
    default = kind(L2(0.1)).fit(X, Y)
    same(default, kind(L2(0.1), intercept="task").fit(X, Y))
    # The strength of a pull that is not there changes nothing.
    same(default, kind(L2(0.1), intercept_strength=50.0).fit(X, Y))
    differ(default, kind(L2(0.1), intercept="toward_mean").fit(X, Y))


def test_a_model_of_one_loss_is_the_estimator_of_that_loss():
    X, y = problem("squared")
    for strength in (1.0, 20.0):
        settings = {"intercept_strength": strength}
        regressor = MultiTaskRegressor(L21(0.05), **settings).fit(X, y, TASK)
        same(MultiTaskModel(L21(0.05), loss="squared", **settings).fit(X, y, TASK), regressor)
        same(MultiTaskModel(L21(0.05), **settings).fit(separate(X, y)), regressor, atol=1e-10)
    X, y = problem("logistic")
    classifier = MultiTaskClassifier(L21(0.05)).fit(X, y, TASK)
    same(MultiTaskModel(L21(0.05), loss="logistic").fit(X, y, TASK), classifier)


def test_tasks_of_numbers_are_free_beside_tasks_of_classes():
    X, y = problem("squared")
    y = np.where(TASK == 1, y > 0, y)
    loss = dict(enumerate(["squared", "logistic", "squared"]))
    first = MultiTaskModel(L2(0.1), loss=loss, tol=1e-12).fit(X, y, TASK)
    residuals = np.bincount(TASK, y - first.predict(X, TASK))
    assert_allclose(residuals[[0, 2]], 0, atol=1e-9)
    strong = MultiTaskModel(L2(0.1), loss=loss, intercept_strength=1e3, tol=1e-12)
    same(first, strong.fit(X, y, TASK), atol=1e-9)
    forced = MultiTaskModel(L2(0.1), loss=loss, intercept="toward_mean", intercept_strength=1e3)
    differ(first, forced.fit(X, y, TASK))
