"""Coefficients with bounds: other programs, the units of the data, certificates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import lsq_linear, nnls
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso

from polytask import (
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    load,
    save,
)
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    ElasticNet,
    FusedTasks,
    L1Inf,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    bounded,
    parse,
    positive,
    toward_mean,
    weighted,
)
from polytask.solvers import AcceleratedGradient, BlockDescent, Status
from polytask.testing import check_penalty

SOLVERS = [AcceleratedGradient(), BlockDescent()]
BOX = ([0, -0.5, -np.inf, -1, 0, -0.2], [np.inf, 1, 0.7, 0, 0, np.inf])
SIGNS = ([0, -np.inf, -np.inf, 0, 0, 0], [np.inf, 0, np.inf, np.inf, 0, np.inf])
WEIGHTS = [0.0, 2.0, np.inf, 1.0, 0.0, 0.3]
OF_ROWS = [L21(0.6), SparseGroup(0.6), L1Inf(0.6), TreeGroup(0.6, ((0, 1), (2, 3))), MCP(0.6)]
OF_ENTRIES = [L1(0.6), L2(0.6), L2(0.0), ElasticNet(0.6), ElasticNet(0.6, 0.0)]


def data(seed=0, n=80, d=10, tasks=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=(d, tasks)) + rng.normal(size=(n, tasks))


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty",
    [
        bounded(ElasticNet(0.6), *BOX),
        bounded(weighted(L1(0.6), WEIGHTS), *BOX),
        bounded(weighted(SparseGroup(0.6), WEIGHTS), *SIGNS),
        bounded(L2(0.0), *BOX),
    ],
    ids=repr,
)
def test_laws(penalty):
    check_penalty(penalty, features_alike=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("box", [BOX, SIGNS, (0, np.inf)], ids=["box", "signs", "positive"])
@pytest.mark.parametrize("penalty", [*OF_ROWS, *OF_ENTRIES], ids=repr)
def test_laws_of_all(penalty, box):
    if box is BOX and not isinstance(penalty, L1 | L2 | ElasticNet):
        pytest.skip("refused")
    check_penalty(bounded(penalty, *box), features_alike=False)


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces(namespace):
    xp = pytest.importorskip(namespace)
    check_penalty(bounded(ElasticNet(0.6), *BOX), features_alike=False, xp=xp)
    check_penalty(positive(L21(0.6)), xp=xp)


@pytest.mark.slow
def test_fractions_and_sums():
    check_penalty(positive(L1(0.1) + L21(0.2) + toward_mean(0.1)))
    check_penalty(positive(L21()))


def each(X, Y, fit):
    return np.stack([fit(X, y) for y in Y.T])


PEERS = {
    "least squares": (positive(L2(0)), lambda X, y: nnls(X, y)[0]),
    "box": (
        bounded(L2(0), lower=-0.3, upper=0.5),
        lambda X, y: lsq_linear(X, y, (-0.3, 0.5), tol=1e-14, method="bvls").x,
    ),
    "lasso": (
        positive(L1(0.1)),
        lambda X, y: (
            Lasso(0.1, positive=True, fit_intercept=False, tol=1e-15, max_iter=100000)
            .fit(X, y)
            .coef_
        ),
    ),
    "elastic net": (
        positive(ElasticNet(0.1, 0.4)),
        lambda X, y: (
            SklearnElasticNet(
                alpha=0.1,
                l1_ratio=0.4,
                positive=True,
                fit_intercept=False,
                tol=1e-15,
                max_iter=100000,
            )
            .fit(X, y)
            .coef_
        ),
    ),
}


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("name", PEERS)
def test_other_programs_agree(name, solver):
    X, Y = data()
    penalty, peer = PEERS[name]
    model = MultiTaskRegressor(penalty, intercept=None, solver=solver, tol=1e-14).fit(X, Y)
    wanted = each(X, Y, peer)
    np.testing.assert_allclose(model.coef_, wanted, atol=1e-8)
    if name != "least squares":
        assert model.solution_.gap is not None


def test_positive_rows_meet_the_conditions_of_an_optimum():
    X, Y = data(1, n=40, d=4)
    model = MultiTaskRegressor(positive(L21(0.3)), intercept=None, tol=1e-13).fit(X, Y)
    W = model.coef_.T
    gradient = X.T @ (X @ W - Y) / len(X)
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    assert (W >= 0).all()
    used = norms[:, 0] > 0
    slope = gradient[used] + 0.3 * W[used] / norms[used]
    np.testing.assert_allclose(slope[W[used] > 0], 0.0, atol=1e-6)
    assert (slope[W[used] == 0] >= -1e-9).all()
    left = np.linalg.norm(np.maximum(-gradient[~used], 0.0), axis=1)
    assert (left <= 0.3 + 1e-9).all()
    assert model.solution_.gap <= 1e-13 * model.solution_.certificate.reference


def test_bounds_are_in_the_units_of_the_data():
    X, Y = data(2)
    scales = np.geomspace(0.01, 100.0, X.shape[1])
    lower, upper = -0.2 / scales, 0.3 / scales
    for solver in SOLVERS:
        plain = MultiTaskRegressor(bounded(L2(0), -0.2, 0.3), solver=solver, tol=1e-12)
        wanted = plain.fit(X, Y).coef_
        found = MultiTaskRegressor(
            bounded(L2(0), lower, upper / 1000),
            solver=solver,
            tol=1e-12,
            standardize=True,
            scale_targets="task",
        ).fit(X * scales, Y)
        assert (found.coef_ >= lower * (1 + 1e-12)).all()
        assert (found.coef_ <= upper / 1000 * (1 + 1e-12)).all()
        found = MultiTaskRegressor(
            bounded(L2(0), lower, upper), solver=solver, tol=1e-12, standardize=True
        ).fit(X * scales, Y)
        np.testing.assert_allclose(found.coef_ * scales, wanted, atol=1e-6)


def test_names_search_classes_and_saving(tmp_path):
    X, Y = data(3)
    table = pd.DataFrame(X, columns=list("abcdefghij"))
    penalty = bounded(L1(), lower={"a": 0, "b": -0.1}, upper={"b": 0.1, "c": 0})
    model = MultiTaskRegressorCV(penalty, alphas=4, cv=3).fit(table, Y)
    coef = pd.DataFrame(model.coef_, columns=table.columns)
    assert (coef["a"] >= 0).all()
    assert (coef["c"] <= 0).all()
    assert coef["b"].abs().max() <= 0.1 + 1e-12
    assert (coef.drop(columns=list("abc")) < 0).to_numpy().any()
    save(model, tmp_path / "m.polytask")
    assert load(tmp_path / "m.polytask").best_penalty_ == model.best_penalty_
    classes = MultiTaskClassifier(positive(L21(fraction=0.1)), tol=1e-8)
    classes.fit(X, (Y > 0).astype(int))
    assert (classes.coef_ >= 0).all()
    assert classes.coef_.any()
    assert classes.solution_.status is Status.CONVERGED
    model.set_params(penalty__lower=0.0)
    assert model.penalty.get_params()["lower"] == 0.0


def test_a_start_that_is_not_allowed_is_not_used():
    X, Y = data()
    model = MultiTaskRegressor(L21(0.1), warm_start=True, tol=1e-10).fit(X, Y)
    assert (model.coef_ < 0).any()
    for solver in SOLVERS:
        model.set_params(penalty=positive(L21(0.1)), solver=solver).fit(X, Y)
        assert (model.coef_ >= 0).all()
        assert model.solution_.status is Status.CONVERGED
        model.set_params(penalty=L21(0.1)).fit(X, Y)


def test_the_null_strength_counts_only_what_may_grow():
    X, Y = data(4)
    Y = -np.abs(Y)
    loose = MultiTaskRegressor(positive(L1(fraction=1.0)), tol=1e-10).fit(X, Y)
    assert loose.solution_.status is Status.ALL_ZERO
    limit = loose.solution_.null_strength
    gradient = -X.T @ (Y - Y.mean(axis=0)) / len(X) + np.outer(X.mean(axis=0), np.zeros(3))
    assert limit == pytest.approx(np.maximum(-gradient, 0.0).max())
    below = MultiTaskRegressor(positive(L1(0.99 * limit)), tol=1e-10).fit(X, Y)
    assert below.coef_.any()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: bounded(L1(), lower=1), ParameterError, "<= 0"),
        (lambda: bounded(L1(), upper={"a": -1}), ParameterError, ">= 0"),
        (lambda: bounded(L1(), lower="a"), ParameterError, "lower of bounded"),
        (lambda: bounded(L1(), lower=np.nan), ParameterError, "lower of bounded"),
        (lambda: bounded(L21(), lower=-1), IncompatibleError, "other than 0"),
        (lambda: positive(TraceNorm()), IncompatibleError, "not known exactly"),
        (lambda: positive(FusedTasks()), IncompatibleError, "not known exactly"),
        (lambda: positive(positive(L1())), IncompatibleError, "already"),
        (lambda: positive(TraceNorm(1.0) + L2()), IncompatibleError, "not known exactly"),
        (lambda: bounded(L1(0.1), lower={"a": 0}).value(np.ones((2, 2))), ParameterError, "bind"),
        (lambda: bounded(L1(0.1), lower=[0, 0, 0]).value(np.ones((2, 2))), ParameterError, "one"),
        (lambda: parse("bounded(L21, lower=-1)"), IncompatibleError, "other than 0"),
    ],
)
def test_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_transfer_is_refused_in_words():
    X, Y = data()
    source = MultiTaskRegressor(L2(0.1)).fit(X, Y)
    with pytest.raises(IncompatibleError, match="bounds coefficients"):
        MultiTaskRegressor(positive(L1(0.1)), transfer_from=source).fit(X, Y)


def test_a_bound_survives_a_strength_of_zero():
    X, Y = data()
    model = MultiTaskRegressor(positive(toward_mean(0.1)), tol=1e-8).fit(X, Y)
    assert (model.coef_ >= 0).all()
    with pytest.raises(IncompatibleError, match="cannot be combined"):
        MultiTaskRegressor(positive(L2(0)) + L21(0.1), solver=AcceleratedGradient()).fit(X, Y)


def test_tables_of_bounds_are_refused():
    for shape in ((4, 1), (4, 3)):
        with pytest.raises(ParameterError, match=r"upper of bounded .*shape \(4, "):
            bounded(L1(0.1), upper=np.ones(shape))
