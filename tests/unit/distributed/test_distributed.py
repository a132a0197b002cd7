"""Dask collections give what all their rows in memory give, and no row leaves its partition."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from dask.callbacks import Callback
from distributed.protocol.pickle import dumps
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    distributed,
)
from polytask.data import TableEncoder
from polytask.penalties import L21
from polytask.solvers import AcceleratedGradient
from polytask.statistics import TaskStatistics, collect, collect_parts, fit_parts

N = 240
FEATURES = ["p", "q", "r", "colour", "site"]


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def mixed_table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("pqr"))
    table["colour"] = rng.choice(["blue", "green", "red"], size=N)
    table["site"] = rng.choice(["a", "b", "c"], size=N)
    signal = table.p + 2 * table.q + (table.colour == "red") + (table.site == "a") * table.r
    table["y"] = signal + rng.normal(size=N)
    table["w"] = rng.uniform(0.5, 2.0, size=N)
    table["fold"] = rng.integers(3, size=N)
    return table


def partitions(table: pd.DataFrame, sizes: tuple[int, ...] = (100, 0, 3, 60, 77)) -> dd.DataFrame:
    """Return a table of partitions of these sizes, whose divisions are not known."""
    ends = np.cumsum(sizes)
    parts = [table[end - n : end] for n, end in zip(sizes, ends, strict=True)]
    return dd.from_map(lambda part: part, parts, meta=table[:0])


def l21(**options: Any) -> MultiTaskRegressor:
    return MultiTaskRegressor(L21(0.1), tol=1e-12, **options)


def learned_prior(**options: Any) -> BayesianMultiTaskRegressor:
    return BayesianMultiTaskRegressor(tol=1e-12, **options)


def assert_alike(model: Any, other: Any, tol: float = 1e-9) -> None:
    assert_allclose(model.coef_, other.coef_, rtol=tol, atol=tol)
    assert_allclose(model.intercept_, other.intercept_, rtol=tol, atol=tol)


@pytest.mark.parametrize("given", ["names", "columns"])
@pytest.mark.parametrize("make", [l21, learned_prior, MultiTaskRegressorCV])
def test_a_fit_of_partitions_is_that_of_the_rows(make, given) -> None:
    table = mixed_table()
    ddf, X = partitions(table), table[FEATURES]
    if given == "names":
        y, weight, fold = "y", "w", "fold"
        dX = ddf
    else:
        y, weight, fold = ddf["y"], ddf["w"], ddf["fold"]
        dX = ddf[FEATURES]
    model = distributed.fit(make(task_column="site"), dX, y, sample_weight=weight, fold=fold)
    whole = collect(X, table.y, task_column="site", sample_weight=table.w, fold=table.fold,
                    encoder=model.encoder_)  # fmt: skip
    other = make(task_column="site").fit(whole)
    # All levels of a category add up to the intercept, which rounding decides between.
    assert_alike(model, other, 1e-7 if make is learned_prior else 1e-9)
    assert_allclose(model.predict(X), other.predict(X), rtol=1e-9, atol=1e-9)
    if make is l21:
        assert_alike(model, l21(task_column="site").fit(X, table.y, sample_weight=table.w))
    assert model.data_card_.n_rows == N
    # What is fitted needs no Dask to predict.
    assert_allclose(model.predict(X), distributed.predict(model, ddf).compute(), rtol=1e-12)


def test_a_table_is_a_source_of_parts() -> None:
    table = mixed_table()
    found = collect_parts(partitions(table), "y", task_column="site", drop=["w", "fold"])
    whole = collect(table[FEATURES], table.y, task_column="site", encoder=found.encoder)
    assert repr(found) == repr(whole)
    assert_alike(l21().fit(found), l21().fit(whole))


@pytest.mark.parametrize("order", ["site", "y", "colour"])
def test_sorted_rows_and_levels_of_few_partitions(order: str) -> None:
    table = mixed_table().sort_values(order)
    table["colour"] = table["colour"].astype("category")
    ddf = partitions(table)
    # Each partition knows its own levels only.
    ddf = ddf.map_partitions(
        lambda part: part.assign(colour=part.colour.cat.remove_unused_categories())
    )
    model = distributed.fit(l21(task_column="site"), ddf[[*FEATURES, "y"]], "y")
    assert_alike(model, l21(task_column="site").fit(table[FEATURES], table.y))
    assert_allclose(
        distributed.predict(model, ddf).compute(), model.predict(table[FEATURES]), rtol=1e-12
    )


def test_cells_that_are_missing_in_whole_partitions() -> None:
    table = mixed_table()
    table.loc[:99, "p"] = np.nan
    table.loc[100:180, "colour"] = None
    table.loc[200:, "q"] = np.nan
    model = distributed.fit(l21(task_column="site"), partitions(table)[[*FEATURES, "y"]], "y")
    whole = collect(table[FEATURES], table.y, task_column="site", encoder=model.encoder_)
    assert_alike(model, l21().fit(whole))
    assert {"p=missing", "q=missing", "colour=missing"} <= {*model.coef_feature_names_}


def arrays(unknown: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays in memory and the same of Dask, in blocks of their own."""
    table = mixed_table()
    rows = {
        "X": table[["p", "q", "r"]].to_numpy(),
        "y": table.y.to_numpy(),
        "task": table.site.to_numpy(dtype=object),
        "weight": table.w.to_numpy(),
    }
    if unknown:
        ddf = partitions(table.assign(site=table.site.map({"a": 0, "b": 1, "c": 2})))
        names = {"X": ["p", "q", "r"], "y": "y", "task": "site", "weight": "w"}
        return rows | {"task": table.site.map({"a": 0, "b": 1, "c": 2}).to_numpy()}, {
            role: ddf[name].to_dask_array() for role, name in names.items()
        }
    chunks = {"X": ((100, 0, 80, 60), 2), "y": 70, "task": N, "weight": 100}
    return rows, {role: da.from_array(rows[role], chunks=chunks[role]) for role in rows}


@pytest.mark.parametrize("unknown", [False, True])
def test_arrays_in_blocks_are_the_arrays(unknown: bool) -> None:
    rows, blocks = arrays(unknown)
    model = distributed.fit(
        l21(), blocks["X"], blocks["y"], blocks["task"], sample_weight=blocks["weight"]
    )
    whole = l21().fit(rows["X"], rows["y"], rows["task"], sample_weight=rows["weight"])
    assert_alike(model, whole)
    assert_array_equal(model.tasks_, whole.tasks_)
    predicted = distributed.predict(model, blocks["X"], blocks["task"])
    assert isinstance(predicted, da.Array)
    assert predicted.dtype == float
    assert_allclose(predicted.compute(), model.predict(rows["X"], rows["task"]), rtol=1e-12)
    score = distributed.score(model, *(blocks[k] for k in ("X", "y", "task", "weight")))
    assert score.compute() == pytest.approx(
        model.score(*(rows[k] for k in ("X", "y", "task", "weight"))), rel=1e-12
    )


def test_sparse_blocks_and_a_column_of_tasks() -> None:
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, 4)) < 0.5, 0.0, rng.normal(size=(N, 4)))
    y = X @ [1.0, 2.0, 0.0, -1.0] + rng.normal(size=N)
    blocks = da.from_array(X, chunks=(70, 4)).map_blocks(sp.csr_matrix)
    task = rng.integers(3, size=N)
    model = distributed.fit(l21(), blocks, da.from_array(y, chunks=70), da.from_array(task, 70))
    assert_alike(model, l21().fit(sp.csr_matrix(X), y, task))
    with_task = np.column_stack([X, task])
    blocks = da.from_array(with_task, chunks=(70, 5))
    model = distributed.fit(l21(task_column=4), blocks, da.from_array(y, chunks=70))
    assert_alike(model, l21(task_column=4).fit(with_task, y))


@pytest.mark.parametrize("kind", ["table", "array"])
def test_targets_without_labels_in_some_partitions(kind: str) -> None:
    table = mixed_table()
    Y = pd.DataFrame({"u": table.y, "v": table.y**2, "w": table.q})
    Y.iloc[:100, 0] = np.nan
    Y.iloc[100:, 2] = np.nan
    Y.iloc[163:] = np.nan
    X = table[["p", "r"]]
    if kind == "table":
        both = partitions(X.assign(u=Y.u, v=Y.v, w=Y.w))
        dX, dY, other = both[["p", "r"]], both[["u", "v", "w"]], (both, ["u", "v", "w"])
        assert_alike(distributed.fit(l21(), *other), l21().fit(X, Y))
    else:
        X, Y = X.to_numpy(), Y.to_numpy()
        dX, dY = da.from_array(X, chunks=(80, 2)), da.from_array(Y, chunks=(80, 1))
    model, whole = distributed.fit(l21(), dX, dY), l21().fit(X, Y)
    assert_alike(model, whole)
    assert model.tasks_.tolist() == whole.tasks_.tolist()
    assert_allclose(distributed.predict(model, dX).compute(), whole.predict(X), rtol=1e-9)
    assert distributed.score(model, dX, dY).compute() == pytest.approx(whole.score(X, Y), rel=1e-9)
    if kind == "table":
        found = distributed.predict(model, dX)
        assert found.columns.tolist() == ["u", "v", "w"]
        with pytest.raises(DataError, match="no label at all in target 'u'"):
            distributed.fit(l21(), both.partitions[:1], ["u", "v"])


def test_rows_without_weight_are_no_rows() -> None:
    table = mixed_table()
    table.loc[:99, "w"] = 0.0
    ddf = partitions(table)
    encoder = TableEncoder().fit(table[["p", "q", "r", "colour"]])
    model = distributed.fit(
        l21(task_column="site"), ddf[[*FEATURES, "y", "w"]], "y", sample_weight="w",
        encoder=encoder,
    )  # fmt: skip
    seen = table[100:]
    whole = collect(seen[FEATURES], seen.y, task_column="site", sample_weight=seen.w,
                    encoder=encoder)  # fmt: skip
    assert_alike(model, l21().fit(whole))
    score = distributed.score(model, ddf, "y", sample_weight="w").compute()
    assert score == pytest.approx(model.score(seen[FEATURES], seen.y, sample_weight=seen.w))


CLASSES: dict[str, Any] = {
    "long": lambda t: np.where(t.y > 0, "yes", "no"),
    "numbers": lambda t: (t.y > 0).astype(int).to_numpy() + (t.q > 0).to_numpy(),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_partitions(name: str) -> None:
    table = mixed_table().drop(columns="y")
    table["z"] = CLASSES[name](mixed_table())
    X = table[FEATURES]
    model = MultiTaskClassifier(task_column="site").fit(X, table.z)
    ddf = partitions(table)
    labels = distributed.predict(model, ddf)
    assert_array_equal(labels.compute(), model.predict(X))
    assert labels.compute().index.equals(table.index)
    found = distributed.predict_proba(model, ddf)
    assert found.columns.tolist() == model.classes_.tolist()
    assert_allclose(found.compute(), model.predict_proba(X), rtol=1e-12)
    score = distributed.score(model, ddf, "z", sample_weight="w").compute()
    assert score == pytest.approx(model.score(X, table.z, sample_weight=table.w), rel=1e-12)


@pytest.mark.parametrize("kind", ["table", "array"])
def test_targets_of_classes_and_numbers(kind: str) -> None:
    table = mixed_table()
    Y = pd.DataFrame({"u": CLASSES["long"](table), "v": table.y, "w": CLASSES["numbers"](table)})
    X = table[["p", "q"]]
    both = partitions(X.assign(u=Y.u, v=Y.v, w=Y.w))
    dX, dY = both[["p", "q"]], both[["u", "v", "w"]]
    if kind == "array":
        X = X.to_numpy()
        dX = da.from_array(X, chunks=(90, 1))
    model = MultiTaskModel(loss={**dict.fromkeys("uw", "multinomial"), "v": "squared"}).fit(X, Y)
    found, expected = distributed.predict_proba(model, dX), model.predict_proba(X)
    assert found[1] is None
    for k in (0, 2):
        assert_allclose(found[k].compute(), expected[k], rtol=1e-12)
    predicted = distributed.predict(model, dX)
    values, labels = np.asarray(predicted.compute(), dtype=object), model.predict(X)
    assert_array_equal(values[:, ::2], labels[:, ::2])
    assert_allclose(values[:, 1].astype(float), labels[:, 1].astype(float), rtol=1e-12)
    if kind == "table":
        assert found[2].columns.tolist() == model.classes_[2].tolist()
        assert [str(dtype) for dtype in predicted.dtypes] == ["object", "float64", "object"]
        score = distributed.score(model, dX, dY).compute()
        assert score == pytest.approx(model.score(X, Y), rel=1e-12)
    with pytest.raises(AttributeError, match="predict_proba"):
        distributed.predict_proba(l21().fit(X, table.y), dX)


class _Results(Callback):
    """Keeps the types of what the tasks of a graph return, and the bytes that they send."""

    def __init__(self) -> None:
        self.types: list[type] = []
        self.sizes: list[int] = []
        super().__init__(posttask=self._keep)

    def _keep(self, _: Any, value: Any, *__: Any) -> None:
        self.types.append(type(value))
        self.sizes.append(len(dumps(value)))


@pytest.mark.parametrize("kind", ["parquet", "array"])
def test_no_task_returns_rows_and_few_summaries_are_put_together_at_once(kind, tmp_path) -> None:
    table = mixed_table()
    if kind == "parquet":
        for k in range(20):
            table[12 * k : 12 * k + 12].to_parquet(tmp_path / f"{k:02}.parquet")
        ddf = dd.read_parquet(tmp_path, split_row_groups=True)
        assert ddf.npartitions == 20
        given = ddf, "y"
        model = l21(task_column="site")
        passes = {TableEncoder, TaskStatistics}
    else:
        X = da.random.default_rng(0).normal(size=(N, 3), chunks=(12, 3))
        given, model, passes = (X, X.sum(axis=1)), l21(), {TaskStatistics}
    with _Results() as results:
        distributed.fit(model, *given)
    kept = [kind for kind in results.types if kind is not list]
    # What parts return is counted beside their statistics.
    allowed = {*passes, tuple} if kind == "parquet" else {*passes, np.ndarray}
    assert {*kept} <= allowed
    # 20 partitions, 3 tasks that put 8 together, and one.
    for made in passes:
        expected = tuple if made is TaskStatistics and kind == "parquet" else made
        assert kept.count(expected) == 24


def test_predictions_are_lazy() -> None:
    table = mixed_table()
    model = l21(task_column="site").fit(table[FEATURES], table.y)

    def read(part: pd.DataFrame) -> pd.DataFrame:
        raise AssertionError("read")

    ddf = partitions(table).map_partitions(read, meta=table[:0])
    predicted = distributed.predict(model, ddf)
    assert (predicted.name, predicted.npartitions) == ("prediction", 5)
    score = distributed.score(model, ddf, "y")
    for lazy in (predicted, score):
        with pytest.raises(AssertionError, match="read"):
            lazy.compute()


OTHER_LOSSES: dict[str, tuple[Any, Any]] = {
    "logistic": (MultiTaskClassifier(tol=1e-11), lambda t: np.where(t.y > 0, "yes", "no")),
    "multinomial": (
        MultiTaskClassifier(tol=1e-11), lambda t: np.digitize(t.y, [-1.0, 1.0]).astype(str)
    ),
    "poisson": (
        MultiTaskRegressor(loss="poisson", tol=1e-11),
        lambda t: np.random.default_rng(0).poisson(np.exp(0.3 * t.p)),
    ),
    "huber": (MultiTaskRegressor(loss="huber", tol=1e-11), lambda t: t.y.to_numpy()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("logistic", "site"),
        *(
            pytest.param(name, order, marks=pytest.mark.slow)
            for name, order in [
                *((name, None) for name in OTHER_LOSSES),
                ("poisson", "colour"),
                ("multinomial", "y"),
            ]
        ),
    ],
)
def test_other_losses_of_partitions_are_those_of_the_rows(name: str, order: str | None) -> None:
    table = mixed_table().drop(columns="fold")
    table["z"] = OTHER_LOSSES[name][1](table)
    if order is not None:
        # A task, a level or a class is in few partitions, which know their own levels only.
        table = table.sort_values(order)
        table["colour"] = table["colour"].astype("category")
    table = table.drop(columns="y")
    model = clone(OTHER_LOSSES[name][0]).set_params(penalty=L21(0.02), task_column="site")
    ddf = partitions(table)
    if order is not None:
        ddf = ddf.map_partitions(
            lambda part: part.assign(colour=part.colour.cat.remove_unused_categories())
        )
    found = distributed.fit(clone(model), ddf, "z", sample_weight="w")
    X = table[FEATURES]
    whole = clone(model).fit(X, table["z"], sample_weight=table["w"])
    assert found.solution_.status.ok
    assert_array_equal(found.tasks_, whole.tasks_)
    ask = "predict" if name in ("poisson", "huber") else "predict_proba"
    assert_allclose(getattr(found, ask)(X), getattr(whole, ask)(X), atol=1e-6)
    if name != "multinomial" and order is None:
        # What all levels of a colour, or all classes, have in common is not unique.
        known = [k for k, c in enumerate(found.coef_feature_names_) if "colour" not in c]
        assert_allclose(found.coef_[:, known], whole.coef_[:, known], atol=1e-5)
    named = distributed.fit(clone(model), ddf.drop(columns=["z", "w"]), ddf["z"],
                            sample_weight=ddf["w"])  # fmt: skip
    assert_array_equal(named.coef_, found.coef_)
    assert_alike(fit_parts(clone(model), ddf, "z", sample_weight="w"), found)


def wide_table(d: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(N, d)), columns=[f"x{j}" for j in range(d)])
    table["site"] = rng.choice(["a", "b", "c"], size=N)
    eta = table.x0 - table.x1 * (table.site == "a") + 0.5
    table["squared"] = eta + rng.normal(size=N)
    table["logistic"] = np.where(eta + rng.logistic(size=N) > 0, "yes", "no")
    table["poisson"] = rng.poisson(np.exp(0.3 * eta))
    return table


@pytest.mark.parametrize(
    "target",
    ["squared", *(pytest.param(name, marks=pytest.mark.slow) for name in ("logistic", "poisson"))],
)
def test_passes_of_gradients_alone_over_partitions(target: str) -> None:
    d, n_tasks = 30, 3
    table = wide_table(d)
    X = table[[name for name in table if name.startswith("x") or name == "site"]]
    kind = MultiTaskClassifier if target == "logistic" else MultiTaskRegressor
    loss = {} if target == "logistic" else {"loss": target}
    model = kind(L21(fraction=0.3), tol=1e-9, task_column="site", **loss)
    whole = clone(model).fit(X, table[target])
    ddf = partitions(X.assign(**{target: table[target]}), (140, 0, 100))
    products = 8 * n_tasks * d**2
    by_gradients = clone(model).set_params(solver=AcceleratedGradient())
    with _Results() as results:
        found = distributed.fit(by_gradients, ddf, target)
    assert found.solution_.status.ok
    assert found.solution_.certificate.relative <= found.tol
    assert found.n_passes_ > found.solution_.n_iter
    assert_alike(found, whole, 1e-5)
    assert max(results.sizes) < products / 2
    if target == "logistic":
        with _Results() as results:
            distributed.fit(clone(model), ddf, target)
        assert max(results.sizes) > products


def test_gradients_of_arrays_in_blocks_name_the_table_to_give() -> None:
    given, _ = arrays(unknown=False)
    model = MultiTaskRegressor(L21(0.1), solver=AcceleratedGradient())
    with pytest.raises(IncompatibleError, match="give a dask DataFrame"):
        distributed.fit(model, given["X"], given["y"], given["task"])


def test_what_is_refused_reads_no_partition() -> None:
    read: list[int] = []

    def counted(part: pd.DataFrame) -> pd.DataFrame:
        read.append(1)
        return part

    ddf = partitions(mixed_table())
    ddf = ddf.map_partitions(counted, meta=ddf._meta)
    X, y = ddf[["p", "q"]].to_dask_array(), ddf["y"].to_dask_array()
    search, huber = MultiTaskRegressorCV(task_column="site"), MultiTaskRegressor(loss="huber")
    rows = mixed_table()
    refusals: list[tuple[Any, str]] = [
        (
            lambda: distributed.fit(search, ddf, "y"),
            "holds out folds of rows: name them with fold",
        ),
        (lambda: distributed.fit(huber, X, y), "give a dask DataFrame"),
        (lambda: distributed.fit(huber, ddf, "y", fold="fold"), "None for a model that holds no"),
        (lambda: distributed.fit(MultiTaskModel(), ddf, "y"), "needs all rows in memory"),
    ]
    for model in (MultiTaskRegressor(), learned_prior(), huber, MultiTaskClassifier()):
        refusals += [
            (lambda m=model: m.fit(X, y), "polytask.distributed.fit"),
            (lambda m=model: m.fit(ddf, ddf["y"]), "polytask.distributed.fit"),
            (lambda m=model: m.fit(rows[["p", "q"]], y), "polytask.distributed.fit"),
            (lambda m=model: m.fit(rows[["p"]], rows["y"], ddf["site"]), "polytask.distributed"),
            (
                lambda m=model: m.fit(rows[["p"]], rows["y"], rows["site"], sample_weight=y),
                "polytask.distributed.fit",
            ),
        ]
    for call, said in refusals:
        with pytest.raises((DataError, IncompatibleError), match=said):
            call()
    assert not read
    assert not hasattr(search, "coef_")


def refused() -> dict[str, tuple[Any, type, str]]:
    table = mixed_table()
    ddf, X = partitions(table), da.from_array(table[["p", "q"]].to_numpy(), chunks=(60, 2))
    y = da.from_array(table.y.to_numpy(), chunks=60)
    other = partitions(table, (50, 50, 50, 50, 40))
    long = dd.from_pandas(table, npartitions=3)
    fit, model = distributed.fit, l21(task_column="site")
    unknown = ddf[["p", "q"]].to_dask_array()
    fitted = l21(task_column="site").fit(table[FEATURES], table.y)
    old = l21(task_column="site").fit(table[FEATURES], table.y)
    del old._baseline
    return {
        "in memory": (lambda: fit(model, table, "y"), DataError, "X .* must be a dask DataFrame"),
        "series": (lambda: fit(model, ddf["p"], "y"), DataError, "X .* must be a dask DataFrame"),
        "one axis": (lambda: fit(l21(), y, y), DataError, r"got shape \(240,\)"),
        "y in memory": (lambda: fit(model, ddf, table.y), DataError, "y .* must be a collection"),
        "y of arrays": (lambda: fit(l21(), X, table.y), DataError, "y .* must be a collection"),
        "no name": (lambda: fit(model, ddf, "z"), DataError, "no column 'z'"),
        "no task": (lambda: fit(l21(task_column="sit"), ddf, "y"), DataError, "Did you mean 'si"),
        "task": (lambda: fit(l21(), ddf, "y", ddf["site"]), DataError, "name it, as task_column"),
        "groupings": (
            lambda: distributed.collect(ddf, "y", task_column=["site", "p"]), ParameterError,
            "takes one task for each row",
        ),
        "groupings of a model": (
            lambda: fit(learned_prior().set_params(task_column=["site", "p"]), ddf, "y"),
            ParameterError, "takes one task for each row",
        ),
        "twice": (lambda: fit(l21(), ddf, ddf[["y"]]), DataError, "X holds the columns 'y' of y"),
        "partitions": (lambda: fit(model, ddf[FEATURES], long["y"]), DataError, "as many .* 3"),
        "sizes": (lambda: fit(model, ddf[FEATURES], other["y"]), DataError, "has 77 rows, .* 40"),
        "length": (lambda: fit(l21(), X, y[:100]), DataError, "y .* as many partitions"),
        "blocks": (lambda: fit(l21(), unknown, y), DataError, r"as many partitions as X \(5\)"),
        "unknown": (
            lambda: fit(l21(), unknown, other["y"].to_dask_array()), DataError, "as long as X",
        ),
        "loss": (
            lambda: fit(MultiTaskRegressor(loss="quantile"), ddf, "y"), IncompatibleError, "rows",
        ),
        "no y": (lambda: fit(model, ddf, None), DataError, "requires y"),
        "no y of arrays": (lambda: fit(l21(), X, None), DataError, "requires y"),
        "foreign": (
            lambda: distributed.predict(LinearRegression(), X), ParameterError, "of polytask; got",
        ),
        "old": (lambda: distributed.score(old, ddf, "y"), IncompatibleError, "fit it again"),
        "folds": (
            lambda: fit(MultiTaskRegressorCV(task_column="site"), ddf, "y"), DataError, "fold",
        ),
        "no rows": (lambda: fit(model, partitions(table[:0], (0, 0)), "y"), DataError, "no rows"),
        "words": (lambda: fit(model, ddf, "colour"), DataError, "y .* must be numbers"),
        "source": (lambda: collect_parts(X, "y"), DataError, "source of collect_parts"),
        "fit": (lambda: model.fit(ddf, "y"), DataError, "polytask.distributed.fit, predict"),
        "predict": (lambda: fitted.predict(ddf), DataError, "polytask.distributed.fit, predict"),
        "unseen": (
            lambda: distributed.predict(fitted, ddf.assign(site="z")).compute(), DataError, "'z'",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_what_cannot_be_right_is_one_sentence(name: str) -> None:
    call, error, words = refused()[name]
    with pytest.raises(error, match=words):
        call()


def test_without_dask_the_command_is_named() -> None:
    code = (
        "import sys; sys.modules['dask'] = None\n"
        "try:\n    import polytask.distributed\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "polytask[dask]"' in done.stdout
