"""Statistics are as good as the rows that they were collected from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

import polytask
from polytask import (
    AutoMultiTaskRegressor,
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    ParameterError,
    Pooled,
    SingleTask,
    relatedness,
)
from polytask.data import TableEncoder, TaskData
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.statistics import TaskStatistics, collect, collect_parts
from polytask.task_relations.slopes import Fits

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "rows": lambda: MultiTaskRegressor(L21(0.1), tol=1e-12),
    "scaled": lambda: MultiTaskRegressor(
        L21(fraction=0.1), standardize=True, scale_targets="task", tol=1e-12
    ),
    "mean": lambda: MultiTaskRegressor(
        toward_mean(0.1) + L2(0.01), intercept="toward_mean", task_weight="equal", tol=1e-12
    ),
    "rank": lambda: MultiTaskRegressor(TraceNorm(0.1), intercept="shared", tol=1e-12),
    "root": lambda: MultiTaskRegressor(L21(0.05), loss="square_root", tol=1e-12),
    "bic": lambda: MultiTaskRegressorIC(L21(1.0), criterion="bic", alphas=8, tol=1e-12),
    "evidence": lambda: MultiTaskRegressorIC(L2(1.0), criterion="evidence", alphas=8, tol=1e-12),
    "prior": lambda: BayesianMultiTaskRegressor(tol=1e-12),
}


def rows(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    n, d, n_tasks = 240, 4, 3
    X = rng.normal(size=(n, d)) * [1.0, 5.0, 0.1, 1.0] + [0.0, 20.0, 0.0, -1.0]
    task = rng.integers(n_tasks, size=n)
    W = 1.0 + 0.5 * rng.normal(size=(d, n_tasks))
    Y = X @ W + rng.normal(size=(n, 1)) + rng.normal(size=(n, n_tasks))
    return {
        "X": X,
        "y": Y[np.arange(n), task],
        "Y": Y,
        "task": np.array(["a", "b", "c"])[task],
        "weight": rng.uniform(0.5, 2.0, size=n),
        "fold": rng.integers(3, size=n),
    }


def with_gaps(Y: np.ndarray) -> np.ndarray:
    gaps = np.random.default_rng(1).random(Y.shape) < 0.3
    gaps[np.all(gaps, axis=1), 0] = False
    return np.where(gaps, np.nan, Y)


def given(form: str, part: slice = slice(None)) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what `fit` and `collect` are given, some of the rows."""
    data = {name: values[part] for name, values in rows().items()}
    X, weight = data["X"], {"sample_weight": data["weight"]}
    match form:
        case "long":
            return (X, data["y"], data["task"]), weight
        case "sparse":
            thin = np.where(np.abs(X) < 0.5, 0.0, X)
            return (sp.csr_array(thin), data["y"], data["task"]), weight
        case "targets":
            return (X, data["Y"]), weight
        case "gaps":
            return (X, with_gaps(rows()["Y"])[part]), weight
    parts = {t: (X[data["task"] == t], data["y"][data["task"] == t]) for t in ("a", "b", "c")}
    own = {t: data["weight"][data["task"] == t] for t in parts}
    return (parts,), {"sample_weight": own}


def assert_alike(model: Any, other: Any, rtol: float = 1e-7) -> None:
    for name in ("coef_", "intercept_"):
        expected = np.asarray(getattr(other, name))
        assert_allclose(getattr(model, name), expected, rtol=rtol, atol=rtol * np.ptp(expected))


FORMS = ("long", "sparse", "targets", "gaps", "separate")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fit_on_statistics_is_that_on_the_rows(name: str, form: str) -> None:
    data, weight = given(form)
    expected = ESTIMATORS[name]().fit(*data, **weight)
    model = ESTIMATORS[name]().fit(collect(*data, **weight))
    assert_alike(model, expected)
    assert model.data_card_.n_rows == 240
    assert_array_equal(model.data_card_.rows_per_task, expected.data_card_.rows_per_task)
    assert_allclose(model.score(*data, **weight), expected.score(*data, **weight), rtol=1e-9)


@pytest.mark.parametrize("form", FORMS[:-1])
def test_parts_in_any_order_are_the_whole(form: str) -> None:
    data, weight = given(form)
    whole = collect(*data, **weight)
    slices = (slice(0, 100), slice(100, 130), slice(130, 240))
    found = [collect(*given(form, part)[0], **given(form, part)[1]) for part in slices]
    for order in ((0, 1, 2), (2, 0, 1)):
        joined = sum(found[k] for k in order)
        assert joined.n_rows == whole.n_rows
        model = ESTIMATORS["rows"]().fit(joined)
        assert_alike(model, ESTIMATORS["rows"]().fit(*data, **weight))


@pytest.mark.parametrize("form", FORMS[:-1])
def test_rows_that_are_taken_away_leave_the_others(form: str) -> None:
    data, weight = given(form)
    first, second = given(form, slice(0, 150)), given(form, slice(150, 240))
    left = collect(*data, **weight) - collect(*first[0], **first[1])
    assert left.n_rows == 90
    expected = ESTIMATORS["rows"]().fit(*second[0], **second[1])
    assert_alike(ESTIMATORS["rows"]().fit(left), expected)
    nothing = left - collect(*second[0], **second[1])
    assert nothing.n_rows == 0
    with pytest.raises(DataError, match="hold no rows"):
        ESTIMATORS["rows"]().fit(nothing)


def test_a_search_holds_out_the_folds_of_the_statistics() -> None:
    r = rows()
    pairs = [(np.flatnonzero(r["fold"] != k), np.flatnonzero(r["fold"] == k)) for k in range(3)]
    settings: dict[str, Any] = {"alphas": 10, "tol": 1e-10}
    expected = MultiTaskRegressorCV(cv=pairs, **settings).fit(r["X"], r["y"], r["task"])
    statistics = collect(r["X"], r["y"], r["task"], fold=r["fold"])
    model = MultiTaskRegressorCV(**settings).fit(statistics)
    assert model.alpha_ == pytest.approx(expected.alpha_)
    assert model.best_penalty_.get_params().keys() == expected.best_penalty_.get_params().keys()
    assert_allclose(model.scores_, expected.scores_, rtol=1e-6)
    assert_allclose(model.held_out_score_, expected.held_out_score_, rtol=1e-9)
    assert_alike(model, expected)


def test_a_table_brings_its_encoder_and_its_task_column() -> None:
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqrs"))
    table["colour"] = np.array(["red", "blue", "green"])[r["fold"]]
    table.loc[3, "p"] = np.nan
    table["site"] = r["task"]
    encoder = TableEncoder().fit(table.drop(columns="site"))
    parts = [
        collect(table[a:b], r["y"][a:b], task_column="site", encoder=encoder)
        for a, b in ((0, 90), (90, 240))
    ]
    model = MultiTaskRegressor(L21(0.1), tol=1e-12).fit(parts[0] + parts[1])
    expected = MultiTaskRegressor(L21(0.1), tol=1e-12, task_column="site").fit(table, r["y"])
    assert_alike(model, expected)
    assert_array_equal(model.feature_names_in_, expected.feature_names_in_)
    assert_array_equal(model.coef_feature_names_, expected.coef_feature_names_)
    # Columns in another order, and the tasks from theirs.
    turned = table[list(table.columns[::-1])]
    assert_allclose(model.predict(turned), expected.predict(table), rtol=1e-7)


def test_levels_and_gaps_of_one_part_are_zero_in_the_others() -> None:
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqrs"))
    table["colour"] = np.array(["red", "blue", "green"])[np.repeat([0, 1, 2], [60, 60, 120])]
    table.loc[60:200:7, "p"] = np.nan
    table.loc[:20, "colour"] = None
    parts = slice(0, 60), slice(60, 240)
    # The whole table would fill what is missing with the median of other rows.
    table["p"] = table["p"].fillna(0.0)
    table["age"] = 1.0
    table.loc[70, "age"] = np.nan
    joined = sum(collect(table[part], r["y"][part], r["task"][part]) for part in parts)
    model = MultiTaskRegressor(L21(0.1), tol=1e-12).fit(joined)
    expected = MultiTaskRegressor(L21(0.1), tol=1e-12).fit(table, r["y"], r["task"])
    assert_array_equal(model.coef_feature_names_, expected.coef_feature_names_)
    assert_alike(model, expected)
    assert_allclose(model.predict(table, r["task"]), expected.predict(table, r["task"]), rtol=1e-7)
    (first, report) = joined.encoder.report_.columns[0], joined.encoder.report_
    assert (first.name, report.n_rows) == ("p", 240)
    assert report.constant == ()
    left = joined - collect(table[parts[0]], r["y"][parts[0]], r["task"][parts[0]])
    assert left.n_rows == 180


def test_statistics_survive_a_file(tmp_path) -> None:
    data, weight = given("gaps")
    statistics = collect(*data, **weight, fold=rows()["fold"])
    statistics.save(tmp_path / "site.stats")
    loaded = TaskStatistics.load(tmp_path / "site.stats")
    assert repr(loaded) == repr(statistics)
    made, again = statistics.to_task_data(), loaded.to_task_data()
    assert_array_equal(made.X, again.X)
    assert_array_equal(made.fold, again.fold)
    assert (loaded + statistics).n_rows == 480


def test_files_of_something_else_are_refused(tmp_path) -> None:
    data, weight = given("long")
    statistics = collect(*data, **weight)
    statistics.save(tmp_path / "site.stats")
    with pytest.raises(DataError, match="holds a TaskStatistics, not a model"):
        polytask.load(tmp_path / "site.stats")
    polytask.save(MultiTaskRegressor().fit(statistics), tmp_path / "model.polytask")
    with pytest.raises(DataError, match="holds a MultiTaskRegressor, not TaskStatistics"):
        TaskStatistics.load(tmp_path / "model.polytask")
    bytes_ = bytearray((tmp_path / "site.stats").read_bytes())
    bytes_[-9] ^= 1
    (tmp_path / "site.stats").write_bytes(bytes_)
    with pytest.raises(DataError, match="altered or damaged"):
        TaskStatistics.load(tmp_path / "site.stats")


def test_a_model_of_statistics_can_be_saved(tmp_path) -> None:
    data, weight = given("long")
    model = BayesianMultiTaskRegressor().fit(collect(*data, **weight))
    polytask.save(model, tmp_path / "model.polytask")
    loaded = polytask.load(tmp_path / "model.polytask")
    assert_array_equal(loaded.predict(data[0], data[2]), model.predict(data[0], data[2]))


@pytest.mark.parametrize(
    "estimator",
    [
        MultiTaskClassifier(),
        MultiTaskRegressor(loss="huber"),
        MultiTaskRegressorCV(scoring=lambda y, p: 0.0),
        AutoMultiTaskRegressor(),
        SingleTask(Ridge()),
        Pooled(Ridge()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_needs_rows_says_so(estimator: Any) -> None:
    data, weight = given("long")
    with pytest.raises(IncompatibleError, match="must be rows; got statistics"):
        estimator.fit(collect(*data, **weight))


@pytest.mark.parametrize("folds", [False, True], ids=["whole", "in folds"])
@pytest.mark.parametrize("form", FORMS)
def test_relatedness_is_that_of_rows_whose_noise_has_one_variance(
    monkeypatch: pytest.MonkeyPatch, form: str, folds: bool
) -> None:
    monkeypatch.setattr(Fits, "noise_shape", lambda fits: np.eye(len(fits.shape)))
    data, weight = given(form)
    fold = {"fold": rows()["fold"]} if folds and form != "separate" else {}
    found = relatedness(collect(*data, **weight, **fold))
    given_rows = dict(zip(("data_or_model", "y", "task"), data, strict=False))
    expected = relatedness(**given_rows, **weight)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.02)
    assert_allclose(found.effective_tasks, expected.effective_tasks, rtol=1e-6)
    assert found.shares.common == pytest.approx(expected.shares.common, abs=1e-6)
    # What groups by chance explain is drawn at random, on axes whose signs may differ.
    assert found.shares.clustered == pytest.approx(expected.shares.clustered, abs=0.05)
    assert_allclose(found.similarity, expected.similarity, atol=1e-6)
    assert [task.rows for task in found.tasks] == [task.rows for task in expected.tasks]


def test_relatedness_of_statistics_in_its_own_noise() -> None:
    data, _ = given("long")
    statistics = collect(*data)
    found, expected = relatedness(statistics), relatedness(*data[:2], task=data[2])
    assert_allclose(found.level_share, expected.level_share, rtol=1e-9)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.05)
    with pytest.raises(IncompatibleError, match="'squared' or 'auto' when X is statistics"):
        relatedness(statistics, loss="poisson")
    with pytest.raises(DataError, match="got a value"):
        relatedness(statistics, rows()["y"])


@pytest.mark.slow
def test_the_level_of_relatedness_of_statistics() -> None:
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X, task = rng.normal(size=(200, 4)), np.repeat(np.arange(8), 25)
        W = rng.normal(size=(4, 8))
        y = np.einsum("ij,ji->i", X, W[:, task]) + rng.normal(size=200)
        p_values.append(relatedness(collect(X, y, task), n_permutations=199).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_relatedness_of_a_model_of_statistics() -> None:
    data, weight = given("long")
    found = relatedness(ESTIMATORS["prior"]().fit(collect(*data, **weight)))
    expected = relatedness(ESTIMATORS["prior"]().fit(*data, **weight))
    assert_allclose(found.similarity, expected.similarity, atol=1e-6)


def test_what_cannot_be_held_out_is_refused() -> None:
    r = rows()
    data = r["X"], r["y"], r["task"]
    with pytest.raises(DataError, match="collect them with fold="):
        MultiTaskRegressorCV().fit(collect(*data))
    with pytest.raises(ParameterError, match="cv of MultiTaskRegressorCV must be a number"):
        MultiTaskRegressorCV(cv=[([0], [1])]).fit(collect(*data, fold=r["fold"]))
    with pytest.raises(DataError, match="y, task and sample_weight of MultiTaskRegressor"):
        MultiTaskRegressor().fit(collect(*data), r["y"])
    with pytest.raises(DataError, match=r"fold of collect must be as long as X \(240 rows\)"):
        collect(*data, fold=r["fold"][:7])


def test_what_cannot_be_joined_is_refused() -> None:
    r = rows()
    one = collect(r["X"], r["y"], r["task"])
    with pytest.raises(IncompatibleError, match="columns are the same; got 4 and 2"):
        one + collect(r["X"][:, :2], r["y"], r["task"])
    with pytest.raises(IncompatibleError, match="forms are the same"):
        one + collect(r["X"], r["Y"])
    with pytest.raises(IncompatibleError, match="where the targets are the same"):
        collect(r["X"], r["Y"]) + collect(r["X"], r["Y"][:, :2])
    table = pd.DataFrame({"size": [1.0, np.nan, 3.0], "age": 1.0})
    other = pd.DataFrame({"size": [5.0, np.nan, 5.0], "age": 2.0})
    one = collect(table, [1.0, 2.0, 3.0])
    sentence = (
        "Column 'size' was encoded differently .* missing cells as 2 and .* missing cells as 5"
    )
    with pytest.raises(IncompatibleError, match=sentence):
        one + collect(other, [1.0, 2.0, 3.0])
    with pytest.raises(IncompatibleError, match=r"Column 'size' .* as a number, .* indicators"):
        one + collect(pd.DataFrame({"size": list("aba"), "age": 2.0}), [1.0, 2.0, 3.0])
    with pytest.raises(IncompatibleError, match="columns are the same"):
        one + collect(table[["size"]], [1.0, 2.0, 3.0])
    with pytest.raises(IncompatibleError, match="the feature 'colour=red', which these lack"):
        collect(pd.DataFrame({"colour": list("aba")}), [1.0, 2.0, 3.0]) - collect(
            pd.DataFrame({"colour": ["a", "red", "a"]}), [1.0, 2.0, 3.0]
        )


def test_what_is_no_part_cannot_be_taken_away() -> None:
    r = rows()
    few = collect(r["X"][:50], r["y"][:50], r["task"][:50])
    with pytest.raises(DataError, match="only rows that are part of the statistics"):
        few - collect(r["X"], r["y"], r["task"])
    with pytest.raises(DataError, match="'z', which these lack"):
        few - collect(r["X"], r["y"], np.full(240, "z"))
    wild = collect(100 * r["X"][:9], r["y"][:9], r["task"][:9])
    with pytest.raises(DataError, match="are not part of these statistics"):
        few - wild


def test_new_tasks_join_in_the_order_of_fit() -> None:
    r = rows()
    parts = [r["task"] == "c", r["task"] != "c"]
    joined = sum(collect(r["X"][p], r["y"][p], r["task"][p]) for p in parts)
    assert joined.tasks == ("a", "b", "c")
    model = ESTIMATORS["rows"]().fit(joined)
    assert_alike(model, ESTIMATORS["rows"]().fit(r["X"], r["y"], r["task"]))


def test_columns_that_a_task_lacks_stay_away() -> None:
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqrs"))
    parts = {t: (table[r["task"] == t], r["y"][r["task"] == t]) for t in ("a", "b", "c")}
    parts["c"] = (parts["c"][0][["p", "q", "r"]], parts["c"][1])
    expected = ESTIMATORS["rows"]().fit(parts)
    model = ESTIMATORS["rows"]().fit(collect(parts))
    assert_alike(model, expected)
    assert model.coef_[2, 3] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_stand_for_statistics_have_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 60)), int(rng.integers(1, 9))
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 10.0 ** rng.integers(-2, 4, size=d)
    X[:, 0] = 3.0
    y, weight = rng.normal(size=n), rng.uniform(0.1, 3.0, size=n)
    made = collect(X, y, sample_weight=weight).to_task_data()
    assert made.n_rows <= min(d + 2, n)
    assert made.sample_weight is not None
    for data in (TaskData.from_long(X, y, sample_weight=weight), made):
        Z = np.column_stack([data.X, data.y])
        share = data.sample_weight / data.sample_weight.sum()
        mean = share @ Z
        second = (Z - mean).T @ (share[:, None] * (Z - mean))
        if data is not made:
            expected = data.sample_weight.sum(), mean, second
    assert made.sample_weight.sum() == pytest.approx(expected[0], rel=1e-12)
    assert_allclose(mean, expected[1], rtol=1e-12, atol=1e-12)
    # Rounding is that of a column's spread, and of its mean where that dwarfs the spread.
    spread = np.sqrt(np.diagonal(expected[2]))
    size = 1e-6 * spread + 1e-9 * np.abs(mean)
    assert np.all(np.abs(second - expected[2]) <= np.outer(size, size))


def test_statistics_beyond_the_limit_are_refused_before_they_are_made() -> None:
    X = sp.csr_array((3, 40_000))
    with pytest.raises(DataError, match="more than 3e\\+08"):
        collect(X, [1.0, 2.0, 3.0], [0, 0, 1])


def mixed_table() -> pd.DataFrame:
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqrs"))
    table["colour"] = np.array(["red", "blue", "green"])[np.repeat([0, 1, 2], [60, 60, 120])]
    table.loc[60:200:7, "p"] = np.nan
    return table.assign(
        site=r["task"], y=r["y"], weight=r["weight"], fold=r["fold"], id=range(240)
    )


@pytest.mark.parametrize("source", ["file", "folder", "function"])
def test_a_table_in_parts_is_the_table(source: str, tmp_path) -> None:
    table = mixed_table()
    given: Any = tmp_path / "table.parquet"
    match source:
        case "file":
            table.to_parquet(given)
        case "folder":
            given = tmp_path
            table[:100].to_parquet(tmp_path / "a.parquet")
            table[100:].to_parquet(tmp_path / "b.parquet")
        case _:
            given = lambda: (table[a : a + 70] for a in range(0, 240, 70))  # noqa: E731
    roles = {"task_column": "site", "sample_weight": "weight", "fold": "fold", "drop": ["id"]}
    found = collect_parts(given, "y", part_rows=70, **roles)
    X = table.drop(columns=["y", "weight", "fold", "id"])
    # What is missing is filled by the mean of the medians of the parts.
    encoder = found.encoder
    medians = [part["p"].median() for _, part in table.groupby(np.arange(240) // 70)]
    if source == "folder":
        assert abs(encoder._codes[0].fill - table["p"].median()) < 0.5
    else:
        expected = np.average(medians, weights=[70, 70, 70, 30])
        assert encoder._codes[0].fill == pytest.approx(expected)
    whole = collect(X, table["y"], task_column="site", sample_weight=table["weight"],
                    fold=table["fold"], encoder=encoder)  # fmt: skip
    assert repr(found) == repr(whole)
    model, same = (ESTIMATORS["rows"]().fit(s) for s in (found, whole))
    assert_alike(model, same)
    assert_array_equal(model.feature_names_in_, same.feature_names_in_)
    with_own = collect_parts(given, "y", part_rows=50, encoder=encoder, **roles)
    assert_alike(ESTIMATORS["rows"]().fit(with_own), same)


def test_targets_in_parts_are_the_targets(tmp_path) -> None:
    r = rows()
    table = pd.DataFrame(r["X"], columns=list("pqrs"))
    names = ["u", "v", "w"]
    table[names] = with_gaps(r["Y"])
    table.to_feather(tmp_path / "table.feather")
    found = collect_parts(tmp_path / "table.feather", names, part_rows=100)
    model = ESTIMATORS["rows"]().fit(found)
    assert_alike(model, ESTIMATORS["rows"]().fit(table[list("pqrs")], table[names]))
    assert model.tasks_.tolist() == names


def test_sources_that_cannot_be_read_in_parts_are_refused(tmp_path) -> None:
    table = mixed_table()
    table.to_parquet(tmp_path / "table.parquet")
    with pytest.raises(DataError, match="no column 'price'"):
        collect_parts(tmp_path / "table.parquet", "price")
    with pytest.raises(DataError, match=r"no column 'sit'. Did you mean 'site'\?"):
        collect_parts(tmp_path / "table.parquet", "y", task_column="sit")
    with pytest.raises(DataError, match="There is no file or folder"):
        collect_parts(tmp_path / "none.parquet", "y")
    (tmp_path / "table.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"cannot be read as Parquet, Arrow or Feather"):
        collect_parts(tmp_path / "table.xlsx", "b")
    whole = (tmp_path / "table.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.parquet' cannot be read"):
        collect_parts(tmp_path / "cut.parquet", "y")
    with pytest.raises(ParameterError, match="source of collect_parts must be a path"):
        collect_parts(table, "y")
    with pytest.raises(DataError, match="has no rows"):
        collect_parts(lambda: [], "y")
    with pytest.raises(DataError, match=r"Column 'word' has 240 different values, more than 30"):
        collect_parts(lambda: [table.assign(word=[f"w{k}" for k in range(240)])], "y")


def test_words_are_no_targets() -> None:
    with pytest.raises(DataError, match="y of collect must be numbers"):
        collect(np.eye(3), ["a", "b", "c"])
