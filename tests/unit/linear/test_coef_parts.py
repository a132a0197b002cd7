"""The parts that a fit gives: their units, their sum, the tasks that stand apart."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from polytask import (
    MultiTaskClassifier,
    MultiTaskClassifierCV,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    load,
    save,
)
from polytask.penalties import (
    L2,
    L21,
    L1Inf,
    Parts,
    TraceNorm,
    dirty,
    robust,
    robust_features,
    sparse_low_rank,
)

RNG = np.random.default_rng(7)
N, D, T = 60, 8, 6
TASKS = np.array(list("abcdef"))
X = RNG.normal(size=(N, D)) * np.geomspace(0.5, 3.0, D) + 1.0
TRUE = np.outer(RNG.normal(size=D), 1 + RNG.random(T))
TRUE[:, 4] = 3 * RNG.normal(size=D)
Y = X @ TRUE + 0.3 * RNG.normal(size=(N, T))
SEPARATE = {task: (X, Y[:, i]) for i, task in enumerate(TASKS)}
FAMILIES = [
    dirty(),
    dirty(shared=L1Inf),
    robust(),
    robust_features(),
    sparse_low_rank(),
    sparse_low_rank(radius=3.0),
    Parts([L21(fraction=0.1), L2(0.5)]),
    robust() + L2(0.1),
]


def long(Y=Y):
    return np.tile(X, (T, 1)), Y.T.ravel(), np.repeat(TASKS, N)


def check_parts(model):
    assert len(model.coef_parts_) == 2
    np.testing.assert_array_equal(sum(model.coef_parts_), model.coef_)
    assert all(part.shape == model.coef_.shape for part in model.coef_parts_)
    assert all(part.dtype == model.coef_.dtype for part in model.coef_parts_)


@pytest.mark.parametrize("penalty", FAMILIES, ids=repr)
def test_every_form_gives_the_same_parts(penalty):
    settings = {"task_weight": "equal", "intercept": "task", "tol": 1e-12}
    models = [
        MultiTaskRegressor(penalty, **settings).fit(X, Y),
        MultiTaskRegressor(penalty, **settings).fit(*long()),
        MultiTaskRegressor(penalty, **settings).fit(sp.csr_array(long()[0]), *long()[1:]),
        MultiTaskRegressor(penalty, **settings).fit(
            {t: (X, Y[:, i]) for i, t in enumerate(TASKS)}
        ),
    ]
    for model in models:
        check_parts(model)
        for part, wanted in zip(model.coef_parts_, models[0].coef_parts_, strict=True):
            np.testing.assert_allclose(part, wanted, atol=1e-4)
        np.testing.assert_allclose(model.coef_, models[0].coef_, atol=2e-6)


def test_parts_are_in_the_units_of_the_coefficients():
    scaled = MultiTaskRegressor(robust(), standardize=True, scale_targets="common", tol=1e-10)
    scaled.fit(X, 1000 * Y)
    check_parts(scaled)
    by_hand = (X - X.mean(axis=0)) / X.std(axis=0)
    plain = MultiTaskRegressor(robust(), tol=1e-10).fit(by_hand, Y / Y.std())
    for part, other in zip(scaled.coef_parts_, plain.coef_parts_, strict=True):
        np.testing.assert_allclose(
            part / np.abs(part).max(),
            (other / X.std(axis=0)) / np.abs(other / X.std(axis=0)).max(),
            atol=1e-3,
        )


def test_outlier_tasks_are_named():
    X_long, y, task = long()
    for penalty in (robust(3.0, 2.0), robust_features(2.0, 2.5) + L2(0.01)):
        model = MultiTaskRegressor(penalty, task_weight="equal").fit(X_long, y, task)
        assert model.outlier_tasks_.tolist() == ["e"]
    model.set_params(penalty=L21(0.1)).fit(X_long, y, task)
    assert not hasattr(model, "outlier_tasks_")
    assert not hasattr(model, "coef_parts_")
    assert not hasattr(MultiTaskRegressor(dirty()).fit(X_long, y, task), "outlier_tasks_")


def test_no_outlier_is_an_empty_array():
    model = MultiTaskRegressor(robust(0.5, 1e4)).fit(X, Y)
    assert model.outlier_tasks_.shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [dirty(), robust(), sparse_low_rank(radius=3.0)], ids=repr)
def test_searches_give_the_parts_of_the_choice(penalty):
    only = MultiTaskRegressorCV(penalty, alphas=4, cv=2).fit(X, Y)
    check_parts(only)
    assert only.best_penalty_.strength == pytest.approx(only.alpha_)
    assert hasattr(only, "outlier_tasks_") == (penalty == robust())


def test_classes_of_a_task_stand_apart_together():
    X_long, y, task = long()
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    model = MultiTaskClassifier(robust_features(fraction=0.3), standardize=True)
    model.fit(X_long, labels, task)
    check_parts(model)
    owners = np.array([name for name, _ in model.columns_])
    apart = {t for t in TASKS if np.abs(model.coef_parts_[1][owners == t]).max() > 0}
    assert set(model.outlier_tasks_.tolist()) == apart
    found = MultiTaskClassifierCV(dirty(), alphas=2, cv=2, intercept_strength=1.0)
    found.fit(X_long, labels > 0, task)
    check_parts(found)


def test_mixed_losses_missing_labels_and_counts():
    gaps = Y.copy()
    gaps[RNG.random(Y.shape) < 0.2] = np.nan
    check_parts(MultiTaskRegressor(robust()).fit(X, gaps))
    mixed = np.column_stack([Y[:, 0] > 0, Y[:, 1], Y[:, 2]])
    losses = {0: "logistic", 1: "squared", 2: "huber"}
    check_parts(MultiTaskModel(sparse_low_rank(), loss=losses, standardize=True).fit(X, mixed))
    counts = np.floor(np.exp(np.clip(0.2 * Y, -5, 3)))
    check_parts(MultiTaskRegressor(dirty(), loss="poisson", standardize=True).fit(X, counts))


def test_precision_is_that_of_the_features():
    model = MultiTaskRegressor(robust()).fit(X.astype(np.float32), Y)
    assert model.coef_.dtype == np.float32
    check_parts(model)


def test_warm_starts_begin_with_the_parts():
    model = MultiTaskRegressor(robust(fraction=0.1), warm_start=True).fit(X, Y)
    model.fit(X, Y)
    assert model.solution_.n_iter == 0


@pytest.mark.parametrize("penalty", [robust(0.5, 0.6), dirty(0.5, 0.4)], ids=repr)
def test_the_first_part_contains_what_is_transferred(penalty):
    X_long, y, task = long()
    source = MultiTaskRegressor(L2(0.1)).fit(X_long, y, task)
    held = MultiTaskRegressor(100 * penalty, transfer_from=source, tol=1e-9)
    held.fit(X_long, y, task)
    np.testing.assert_allclose(held.coef_, source.coef_, atol=1e-6)
    np.testing.assert_allclose(held.coef_parts_[0], source.coef_, atol=1e-6)
    assert not held.coef_parts_[1].any()
    check_parts(MultiTaskRegressor(penalty, transfer_from=source).fit(X_long, y, task))


@pytest.mark.parametrize("penalty", FAMILIES, ids=repr)
def test_saved_models_keep_their_parts(penalty, tmp_path):
    model = MultiTaskRegressor(penalty).fit(*long())
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert again.penalty == penalty
    check_parts(again)
    np.testing.assert_array_equal(again.coef_parts_[1], model.coef_parts_[1])
    if hasattr(model, "outlier_tasks_"):
        np.testing.assert_array_equal(again.outlier_tasks_, model.outlier_tasks_)


def test_nested_parameters_can_be_set():
    model = MultiTaskRegressor(robust(0.5, 0.6)).set_params(penalty__p1__alpha=0.9)
    assert model.penalty == robust(0.5, 0.9)
    assert MultiTaskRegressor(Parts([TraceNorm(0.3)])).fit(X, Y).coef_parts_[0].shape == (T, D)
