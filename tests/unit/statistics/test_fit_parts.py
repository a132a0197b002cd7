"""A model fitted to a table in parts is the model of all its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from unit.pairs import in_turn

import polytask as pt
from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor
from polytask.data import TableEncoder
from polytask.data.file_parts import file_parts
from polytask.exceptions import ConvergenceWarning, DataError, IncompatibleError
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    LatentTasks,
    NetworkLasso,
    Parts,
    Penalty,
    SparseGroup,
    TraceNorm,
    positive,
    toward_mean,
    weighted,
)
from polytask.solvers import Status
from polytask.statistics import collect_parts, fit_parts

N, D, T = 600, 4, 3
CLASSES = np.array(["high", "low", "middle"])


def _table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(N, D)), columns=list("abcd"))
    task = rng.integers(T, size=N)
    table["town"] = [f"town {t}" for t in task]
    table["colour"] = rng.choice(["blue", "green", "red"], N)
    table["weight"] = rng.uniform(0.5, 2.0, N)
    W = np.array([1.0, -0.7, 0.0, 0.0])[:, None] + 0.4 * rng.normal(size=(D, T))
    eta = np.einsum("ij,ji->i", table[list("abcd")].to_numpy(), W[:, task])
    return table, 0.6 * eta + rng.normal(size=T)[task] + (table["colour"] == "red")


TABLE, ETA = _table()
RNG = np.random.default_rng(7)
LOSSES: dict[str, tuple[Any, np.ndarray]] = {
    "logistic": (MultiTaskClassifier(), RNG.random(N) < 1 / (1 + np.exp(-ETA))),
    "poisson": (MultiTaskRegressor(loss="poisson"), RNG.poisson(np.exp(0.7 * ETA))),
    "gamma": (MultiTaskRegressor(loss="gamma"), RNG.gamma(2.0, np.exp(ETA) / 2) + 1e-9),
    "huber": (
        MultiTaskRegressor(loss="huber"),
        ETA + np.where(RNG.random(N) < 0.1, 15.0, 0.7) * RNG.normal(size=N),
    ),
    "multinomial": (
        MultiTaskClassifier(),
        CLASSES[np.clip(np.round(ETA + RNG.logistic(size=N)), -1, 1).astype(int) + 1],
    ),
}


def parts(table: pd.DataFrame, rows: int) -> Callable[[], Iterator[pd.DataFrame]]:
    return lambda: (table[k : k + rows] for k in range(0, len(table), rows))


def encoder(table: pd.DataFrame, *others: str) -> TableEncoder:
    return TableEncoder().fit(table.drop(columns=["town", "weight", *others], errors="ignore"))


def whole(model: Any, table: pd.DataFrame, target: str = "y") -> Any:
    model = clone(model).set_params(task_column="town")
    X = table.drop(columns=[target, "weight"])
    return model.fit(X, table[target], sample_weight=table["weight"])


def in_parts(model: Any, table: pd.DataFrame, rows: int, target: str = "y") -> Any:
    return fit_parts(
        clone(model),
        parts(table, rows),
        target,
        task_column="town",
        sample_weight="weight",
        encoder=encoder(table, target),
    )


def assert_same(found: Any, other: Any, *, coef: float = 1e-6) -> None:
    assert found.solution_.status.ok
    assert found.tasks_.tolist() == other.tasks_.tolist()
    np.testing.assert_allclose(found.coef_, other.coef_, atol=coef)
    np.testing.assert_allclose(found.intercept_, other.intercept_, atol=coef)
    value = other.solution_.objective
    assert found.solution_.objective == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "rows", "penalty"),
    in_turn(LOSSES, [90, N, 90], [L21(fraction=0.1), TraceNorm(fraction=0.2)]),
    ids=str,
)
def test_coefficients_objective_and_predictions_are_those_of_all_rows(
    loss: str, rows: int, penalty: Penalty
) -> None:
    model, y = LOSSES[loss]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=penalty, tol=1e-10)
    found, other = in_parts(model, table, rows), whole(model, table)
    assert_same(found, other)
    assert found.n_passes_ < 25
    X = table.drop(columns=["y", "weight"])
    predicted, expected = found.predict(X), other.predict(X)
    if loss in ("logistic", "multinomial"):
        assert found.classes_.tolist() == other.classes_.tolist()
        predicted, expected = found.predict_proba(X), other.predict_proba(X)
        for a, b in zip(predicted, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    else:
        np.testing.assert_allclose(predicted, expected, rtol=1e-5)
        assert found.score(X, table["y"]) == pytest.approx(other.score(X, table["y"]), abs=1e-6)


ONE_PROX = [
    L1(0.01),
    L2(0.05),
    toward_mean(0.1) + L2(0.01),
    SparseGroup(0.02),
    L21(0.02) + L2(0.01),
    weighted(L21(0.02), {"a": 0.0}),
    Parts((L21(0.02), L1(0.01))),
]


@pytest.mark.parametrize(
    ("loss", "penalty"), in_turn(["logistic", "multinomial"], ONE_PROX), ids=str
)
def test_penalties_with_one_part_that_has_a_prox(loss: str, penalty: Penalty) -> None:
    model, y = LOSSES[loss]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=penalty, tol=1e-11)
    found, other = in_parts(model, table, 300), whole(model, table)
    if loss == "logistic":
        assert_same(found, other, coef=2e-5)
    # What all classes of a task have in common is not always unique, what they predict is.
    X = table.drop(columns=["y", "weight"])
    for a, b in zip(found.predict_proba(X), other.predict_proba(X), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert found.solution_.status.ok
    assert found.solution_.objective == pytest.approx(other.solution_.objective, rel=1e-9)


CHAIN = {("town 0", "town 1"): 1.0, ("town 1", "town 2"): 1.0}
# The Huber loss has no curvature at its outliers, and takes a few passes more.
PASSES = {"huber": 20}


NO_COMMON_PROX = [
    toward_mean(0.05) + L21(0.01),
    TraceNorm(0.02) + L1(0.01),
    toward_mean(0.05) + L21(0.01) + TraceNorm(0.02),
    positive(L21(0.01)) + TraceNorm(0.02),
    weighted(L21(0.02), {"a": 0.0}) + TraceNorm(0.02),
]


@pytest.mark.parametrize(("loss", "penalty"), in_turn(LOSSES, NO_COMMON_PROX), ids=str)
def test_sums_without_a_common_prox_are_split_in_every_step(loss: str, penalty: Penalty) -> None:
    model, y = LOSSES[loss]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=penalty, tol=1e-10)
    found, other = in_parts(model, table, 170), whole(model, table)
    assert_same(found, other)
    assert found.n_passes_ <= PASSES.get(loss, 14)
    # The gap is that of all rows at the answer, from the dual variables of the last step.
    assert found.solution_.gap is not None
    assert found.solution_.objective - other.solution_.objective <= found.solution_.gap + 1e-12
    # A proximal step from the answer hardly moves it, measured as in memory.
    assert found.solution_.residual < 1e-6


WITH_RIDGE = [toward_mean(0.05) + L21(0.01) + L2(0.01), NetworkLasso(0.02, CHAIN) + L2(0.01)]


@pytest.mark.parametrize(("loss", "penalty"), in_turn(LOSSES, WITH_RIDGE), ids=str)
def test_a_ridge_in_a_sum_makes_the_gap_the_square_of_the_distance(
    loss: str, penalty: Penalty
) -> None:
    model, y = LOSSES[loss]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=penalty, tol=1e-13)
    assert_same(in_parts(model, table, 170), whole(model, table), coef=5e-6)


def test_a_sum_that_leaves_nothing_and_one_without_a_gap() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    strong = clone(model).set_params(penalty=L21(5.0) + TraceNorm(5.0))
    found = in_parts(strong, table, 200)
    assert not found.coef_.any()
    assert found.solution_.status.ok
    # What neighbours have in common is free, so that there is no dual point.
    loose = clone(model).set_params(penalty=NetworkLasso(0.02, CHAIN), tol=1e-10)
    found, other = in_parts(loose, table, 200), whole(loose, table)
    assert found.solution_.gap is other.solution_.gap is None
    assert found.solution_.residual < 1e-10
    assert_same(found, other)


def test_a_sum_that_is_not_convex_is_solved_in_stages() -> None:
    model, y = LOSSES["poisson"]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=MCP(0.05) + TraceNorm(0.02), tol=1e-10)
    found, other = in_parts(model, table, 300), whole(model, table)
    assert found.solution_.status is Status.STATIONARY
    np.testing.assert_allclose(found.coef_, other.coef_, atol=1e-6)


def test_a_sum_that_does_not_converge_says_so() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=L21(0.02) + TraceNorm(0.02), max_iter=3)
    with pytest.warns(ConvergenceWarning, match="gap"):
        found = in_parts(model, table, 300)
    assert found.solution_.status is Status.MAX_ITER
    assert found.solution_.certificate.relative > found.tol


def test_a_penalty_that_is_not_convex_is_solved_in_convex_stages() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=MCP(0.05), tol=1e-10)
    found, other = in_parts(model, table, 300), whole(model, table)
    assert found.solution_.status is Status.STATIONARY
    np.testing.assert_allclose(found.coef_, other.coef_, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "intercept"),
    in_turn(["poisson", "multinomial"], ["auto", "task", "toward_mean", "shared", None]),
)
def test_intercepts(loss: str, intercept: str | None) -> None:
    model, y = LOSSES[loss]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(
        penalty=L21(0.02), tol=1e-11, intercept=intercept, standardize=True, task_weight="equal"
    )
    assert_same(in_parts(model, table, 250), whole(model, table), coef=1e-5)


def test_class_weights_are_those_of_all_rows() -> None:
    model, y = LOSSES["multinomial"]
    table = TABLE.assign(y=y)
    model = clone(model).set_params(penalty=L21(0.02), tol=1e-10, class_weight="balanced")
    assert_same(in_parts(model, table, 110), whole(model, table))


def test_parts_that_lack_tasks_classes_and_levels() -> None:
    model, y = LOSSES["multinomial"]
    table = TABLE.assign(y=y).sort_values(["y", "town", "colour"]).reset_index(drop=True)
    model = clone(model).set_params(penalty=L21(0.02), tol=1e-10)
    assert_same(in_parts(model, table, 40), whole(model, table))


def test_targets_of_one_design_with_missing_labels_and_a_part_without_any() -> None:
    rng = np.random.default_rng(1)
    table = TABLE[list("abcd")].copy()
    for k, name in enumerate(["fever", "cough"]):
        y = (rng.random(N) < 1 / (1 + np.exp(-ETA - k))).astype(float)
        y[rng.random(N) < 0.2] = np.nan
        y[100 * k : 100 * k + 300] = np.nan
        table[name] = y
    table.loc[100:299, ["fever", "cough"]] = np.nan
    model = MultiTaskClassifier(L21(0.02), tol=1e-10)
    known = TableEncoder().fit(table[list("abcd")])
    found = fit_parts(clone(model), parts(table, 100), ["fever", "cough"], encoder=known)
    other = clone(model).fit(table[list("abcd")], table[["fever", "cough"]])
    assert_same(found, other)
    counts = table.assign(fever=rng.poisson(2.0, N), cough=rng.poisson(np.exp(0.3 * ETA)))
    model = MultiTaskRegressor(L21(0.02), loss="poisson", tol=1e-10)
    found = fit_parts(clone(model), parts(counts, 250), ["fever", "cough"], encoder=known)
    assert_same(found, clone(model).fit(table[list("abcd")], counts[["fever", "cough"]]))


def test_several_classes_of_targets_of_one_design() -> None:
    y = LOSSES["multinomial"][1]
    table = TABLE[list("abcd")].assign(one=y, other=np.roll(y, 1))
    model = MultiTaskClassifier(L21(0.02), tol=1e-10)
    known = TableEncoder().fit(table[list("abcd")])
    found = fit_parts(clone(model), parts(table, 300), ["one", "other"], encoder=known)
    assert_same(found, clone(model).fit(table[list("abcd")], table[["one", "other"]]))


def test_a_file_is_read_and_the_model_is_saved(tmp_path: Any) -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    table.to_parquet(tmp_path / "rows.parquet")
    model = clone(model).set_params(task_column="town", tol=1e-9)
    found = fit_parts(model, tmp_path / "rows.parquet", "y", drop=["weight"], part_rows=200)
    X = table.drop(columns=["y", "weight"])
    other = clone(model).fit(X, table["y"])
    assert found is model
    np.testing.assert_allclose(found.coef_, other.coef_, atol=1e-5)
    pt.save(found, tmp_path / "model.polytask")
    loaded = pt.load(tmp_path / "model.polytask")
    assert loaded.n_passes_ == found.n_passes_
    assert loaded.data_card_.n_rows == N
    np.testing.assert_array_equal(loaded.predict(X), found.predict(X))


def test_rows_are_read_once_for_each_pass_and_seldom() -> None:
    model, y = LOSSES["logistic"]
    table, read = TABLE.assign(y=y), []

    def source() -> Iterator[pd.DataFrame]:
        read.append(1)
        return parts(table, 300)()

    found = fit_parts(clone(model), source, "y", task_column="town", drop=["weight"])
    assert len(read) == found.n_passes_ < 15


def test_text_is_read_by_its_options(tmp_path: Any) -> None:
    table = TABLE[["a", "b", "town"]].round(2).assign(y=LOSSES["logistic"][1].astype(int))
    table.loc[::7, "b"] = -999.0
    path = tmp_path / "rows.csv"
    table.to_csv(path, sep="|", decimal=",", index=False, encoding="utf-16-le")
    model = clone(LOSSES["logistic"][0]).set_params(tol=1e-9, task_column="town")
    known = TableEncoder().fit(table[["a", "b"]].replace(-999.0, np.nan))
    given = {"sep": "|", "decimal": ",", "encoding": "utf-16-le", "missing_values": [" -999,0 "]}
    found = fit_parts(clone(model), path, "y", encoder=known, part_rows=200, **given)
    rows = table.drop(columns="y").replace(-999.0, np.nan)
    assert_same(found, clone(model).fit(rows, table["y"]), coef=2e-5)
    squared = MultiTaskRegressor(L21(0.02), task_column="town")
    fit_parts(squared, path, "y", encoder=known, part_rows=200, **given)
    assert "b=missing" in squared.coef_feature_names_


@pytest.mark.parametrize("what", ["cell", "label", "task", "weight", "order", "fewer"])
def test_rows_that_change_between_passes_are_refused(what: str) -> None:
    table, read = TABLE.assign(y=LOSSES["logistic"][1]), []

    def source() -> Iterator[pd.DataFrame]:
        read.append(1)
        rows = table.copy()
        if len(read) > 2:
            if what == "cell":
                rows.loc[7, "a"] += 1e-9
            elif what == "label":
                rows.loc[7, "y"] = ~rows.loc[7, "y"]
            elif what == "task":
                rows.loc[7, "town"] = rows.loc[rows["town"] != rows.loc[7, "town"], "town"].iloc[0]
            elif what == "weight":
                rows.loc[7, "weight"] *= 2
            elif what == "order":
                # The same numbers in other rows.
                rows["a"] = rows["a"].to_numpy()[::-1]
        return parts(rows[:-1] if what == "fewer" and len(read) > 2 else rows, 300)()

    said = "and 599 when it was read again" if what == "fewer" else "as many rows as when it was"
    with pytest.raises(DataError, match=said.replace("599", str(N - 1))):
        fit_parts(clone(LOSSES["logistic"][0]), source, "y", task_column="town",
                  sample_weight="weight")  # fmt: skip


def test_how_rows_are_cut_and_in_which_order_does_not_matter() -> None:
    table, read = TABLE.assign(y=LOSSES["logistic"][1]), []

    def source() -> Iterator[pd.DataFrame]:
        read.append(1)
        return iter([*parts(table, 100 + 50 * len(read))()][:: (-1) ** len(read)])

    given = {"task_column": "town", "drop": ["weight"], "encoder": encoder(table, "y")}
    found = fit_parts(clone(LOSSES["logistic"][0]), source, "y", **given)
    assert found.solution_.status.ok


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_that_is_written_to_between_passes_is_refused(tmp_path: Any, suffix: str) -> None:
    table = TABLE[["a", "b", "town"]].assign(y=LOSSES["logistic"][1])
    path = tmp_path / f"rows.{suffix}"

    def put(rows: pd.DataFrame) -> None:
        rows.to_csv(path, index=False) if suffix == "csv" else rows.to_parquet(path)

    put(table)
    rows = file_parts(path, 200)
    assert sum(len(part) for part in rows()) == N
    os.utime(path, ns=(0, 0))
    with pytest.raises(DataError, match="was written to while it was read"):
        next(rows())
    put(table)
    again = file_parts(path, 200)()
    next(again)
    put(pd.concat([table, table]))
    with pytest.raises(DataError, match="rows"):
        list(again)


def test_the_squared_loss_takes_statistics() -> None:
    table = TABLE.assign(y=ETA)
    model = MultiTaskRegressor(L21(0.02))
    given = {"task_column": "town", "drop": ["weight"], "encoder": encoder(table, "y")}
    found = fit_parts(clone(model), parts(table, 200), "y", **given)
    other = clone(model).fit(collect_parts(parts(table, 200), "y", **given))
    np.testing.assert_array_equal(found.coef_, other.coef_)


def test_tasks_that_are_nearly_separable_do_not_use_up_the_iterations() -> None:
    """Steps far from the optimum are not solved to the last digit."""
    rng = np.random.default_rng(0)
    W, task = rng.normal(size=(30, 20)), rng.integers(30, size=600)
    table = pd.DataFrame(rng.normal(size=(600, 20))).rename(columns="x{}".format)
    eta = np.einsum("ij,ij->i", table.to_numpy(), W[task])
    table["task"], table["y"] = task, eta + rng.logistic(size=600) > 0
    model = MultiTaskClassifier(L21(1e-3), max_iter=5000)
    assert fit_parts(model, [table], "y", task_column="task").solution_.status.ok


def test_what_does_not_converge_says_so() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    with pytest.warns(ConvergenceWarning, match="gap"):
        found = in_parts(clone(model).set_params(max_iter=2), table, 300)
    assert found.solution_.status is Status.MAX_ITER
    assert found.solution_.certificate.relative > found.tol


def test_refusals_are_sentences() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y, number=ETA)
    given = {"task_column": "town", "drop": ["weight", "number"]}
    with pytest.raises(IncompatibleError, match="MultiTaskModel needs all rows in memory"):
        fit_parts(MultiTaskModel(), parts(table, 300), "y", **given)
    with pytest.raises(IncompatibleError, match=r"loss='quantile' needs all rows in memory"):
        fit_parts(MultiTaskRegressor(loss="quantile"), parts(table, 300), "y", **given)
    with pytest.raises(
        IncompatibleError, match="BayesianMultiTaskModel with loss='auto' needs all rows"
    ):
        fit_parts(pt.BayesianMultiTaskModel(), parts(table, 300), "y", **given)
    read: list[int] = []
    prior = pt.BayesianMultiTaskClassifier(prior=pt.BayesianMultiTaskClassifier())
    with pytest.raises(IncompatibleError, match="with a given prior needs all rows"):
        fit_parts(prior, lambda: read.append(1) or iter(()), "y", **given)
    assert not read
    penalty = LatentTasks(2)
    with pytest.raises(IncompatibleError, match="for a table that is read in parts"):
        fit_parts(clone(model).set_params(penalty=penalty), parts(table, 300), "y", **given)
    huber = MultiTaskRegressor(loss="huber", scale_targets="task")
    with pytest.raises(IncompatibleError, match="scale_targets"):
        fit_parts(huber, parts(table, 300), "number", task_column="town", drop=["weight", "y"])
    negative, counts = table.assign(number=-1.0), MultiTaskRegressor(loss="poisson")
    with pytest.raises(DataError, match="poisson"):
        fit_parts(counts, parts(negative, 300), "number", task_column="town", drop=["weight", "y"])
    with pytest.raises(DataError, match="'why'"):
        fit_parts(clone(model), parts(table, 300), "why", **given)
    with pytest.raises(DataError, match="no rows"):
        fit_parts(clone(model), lambda: iter(()), "y", **given)


def test_one_class_in_a_task_with_a_free_intercept_is_refused() -> None:
    model, y = LOSSES["logistic"]
    table = TABLE.assign(y=y)
    table.loc[table["town"] == "town 1", "y"] = True
    with pytest.raises(DataError, match="town 1"):
        in_parts(clone(model).set_params(intercept="task"), table, 300)
    found = in_parts(clone(model).set_params(tol=1e-10), table, 300)
    assert_same(found, whole(clone(model).set_params(tol=1e-10), table))
