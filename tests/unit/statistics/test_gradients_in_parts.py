"""AcceleratedGradient on a table in parts: no pass sums up products of features."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.data import TableEncoder
from polytask.datafits import (
    ClassesBlock,
    Features,
    InParts,
    PassStack,
    PulledIntercepts,
    ScalarBlock,
    Stacked,
    StackedClasses,
    curved_sums,
    loss_sums,
)
from polytask.exceptions import ConvergenceWarning, DataError, IncompatibleError
from polytask.linear import in_parts as parts_module
from polytask.losses import Multinomial, Squared
from polytask.penalties import L21, Penalty, TraceNorm, toward_mean, weighted
from polytask.solvers import AcceleratedGradient, Status
from polytask.statistics import collect, fit_parts, task_statistics

N, D, T = 400, 4, 3


def _table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(5)
    scales = np.array([1.0, 30.0, 0.1, 1.0])
    table = pd.DataFrame(scales * (rng.normal(size=(N, D)) + 1), columns=list("abcd"))
    task = rng.integers(T, size=N)
    W = (np.array([1.0, -0.7, 0.3, 0.0])[:, None] + 0.3 * rng.normal(size=(D, T))).T / scales
    table["town"], table["weight"] = task, rng.uniform(0.5, 2.0, N)
    return table, np.einsum("ij,ij->i", table[list("abcd")].to_numpy(), W[task]) - task


TABLE, ETA = _table()
RNG = np.random.default_rng(7)
LOSSES: dict[str, tuple[Any, np.ndarray]] = {
    "squared": (MultiTaskRegressor(), ETA + RNG.normal(size=N)),
    "logistic": (MultiTaskClassifier(), RNG.random(N) < 1 / (1 + np.exp(-ETA))),
    "multinomial": (MultiTaskClassifier(), np.clip(np.round(ETA + RNG.logistic(size=N)), -1, 1)),
    "huber": (
        MultiTaskRegressor(loss="huber"),
        ETA + np.where(RNG.random(N) < 0.1, 15.0, 0.7) * RNG.normal(size=N),
    ),
    "poisson": (MultiTaskRegressor(loss="poisson"), RNG.poisson(np.exp(0.5 * ETA))),
    "gamma": (MultiTaskRegressor(loss="gamma"), RNG.gamma(2.0, np.exp(ETA) / 2) + 1e-9),
}
ENCODER = TableEncoder().fit(TABLE[list("abcd")])


def parts(table: pd.DataFrame) -> Callable[[], Iterator[pd.DataFrame]]:
    return lambda: (table[k : k + 150] for k in range(0, len(table), 150))


def by_gradients(model: Any, y: Any, **settings: Any) -> Any:
    model = clone(model).set_params(solver=AcceleratedGradient(), **settings)
    given = {"task_column": "town", "sample_weight": "weight", "encoder": ENCODER}
    return fit_parts(model, parts(TABLE.assign(y=y)), "y", **given)


def whole(model: Any, y: Any, **settings: Any) -> Any:
    model = clone(model).set_params(task_column="town", **settings)
    return model.fit(TABLE.drop(columns="weight"), y, sample_weight=TABLE["weight"])


def identified(model: Any) -> np.ndarray:
    """Return coefficients and intercepts, of several classes about a mean that no data tells."""
    owners = pd.Series([task for task, _ in model.columns_])
    found = pd.DataFrame(np.column_stack([model.coef_, model.intercept_]))
    means = found.groupby(owners.to_numpy()).transform("mean")
    return np.where(owners.duplicated(keep=False).to_numpy()[:, None], found - means, found)


def assert_same(found: Any, other: Any) -> None:
    assert found.solution_.status.ok
    assert found.solution_.certificate.relative <= found.tol
    np.testing.assert_allclose(identified(found), identified(other), rtol=1e-4, atol=1e-4)
    assert found.solution_.objective == pytest.approx(other.solution_.objective, rel=1e-8)


# Classes and two further losses take as long as all others together.
SLOW = ("multinomial", "poisson", "gamma")
SOME = [pytest.param(loss, marks=pytest.mark.slow if loss in SLOW else ()) for loss in LOSSES]
CLASSES = pytest.param("multinomial", marks=pytest.mark.slow)


@pytest.mark.parametrize("loss", SOME)
@pytest.mark.parametrize("penalty", [L21(fraction=0.1), toward_mean(0.1)], ids=["L21", "mean"])
def test_the_answer_is_that_of_all_rows(loss: str, penalty: Penalty) -> None:
    model, y = LOSSES[loss]
    settings = {"penalty": penalty, "tol": 1e-10, "standardize": True}
    found = by_gradients(model, y, **settings)
    assert_same(found, whole(model, y, **settings))
    assert found.n_passes_ > found.solution_.n_iter


@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
@pytest.mark.parametrize("loss", ["squared", CLASSES])
def test_intercepts(loss: str, intercept: str | None) -> None:
    model, y = LOSSES[loss]
    settings = {"penalty": L21(fraction=0.05), "tol": 1e-10, "intercept": intercept}
    settings["standardize"] = True
    assert_same(by_gradients(model, y, **settings), whole(model, y, **settings))


@pytest.mark.parametrize("loss", ["squared", "logistic", CLASSES])
def test_features_without_a_penalty_are_fitted_by_products_in_passes(loss: str) -> None:
    model, y = LOSSES[loss]
    penalty = weighted(L21(0.05), [0.0, 1.0, 1.0, 1.0])
    settings = {"penalty": penalty, "tol": 1e-9, "standardize": True}
    assert_same(by_gradients(model, y, **settings), whole(model, y, **settings))


@pytest.mark.parametrize("loss", ["squared", "multinomial"])
def test_targets_of_one_design_with_missing_labels(loss: str) -> None:
    Y = pd.DataFrame({"one": LOSSES[loss][1], "two": LOSSES[loss][1][::-1]})
    Y.loc[::7, "two"] = np.nan
    X = TABLE[list("abcd")]
    settings = {"penalty": TraceNorm(fraction=0.1), "tol": 1e-10, "standardize": True}
    model = clone(LOSSES[loss][0]).set_params(**settings)
    other = clone(model).fit(X, Y)
    table = pd.concat([X, Y], axis=1)
    model.set_params(solver=AcceleratedGradient())
    assert_same(fit_parts(model, parts(table), ["one", "two"], encoder=ENCODER), other)


def test_running_out_of_iterations_is_said_with_the_passes() -> None:
    model, y = LOSSES["logistic"]
    with pytest.warns(ConvergenceWarning, match=r"3 iterations .* read \d+ times") as seen:
        found = by_gradients(model, y, max_iter=3)
    assert f"read {found.n_passes_} times" in str(seen[0].message)
    assert found.solution_.status is Status.MAX_ITER
    assert not found.solution_.status.ok
    assert found.solution_.certificate.relative > found.tol


def test_a_penalty_without_one_prox_is_refused_before_anything_is_read() -> None:
    read: list[int] = []
    model = MultiTaskRegressor(L21(1.0) + TraceNorm(1.0), solver=AcceleratedGradient())
    with pytest.raises(IncompatibleError, match="no proximal operator of their sum is known"):
        fit_parts(model, lambda: read.append(1) or iter(()), "y", task_column="town")
    assert not read


def test_products_of_features_that_do_not_fit_name_the_solver(monkeypatch: Any) -> None:
    model, y = LOSSES["logistic"]
    monkeypatch.setattr(parts_module, "_MOST", T * D * D - 1)
    given = {"task_column": "town", "sample_weight": "weight", "encoder": ENCODER}
    with pytest.raises(DataError, match=r"use solver=AcceleratedGradient\(\)"):
        fit_parts(clone(model), parts(TABLE.assign(y=y)), "y", **given)
    assert by_gradients(model, y).solution_.status.ok
    monkeypatch.setattr(task_statistics, "_MOST", T * D * D - 1)
    with pytest.raises(DataError, match=r"solver=AcceleratedGradient\(\)"):
        collect(TABLE[list("abcd")], ETA, TABLE["town"])
    assert by_gradients(*LOSSES["squared"]).solution_.status.ok


@pytest.mark.parametrize("n_classes", [1, 3])
def test_no_pass_holds_products_of_features(n_classes: int) -> None:
    # Those of 300 tasks and 600 features would take 864 MB.
    rng, d, n = np.random.default_rng(0), 600, 600
    X, offsets = Features(rng.normal(size=(n, d))), np.arange(0, n + 1, 2, dtype=np.intp)
    table = np.arange(300 * n_classes, dtype=np.intp).reshape(300, n_classes)
    block: Any
    if n_classes == 1:
        y, loss = rng.normal(size=n), Squared()
        block = ScalarBlock(Stacked(X, offsets, table[:, 0]), loss, y, np.full(n, 0.5))
    else:
        y, loss = rng.integers(3, size=n).astype(float), Multinomial()
        block = ClassesBlock(StackedClasses(X, offsets, table), loss, y, np.full(n, 0.5))
    stack = PassStack(
        lambda W, b, plain: loss_sums([block], W, b, plain, products=False),
        d,
        np.zeros(table.size),
        np.full(table.size, loss.curvature_bound),
        lambda at, V, delta: curved_sums([block], at, V, delta),
    )
    groups = np.arange(table.size, dtype=np.intp) % n_classes
    datafit = InParts(stack, PulledIntercepts(groups, 1.0), (loss,) * 300)
    tracemalloc.start()
    found = AcceleratedGradient().solve(datafit, L21(0.5), max_iter=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.n_iter == 10
    assert peak < 8 * 300 * d**2 / 2
