"""Penalties that are not convex, in stages: monotone, stationary, less biased."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from polytask import (
    ConvergenceWarning,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    load,
    save,
)
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    SCAD,
    CappedL21,
    TraceNorm,
    positive,
    reweighted,
    toward_mean,
    weighted,
)
from polytask.penalties.base import FeatureSpace
from polytask.solvers import (
    AcceleratedGradient,
    BlockDescent,
    Newton,
    Reweighted,
    SeparateDescent,
    Status,
)

KEPT = 8


def planted(seed=0, n=100, d=200, tasks=5):
    """Few features with strong effects of any sign in all tasks."""
    rng = np.random.default_rng(seed)
    W = np.zeros((d, tasks))
    signs = rng.choice([-1.0, 1.0], size=(KEPT, tasks))
    W[:KEPT] = signs * rng.uniform(1.0, 2.0, size=(KEPT, tasks))
    X = rng.normal(size=(n, d))
    return X, X @ W + rng.normal(size=(n, tasks)), W


LESS_BIASED = {
    "MCP": MCP(fraction=0.15),
    "SCAD": SCAD(fraction=0.15),
    "capped": CappedL21(fraction=0.15, theta=0.5),
    "reweighted": reweighted(L21(fraction=0.15)),
    "with a ridge": MCP(fraction=0.15) + L2(0.001),
}


@pytest.mark.parametrize("seed", range(3))
def test_less_bias_than_the_convex_penalty_on_planted_data(seed):
    X, Y, W = planted(seed)
    convex = MultiTaskRegressor(L21(fraction=0.15)).fit(X, Y).coef_.T
    error = np.linalg.norm(convex - W)
    assert set(np.flatnonzero(convex.any(axis=1))) >= set(range(KEPT))
    for name, penalty in LESS_BIASED.items():
        model = MultiTaskRegressor(penalty).fit(X, Y)
        found = model.coef_.T
        np.testing.assert_array_equal(np.flatnonzero(found.any(axis=1)), np.arange(KEPT), name)
        assert np.linalg.norm(found - W) < 0.5 * error, name
        # On its support the fit is all but that of least squares.
        centred = X[:, :KEPT] - X[:, :KEPT].mean(axis=0)
        least = np.linalg.lstsq(centred, Y - Y.mean(axis=0), rcond=None)[0]
        assert np.linalg.norm(found[:KEPT] - least) < 0.1 * np.linalg.norm(least), name


@pytest.mark.parametrize("inner", [None, BlockDescent()], ids=repr)
@pytest.mark.parametrize(
    "penalty",
    [
        MCP(0.2),
        SCAD(0.2),
        CappedL21(0.2, 0.5),
        CappedL21(0.1, 0.8, "l1"),
        reweighted(L21(0.2), 0.3),
        reweighted(L1(0.1), 0.3),
        MCP(0.2) + L2(0.05),
        weighted(MCP(0.2), {0: 0, 3: np.inf}),
        positive(SCAD(0.2)),
    ],
    ids=repr,
)
def test_no_stage_raises_the_objective(penalty, inner):
    X, Y, _ = planted(3, n=60, d=30, tasks=3)
    values: list[float] = []
    for stages in range(1, 7):
        model = MultiTaskRegressor(penalty, solver=Reweighted(inner, stages), tol=1e-7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, Y)
        values.append(model.solution_.objective)
    # Up to the certificate of a stage.
    assert (np.diff(values) <= 1e-7 * model.solution_.certificate.reference).all()
    assert values[-1] < values[0]
    squares = 0.5 * np.sum((Y - model.predict(X)) ** 2) / len(X)
    space = FeatureSpace(30, None, np.ones((30, 3)))
    value = penalty.bind_features(space).value(model.coef_.T)
    assert values[-1] == pytest.approx(squares + value)


def test_the_answer_solves_the_stage_that_it_defines():
    X, Y, _ = planted(1, n=60, d=40, tasks=3)
    for penalty in (MCP(0.2), SCAD(0.2), reweighted(L21(0.2)), CappedL21(0.2, 0.4)):
        model = MultiTaskRegressor(penalty, tol=1e-9).fit(X, Y)
        stage = penalty.majorised(model.coef_.T)
        convex = MultiTaskRegressor(stage, tol=1e-12).fit(X, Y)
        np.testing.assert_allclose(model.coef_, convex.coef_, atol=1e-4)
        assert model.solution_.residual <= 1e-9
        assert model.solution_.gap is None


def test_the_first_stage_is_the_convex_problem():
    X, Y, _ = planted(2, n=40, d=30, tasks=3)
    with pytest.warns(ConvergenceWarning, match="last stage"):
        one = MultiTaskRegressor(MCP(0.2), solver=Reweighted(stages=1), tol=1e-9).fit(X, Y)
    convex = MultiTaskRegressor(L21(0.2), tol=1e-9).fit(X, Y)
    np.testing.assert_allclose(one.coef_, convex.coef_, atol=1e-10)
    assert one.solution_.status is Status.LAST_STAGE


def test_what_the_solution_says():
    X, Y, _ = planted(0, n=50, d=20, tasks=3)
    solution = MultiTaskRegressor(MCP(fraction=0.2)).fit(X, Y).solution_
    assert solution.status is Status.STATIONARY
    assert solution.status.ok
    assert "stationary point of a non-convex objective" in solution.message
    assert f"Stages: {solution.stages}; relative residual" in solution.message
    assert "optim" not in solution.message
    assert solution.stages >= 2
    empty = MultiTaskRegressor(SCAD(fraction=1.0)).fit(X, Y)
    assert not empty.coef_.any()
    assert empty.solution_.status is Status.ALL_ZERO
    assert MultiTaskRegressor(SCAD(fraction=0.98)).fit(X, Y).coef_.any()


def test_the_start_does_not_decide():
    X, Y, _ = planted(4, n=80, d=40, tasks=3)
    model = MultiTaskRegressor(MCP(fraction=0.1), warm_start=True, tol=1e-8)
    first = model.fit(X, Y).coef_.copy()
    model.set_params(penalty=MCP(fraction=0.5)).fit(X, Y)
    again = model.set_params(penalty=MCP(fraction=0.1)).fit(X, Y)
    np.testing.assert_allclose(again.coef_, first, atol=1e-4)


def test_long_data_classes_search_and_saving(tmp_path):
    X, Y, _ = planted(5, n=60, d=10, tasks=2)
    task = np.repeat(["a", "b"], 30)
    long = MultiTaskRegressor(SCAD(fraction=0.3)).fit(X, Y[:, 0], task=task)
    assert long.solution_.status is Status.STATIONARY
    classes = MultiTaskClassifier(MCP(fraction=0.3) + L2(0.01)).fit(X, (Y > 0).astype(int))
    assert classes.solution_.status is Status.STATIONARY
    searched = MultiTaskRegressorCV([MCP(), L21()], alphas=4, cv=3).fit(X, Y)
    assert len(searched.alphas_) == 4
    save(long, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert again.penalty == long.penalty
    assert again.solution_.stages == long.solution_.stages
    assert again.solution_.message == long.solution_.message


def test_transfer_pulls_to_the_source():
    X, Y, _ = planted(6, n=40, d=12, tasks=2)
    source = MultiTaskRegressor(L2(0.1)).fit(X, Y)
    moved = Y + 3.0 * X[:, :1]
    far = MultiTaskRegressor(MCP(fraction=1.0), transfer_from=source).fit(X, moved)
    np.testing.assert_allclose(far.coef_, source.coef_, atol=1e-9)
    near = MultiTaskRegressor(MCP(fraction=0.5), transfer_from=source).fit(X, moved)
    changed = np.abs(near.coef_ - source.coef_).max(axis=0) > 1e-8
    assert changed[0]
    assert not changed.all()
    assert near.solution_.status is Status.STATIONARY


def test_refusals():
    X, Y, _ = planted(7, n=20, d=10, tasks=2)
    with pytest.raises(IncompatibleError, match="is convex"):
        MultiTaskRegressor(L21(0.1), solver=Reweighted()).fit(X, Y)
    for solver in (AcceleratedGradient(), BlockDescent(), SeparateDescent(), Newton()):
        with pytest.raises(IncompatibleError, match="not convex"):
            MultiTaskRegressor(MCP(0.1), solver=solver).fit(X, Y)
    model = MultiTaskRegressor(MCP(0.1) + TraceNorm(0.1), solver=Reweighted(AcceleratedGradient()))
    with pytest.raises(IncompatibleError, match="cannot be combined"):
        model.fit(X, Y)
    with pytest.raises(IncompatibleError, match="quadratic"):
        MultiTaskRegressor(MCP(0.1), solver=Reweighted(Newton())).fit(X, Y)


def test_smooth_terms_may_join():
    X, Y, _ = planted(8, n=40, d=12, tasks=3)
    model = MultiTaskRegressor(MCP(fraction=0.3) + toward_mean(0.1), tol=1e-8).fit(X, Y)
    assert model.solution_.status is Status.STATIONARY
