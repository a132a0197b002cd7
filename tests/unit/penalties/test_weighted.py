"""A weight for every feature: unpenalised, excluded, names, certificates."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from polytask import (
    ConvergenceWarning,
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
    GroupNorm,
    L1Inf,
    SparseGroup,
    bounded,
    toward_mean,
    weighted,
)
from polytask.penalties.base import FeatureSpace
from polytask.solvers import AcceleratedGradient, BlockDescent, Status
from polytask.testing import check_penalty

PLAIN = [1.0, 2.0, 0.5, 3.0, 1.0, 1.0]
EXTREME = [0.0, 2.0, np.inf, 1.0, 0.0, 0.3]
NORMS = [L1(0.6), L21(0.6), SparseGroup(0.6, 0.3), L1Inf(0.6), FusedTasks(0.6, 0.2)]
SOLVERS = [AcceleratedGradient(), BlockDescent()]


def data(seed=0, n=60, d=6, tasks=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 0.5
    return X, X @ rng.normal(size=(d, tasks)) + rng.normal(size=(n, tasks))


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [SparseGroup(0.6), ElasticNet(0.6), MCP(0.6)], ids=repr)
def test_laws(penalty):
    check_penalty(weighted(penalty, EXTREME), features_alike=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("weights", [PLAIN, EXTREME], ids=["plain", "extreme"])
@pytest.mark.parametrize("penalty", [*NORMS, ElasticNet(0.6), MCP(0.6), L1(0.3) + L21(0.3)])
def test_laws_of_all(penalty, weights):
    check_penalty(weighted(penalty, weights), features_alike=False)


def test_laws_of_a_weighted_ridge():
    check_penalty(weighted(L2(0.6), [0.0, 2.0, 0.3, 1.0, 0.0, 0.3]), features_alike=False)


def test_laws_of_fractions():
    check_penalty(weighted(L21(), PLAIN) + toward_mean(0.3), features_alike=False)


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces(namespace):
    xp = pytest.importorskip(namespace)
    check_penalty(weighted(L21(0.6), EXTREME), features_alike=False, xp=xp)


def test_equal_weights_are_a_strength():
    W = np.random.default_rng(0).normal(size=(6, 4))
    for penalty in NORMS:
        bound, twice = weighted(penalty, np.full(6, 2.0)), penalty.scaled(2.0)
        if not isinstance(penalty, FusedTasks):
            assert bound.value(W) == pytest.approx(twice.value(W))
            np.testing.assert_allclose(bound.prox(W, 0.4), twice.prox(W, 0.4))


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_weights_are_those_of_rescaled_features(solver):
    # With W_j = U_j / weight_j a weighted norm is a norm of the features over their weights.
    X, Y = data()
    weights = np.array(PLAIN)
    found = MultiTaskRegressor(weighted(L21(0.3), weights), solver=solver, tol=1e-12).fit(X, Y)
    plain = MultiTaskRegressor(L21(0.3), tol=1e-12).fit(X / weights, Y)
    np.testing.assert_allclose(found.coef_, plain.coef_ / weights, atol=1e-7)
    assert found.solution_.gap is not None
    assert found.solution_.objective == pytest.approx(plain.solution_.objective, rel=1e-10)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_unpenalised_features_are_regressed_out(solver):
    # Frisch, Waugh and Lovell: free features are projected out of the others and of the targets.
    X, Y = data()
    model = MultiTaskRegressor(
        weighted(L21(0.3), {0: 0, 4: 0}), solver=solver, intercept=None, tol=1e-12
    ).fit(X, Y)
    Z, rest = X[:, [0, 4]], X[:, [1, 2, 3, 5]]
    out = np.eye(len(X)) - Z @ np.linalg.pinv(Z)
    plain = MultiTaskRegressor(L21(0.3), intercept=None, tol=1e-12).fit(out @ rest, out @ Y)
    np.testing.assert_allclose(model.coef_[:, [1, 2, 3, 5]], plain.coef_, atol=1e-7)
    free = np.linalg.lstsq(Z, Y - rest @ plain.coef_.T, rcond=None)[0].T
    np.testing.assert_allclose(model.coef_[:, [0, 4]], free, atol=1e-7)
    # A duality gap, relative to the model that has these features only.
    assert model.solution_.status is Status.CONVERGED
    assert model.solution_.gap <= 1e-12 * model.solution_.certificate.reference
    left = 0.5 * np.sum((out @ Y) ** 2) / len(X)
    assert model.solution_.certificate.reference == pytest.approx(left)


@pytest.mark.parametrize("rest", [None, L2(0.1), toward_mean(0.2)], ids=repr)
@pytest.mark.parametrize("targets", ["numbers", "classes"])
def test_the_null_strength_is_that_of_the_model_with_free_features_fitted(rest, targets):
    X, Y = data(3, n=80)
    numbers = targets == "numbers"
    kind = MultiTaskRegressor if numbers else MultiTaskClassifier
    given = Y if numbers else (Y.mean(axis=0) < Y).astype(int)

    def fitted(fraction):
        penalty = weighted(L21(fraction=fraction), {1: 0, 3: 2.0})
        whole = penalty if rest is None else penalty + rest
        return kind(whole, tol=1e-9).fit(X, given)

    above, below = fitted(1.0), fitted(0.98)
    held = [0, 2, 3, 4, 5]
    assert above.coef_[:, 1].all()
    assert not above.coef_[:, held].any()
    assert above.solution_.status is Status.PENALISED_ZERO
    assert below.coef_[:, held].any()


def test_gaps_of_stopped_answers_bound_what_is_left():
    X, Y = data(1, n=40, d=30)
    penalty = weighted(L21(fraction=0.05), {0: 0, 7: 0, 9: np.inf})
    best = MultiTaskRegressor(penalty, tol=1e-12).fit(X, Y).solution_
    for solver in SOLVERS:
        for steps in (1, 10, 20):
            stopped = MultiTaskRegressor(penalty, solver=solver, tol=1e-14, max_iter=steps)
            with pytest.warns(ConvergenceWarning, match="stopped"):
                stopped.fit(X, Y)
            found = stopped.solution_
            assert found.objective - best.objective <= found.gap + 1e-13
            assert np.isfinite(found.gap)


def test_excluded_features_are_as_if_they_were_not_there():
    X, Y = data()
    for solver in SOLVERS:
        model = MultiTaskRegressor(weighted(L21(0.2), {2: np.inf}), solver=solver, tol=1e-10)
        model.fit(X, Y)
        other = MultiTaskRegressor(L21(0.2), tol=1e-10).fit(np.delete(X, 2, axis=1), Y)
        assert not model.coef_[:, 2].any()
        np.testing.assert_allclose(np.delete(model.coef_, 2, axis=1), other.coef_, atol=1e-6)


def test_names_stand_for_columns_and_for_what_is_encoded_from_them():
    X, Y = data(n=80)
    table = pd.DataFrame(X, columns=list("abcdef"))
    table["colour"] = np.where(X[:, 0] > 0.5, "red", "blue")
    model = MultiTaskRegressor(weighted(L21(fraction=1.0), {"colour": 0, "a": np.inf}))
    coef = pd.DataFrame(model.fit(table, Y).coef_, columns=model.coef_feature_names_)
    assert coef[["colour=blue", "colour=red"]].to_numpy().any()
    assert not coef[list("abcdef")].to_numpy().any()
    with pytest.raises(ParameterError, match="colour"):
        MultiTaskRegressor(weighted(L21(), {"color": 0})).fit(table, Y)
    one = MultiTaskRegressor(weighted(L21(fraction=1.0), {"colour=red": 0})).fit(table, Y)
    assert np.count_nonzero(one.coef_.any(axis=0)) == 1


def test_standardised_features_and_a_search():
    X, Y = data(2, n=90)
    X[:, 0] *= 1000.0
    table = pd.DataFrame(X, columns=list("abcdef"))
    model = MultiTaskRegressorCV(weighted(L21(), {"a": 0, "b": np.inf}), alphas=5, cv=3)
    model.fit(table, Y)
    assert model.coef_[:, 0].all()
    assert not model.coef_[:, 1].any()
    first = model.candidates_[0][0]
    assert first.get_params()["feature_weights"] == {"a": 0.0, "b": np.inf}


def test_parameters_and_saving(tmp_path):
    X, Y = data()
    model = MultiTaskRegressor(weighted(L21(0.2), {"x": 0}) + L2(0.1))
    model.set_params(penalty__p0__alpha=0.3, penalty__p0__feature_weights={0: 0, 2: np.inf})
    assert model.penalty == weighted(L21(0.3), {0: 0, 2: np.inf}) + L2(0.1)
    model.fit(X, Y)
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert again.penalty == model.penalty
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    listed = MultiTaskRegressor(weighted(L21(0.2), EXTREME)).fit(X, Y)
    save(listed, tmp_path / "n.polytask")
    assert load(tmp_path / "n.polytask").penalty == listed.penalty


def test_transfer_pulls_to_the_source_and_leaves_free_features_alone():
    X, Y = data(n=30)
    source = MultiTaskRegressor(L2(0.01)).fit(X, Y)
    penalty = weighted(L21(fraction=1.0), {0: 0})
    model = MultiTaskRegressor(penalty, transfer_from=source).fit(X, Y + 2 * X[:, :1])
    moved = np.abs(model.coef_ - source.coef_).max(axis=0)
    assert moved[0] > 1.0
    np.testing.assert_allclose(moved[1:], 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: weighted(L21(), [1.0, -1.0]), ParameterError, ">= 0"),
        (lambda: weighted(L21(), [[1.0]]), ParameterError, "every feature"),
        (lambda: weighted(L21(), {"a": np.nan}), ParameterError, ">= 0"),
        (lambda: weighted(L21(), "a"), ParameterError, "every feature"),
        (lambda: weighted(toward_mean(), PLAIN), IncompatibleError, "not a sum over features"),
        (lambda: weighted(GroupNorm(0.2, ((0, 1),)), [1, 1]), IncompatibleError, "not a sum"),
        (lambda: weighted(L2(), [1, np.inf]), IncompatibleError, "drop their columns"),
        (lambda: weighted(bounded(L1(), lower=0), PLAIN), IncompatibleError, "bounded\\(weighted"),
        (lambda: weighted(weighted(L1(), {0: 1}), {0: 2}), ParameterError, "given once"),
        (lambda: weighted(L1(0.1), {"a": 0}).value(np.ones((2, 2))), ParameterError, "bind_feat"),
        (lambda: weighted(L1(0.1), PLAIN).value(np.ones((2, 2))), ParameterError, "one for each"),
        (
            lambda: weighted(L1(), {3: 0}).bind_features(FeatureSpace(3, None, np.ones((3, 1)))),
            ParameterError,
            "0 to 2; X has no names",
        ),
    ],
)
def test_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_sums_and_products_of_weights():
    both = weighted(weighted(L1(0.2), [1.0, 0.0, np.inf]), [2.0, 3.0, 0.0])
    np.testing.assert_array_equal(both.weights, [2.0, 0.0, np.inf])
    spread = weighted(L1(0.2) + L2(0.1), [1.0, np.inf])
    assert spread == weighted(L1(0.2), [1.0, np.inf]) + weighted(L2(0.1), [1.0, 0.0])


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize(("place", "size"), [(0, 1e-5), (1, 2e5)])
def test_free_features_are_fitted_whatever_the_sizes_of_features(loss, place, size):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = 3 * X[:, 0] + 0.3 * X[:, 1] + 0.1 * rng.standard_normal(200)
    X[:, place] *= size
    strong = weighted(L1(1e3 * max(size, 1.0)), {0: 0})
    model = MultiTaskRegressor(strong, loss=loss).fit(X, y)
    effect = model.coef_[0] * np.array([size if j == place else 1.0 for j in range(4)])
    assert effect[0] == pytest.approx(3.0, abs=0.1)
    assert not effect[1:].any()


@pytest.mark.slow
@pytest.mark.parametrize("apart", [1e-3, 1e-5, 1e-7, 1e-9])
def test_nearly_equal_free_features_are_never_certified_wrongly(apart):
    rng = np.random.default_rng(0)
    X, z = rng.standard_normal((200, 4)), rng.standard_normal(200)
    X[:, 1] = X[:, 0] + apart * z
    y = 2 * z + X[:, 2] + 0.1 * rng.standard_normal(200)
    same = X.copy()
    same[:, 1] = z  # of the same span
    free = weighted(L1(0.05), {0: 0, 1: 0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = MultiTaskRegressor(free).fit(X, y).solution_
    best = MultiTaskRegressor(free, tol=1e-9).fit(same, y).solution_
    assert found.objective - best.objective <= found.gap + 1e-9
