"""Copies of the target among the features: found whatever their unit, and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from polytask import MultiTaskRegressor, compare
from polytask._estimator.data_checks import data_warnings
from polytask._estimator.leaks import find_leaks, find_target_copies, half_digit
from polytask._estimator.number_columns import NumberColumns
from polytask.data import TaskData
from polytask.exceptions import DataError, DataWarning


def problem(n_tasks=6, rows=40, seed=0):
    """Return features, target and task: honest data with two decimals, the tasks interleaved."""
    rng = np.random.default_rng(seed)
    n = n_tasks * rows
    X, task = rng.standard_normal((n, 3)), np.tile(np.arange(n_tasks), rows)
    return X, np.round(20 + X @ [3, 2, 1] + rng.standard_normal(n), 2), task


def found(X, y, task=None):
    data = TaskData.from_targets(X, y) if np.ndim(y) == 2 else TaskData.from_long(X, y, task)
    return find_leaks(data, NumberColumns(data))


def beside(X, column):
    return np.column_stack([X, column])


@pytest.mark.parametrize(
    "copy",
    [
        lambda y: y,
        lambda y: -y,
        lambda y: np.round(1.08 * y + 3, 2),
        lambda y: np.round(y * 1.8 + 32, 1),
        lambda y: 1e200 * y,
        lambda y: 1e-200 * y + 3e-199,
        lambda y: (100 * y + 1e6).astype(np.float32),
        lambda y: np.array([float(f"{value:.5g}") for value in 12345.678 * y]),
        lambda y: np.where(np.arange(len(y)) % 12, np.nan, 2 * y),
    ],
)
@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_copies_over_all_rows(copy, table):
    X, y, task = problem()
    columns = beside(X, copy(y)).T
    X = table(dict(zip(["a", "b", "c", "price"], columns, strict=True)))
    (leak,) = found(X, y, task)
    assert (leak.column, leak.within, leak.refused) == ("'price'", False, True)
    assert leak.of == len(y)
    assert leak.rows == int(np.isfinite(columns[3]).sum())


@pytest.mark.parametrize("rows", [3, 40])
def test_copies_within_every_task(rows):
    X, y, task = problem(n_tasks=30, rows=rows)
    factor = np.random.default_rng(1).uniform(1, 9, 30)[task]
    (leak,) = found(beside(X, np.round(factor * y - 7 * factor, 2)), y, task)
    assert (leak.column, leak.within, leak.refused) == ("3", True, True)
    # One task in which it is no copy.
    factor = np.where(task == 4, np.random.default_rng(2).uniform(1, 9, len(y)), factor)
    most = found(beside(X, factor * y), y, task)
    assert [(leak.tasks, leak.refused) for leak in most] == (
        [((tuple(str(k) for k in range(30) if k != 4), 30), False)] if rows == 40 else []
    )


@pytest.mark.parametrize(
    "copy",
    [np.round, np.exp, lambda y: -np.log(y + 100), lambda y: np.round(np.exp(y / 4)), np.floor],
)
def test_rounded_and_transformed_copies_are_named(copy):
    X, y, task = problem()
    (leak,) = found(beside(X, copy(y)), y, task)
    assert (leak.column, leak.by_order, leak.refused) == ("3", True, False)
    (text,) = data_warnings(
        TaskData.from_long(beside(X, copy(y)), y, task), "fit", allow_leak=False
    )
    assert str(text).startswith(
        "Column 3 has the same order as the target in all rows, as a rounded or"
    )


def test_a_copy_in_four_of_five_tasks_is_named():
    X, y, task = problem(n_tasks=5)
    other = np.random.default_rng(1).normal(size=len(y))
    data = TaskData.from_long(beside(X, np.where(task == 3, other, 2 * y)), y, task)
    (text,) = data_warnings(data, "fit", allow_leak=False)
    assert str(text).startswith(
        "Column 3 equals the target up to a factor and a constant in 4 of 5 tasks (0, 1, 2, 4): "
    )


@pytest.mark.parametrize("rows", [12, 40])
def test_a_copy_in_one_task_is_named(rows):
    X, y, task = problem(n_tasks=30, rows=rows)
    other = np.random.default_rng(1).normal(size=len(y)).round(2)
    copy = np.where(task == 17, np.round(2.2 * y, 2), other)
    (leak,) = found(beside(X, copy), y, task)
    assert (leak.column, leak.tasks, leak.refused) == ("3", (("17",), 30), False)
    assert found(beside(X, np.where(task == 17, other, y + other)), y, task) == []


@pytest.mark.parametrize("decimals", [2, 9])
def test_a_target_that_is_a_sum_of_columns_is_named(decimals):
    X, _, task = problem()
    parts = np.random.default_rng(1).lognormal(3, 0.4, (len(X), 2)).round(decimals)
    y = np.round(1.19 * parts[:, 0] + parts[:, 1] + 3, 2)
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(net=parts[:, 0], fee=parts[:, 1])
    data = TaskData.from_long(table, y, task)
    (text,) = data_warnings(data, "fit", allow_leak=False)
    assert str(text).startswith(
        "The sum of the columns 'net', 'fee', each times a factor, plus a constant, is the target,"
    )
    # A sum with something else in it is none.
    assert found(table, y + np.random.default_rng(2).normal(size=len(y)) / 10, task) == []


@pytest.mark.parametrize("marker", [-999, 9999, -9999])
def test_marks_of_missing_cells_are_named(marker):
    X, y, task = problem()
    column = np.where(
        np.arange(len(y)) % 12, np.random.default_rng(1).integers(0, 90, len(y)), marker
    )
    (text,) = data_warnings(
        TaskData.from_long(beside(X, column), y, task), "fit", allow_leak=False
    )
    assert str(text).startswith(
        f"Column 3 holds {marker} in 20 of 240 rows, far from all its other values"
    )
    assert f"missing_values=['{marker}']" in str(text)
    target = np.where(np.arange(240) % 40, y, marker)
    (text,) = data_warnings(TaskData.from_long(X, target, task), "fit", allow_leak=False)
    assert str(text).startswith(f"The target holds {marker} in 6 of 240 rows, far from all its")
    # A number that may be measured is none.
    for honest in (
        np.arange(240.0) % 7 * 1000 + 3999,
        np.where(np.arange(240) == 3, 999, column % 7),
    ):
        given = TaskData.from_long(beside(X, honest), y, task)
        assert not any(
            "missing cells" in str(text) for text in data_warnings(given, "fit", allow_leak=False)
        )


def test_a_class_of_one_row_is_named():
    X, y, task = problem()
    labels = np.where(y > 20, "high", "low").astype(object)
    labels[7] = "odd"
    (text,) = data_warnings(TaskData.from_long(X, labels, task), "fit", allow_leak=False)
    assert str(text).startswith("Class 'odd' has a single row, which is never held out")
    labels[7] = "high"
    assert data_warnings(TaskData.from_long(X, labels, task), "fit", allow_leak=False) == ()


def test_classes_that_look_alike_are_named():
    X, y, task = problem()
    labels = np.where(y > 20, "yes", "no").astype(object)
    labels[:20:2] = ["Yes" if label == "yes" else "no " for label in labels[:20:2]]
    (text,) = data_warnings(
        TaskData.from_long(X, labels, task), "fit", allow_leak=False, target="bought"
    )
    assert str(text).startswith("Some labels of bought look alike but are kept apart: ")
    assert "'Yes' and 'yes'" in str(text)
    assert "'no' and 'no '" in str(text)


def test_a_target_that_the_task_tells_is_named():
    X, _, task = problem()
    for y in (0.1 * task, np.array(["a", "b", "c"], dtype=object)[task % 3]):
        texts = data_warnings(TaskData.from_long(X, y, task), "fit", allow_leak=False)
        assert "The target is the same in all rows of every task" in " ".join(map(str, texts))
    y = 0.1 * task + (np.arange(len(task)) == 7)
    texts = data_warnings(TaskData.from_long(X, y, task), "fit", allow_leak=False)
    assert "every task" not in " ".join(map(str, texts))
    # R2 within such tasks would be a ratio of rounding errors.
    with pytest.warns(DataWarning, match="same in all rows of every task"):
        result = compare(X, 0.1 * task, task=task, quick=True, models=["separate", "pooled"])
    assert not any(np.isfinite(row.metrics["r2_within"]) for row in result.models)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_tasks_with_one_value_or_an_empty_column_are_named(table):
    X, y, task = problem()
    names = np.array([*"abcdef"])[task]
    columns = dict(zip(["x", "hours", "z"], X.T, strict=True))
    text = np.where(names == "e", None, np.where(y > 20, "p", "q"))
    columns |= {"hours": np.where(np.isin(names, ["b", "c", "d"]), np.nan, X[:, 1]), "kind": text}
    y = np.where(names == "a", 60.0, y)

    def said(columns, y):
        data = TaskData.from_long(table(columns), y, names)
        return [str(message) for message in data_warnings(data, "fit", allow_leak=False)]

    constant, empty = said(columns, y)
    assert constant.startswith("The target has one value in all rows of 1 task ('a'), though")
    assert (
        "tasks: 'hours' in task 'b', 'hours' in task 'c', 'hours' in task 'd', and 1 more" in empty
    )
    # One class by chance, in tasks of few rows; a column that no task has.
    rare = np.where(np.arange(len(y)) % 37, "no", "yes")
    assert said({"x": X[:, 0], "gone": np.full(len(y), np.nan)}, rare) == []


def test_two_rows_per_task_prove_nothing():
    X, y, task = problem(n_tasks=100, rows=2)
    assert found(X, y, task) == []


def test_separate_tasks_and_sparse_columns():
    X, y, task = problem()
    wide = beside(X, 2 * y)
    parts = TaskData.from_tasks({t: (wide[task == t], y[task == t]) for t in range(6)})
    assert [leak.column for leak in find_leaks(parts, NumberColumns(parts))] == ["3"]
    y[::2] = 0
    wide = np.where(np.abs(wide) > 1, wide, 0)
    wide[:, 3] = 3 * y
    assert [leak.column for leak in found(sp.csr_array(wide), y, task)] == ["3"]


def test_every_target_has_its_own_copies():
    X, y, _ = problem()
    Y = np.column_stack([X[:, 0] + y, y, X[:, 1] - y])
    Y[::3, 1] = np.nan
    (leak,) = found(beside(X, 5 * y), Y)
    assert (leak.column, leak.target, leak.rows) == ("3", "1", 160)
    data = TaskData.from_targets(X, np.column_stack([Y, 2 - 3 * y]))
    (copy,) = find_target_copies(data)
    assert (copy.column, copy.target) == ("3", "1")


def honest():
    rng = np.random.default_rng(3)
    n, task = 400, np.repeat(np.arange(8), 50)
    x = rng.standard_normal((n, 2))
    people = np.round(rng.lognormal(9, 2, n))
    days = np.tile(np.arange(1.0, 51), 8)
    counter = np.cumsum(rng.integers(0, 2, n)) + 1000.0
    yield "last year", people[:, None], np.round(people * rng.normal(1.01, 0.002, n)), task
    yield "a counter, and one step later", counter[:, None], counter + rng.integers(0, 2, n), task
    yield "two ratings", rng.integers(1, 6, (n, 1)).repeat(2, 1), rng.integers(1, 6, n), task
    yield "near ratings", (counter % 5)[:, None], counter % 5 + rng.integers(0, 2, n), task
    yield "a trend", days[:, None], np.round(3 * days + rng.standard_normal(n) / 4, 1), task
    yield "a strong trend", days[:, None] * 7, 3 * days + 0.3 * rng.random(n).round(3), task
    yield "thermometers", x[:, :1].round(2), (x[:, 0] + 0.02 * x[:, 1]).round(2), task
    yield "constants", np.column_stack([np.ones(n), x]), (x[:, 0] + x[:, 1] ** 2).round(3), task
    yield "a sum, nearly", x.round(2), (x.sum(axis=1) + rng.normal(0, 0.02, n)).round(2), task
    yield "a constant target", x, np.ones(n), task
    yield "a target of the task", x, np.arange(8.0)[task] ** 2, task
    yield "rare events", rng.poisson(0.05, (n, 2)), rng.poisson(0.05, n), task
    yield "signs", (x[:, :1] > 0) ^ (x[:, 1:] > 0), np.where(x[:, 0] * x[:, 1] > 1, "a", "b"), task


@pytest.mark.parametrize(("name", "X", "y", "task"), honest())
def test_honest_tables_are_not_refused(name, X, y, task):
    assert found(np.asarray(X, float), y, task) == [], name


def test_two_counts_that_differ_by_one_are_two_counts():
    rng = np.random.default_rng(0)
    received = rng.integers(0, 5000, 600).astype(float)
    answered = received - rng.integers(0, 2, 600)
    assert found(received[:, None], answered, np.tile(np.arange(6), 100)) == []


def test_few_values_are_named_and_not_refused():
    X, _, task = problem()
    y = np.tile([0.0, 1.0, 2.0, 5.0], 60)
    (leak,) = found(beside(X, 3 * y + 1), y, task)
    assert not leak.refused
    data = TaskData.from_long(beside(X, 3 * y + 1), y, task)
    (text,) = data_warnings(data, "compare", allow_leak=False)
    assert str(text).startswith(
        "Column 3 equals the target up to a factor and a constant, in all rows"
    )


@pytest.mark.parametrize("count", [2, 3, 12])
def test_copies_of_labels(count):
    X, _, task = problem()
    codes = np.random.default_rng(0).permutation(np.arange(240) % count)
    labels = np.array([f"class {code}" for code in codes])
    table = pd.DataFrame(X).add_prefix("x")
    for copy in (codes, -(codes**3), codes.astype(str), pd.Categorical(codes.astype(str))):
        (leak,) = found(table.assign(answer=copy), labels, task)
        assert (leak.column, leak.as_label) == ("'answer'", True)
        # A perfect feature of two classes may be honest, and so may one of few.
        assert leak.refused == (count >= 10)
    other = np.where(np.arange(240) == 7, (codes + 1) % count, codes)
    assert found(table.assign(answer=other), labels, task) == []


def test_a_column_that_tells_one_class_is_named():
    X, _, task = problem()
    classes = np.array(["low", "mid", "high"])[np.random.default_rng(0).integers(0, 3, 240)]
    table = pd.DataFrame(X).add_prefix("x").assign(is_mid=(classes == "mid").astype(int))
    (leak,) = found(table, classes, task)
    assert (leak.column, leak.tells_classes, leak.refused) == ("'is_mid'", True, False)
    data = TaskData.from_long(table, classes, task)
    (text,) = data_warnings(data, "fit", allow_leak=False)
    assert str(text).startswith("Column 'is_mid' has one and the same value in all rows of each")
    # One row that does not agree, and a class of few rows, prove nothing.
    table.loc[int(np.flatnonzero(classes == "mid")[0]), "is_mid"] = 0
    assert found(table, classes, task) == []
    rare = np.where(np.arange(240) < 5, "rare", np.where(classes == "mid", "high", classes))
    assert found(table.assign(is_mid=rare == "rare"), rare, task) == []


def apart(leaks):
    return [(leak.column, leak.by_ranges, leak.auc, leak.refused) for leak in leaks]


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("places", [[20], [17, 20, 23]])
@pytest.mark.parametrize("named", [True, False])
def test_a_number_and_the_classes_made_from_it_are_named(table, places, named):
    X, y, task = problem(rows=500)
    classes = np.digitize(y, places)
    labels = np.array(["d", "b", "a", "c"])[classes] if named else classes
    y = np.where(np.arange(len(y)) % 10, y, np.nan)
    columns = dict(zip("abc", X.T, strict=True))
    (leak,) = found(table({**columns, "score": y}), labels, task)
    assert apart([leak]) == [("'score'", False, 1.0, False)]
    assert (leak.rows, leak.of) == (2700, 3000)
    known = np.isfinite(y)
    grades = table({**{k: v[known] for k, v in columns.items()}, "grade": labels[known]})
    assert apart(found(grades, y[known], task[known])) == [("'grade'", True, 1.0, False)]


def test_classes_made_from_a_number_but_for_few_rows_are_named():
    X, y, task = problem(rows=500)
    labels = np.where(y + np.random.default_rng(1).normal(0, 0.2, len(y)) > 20, "high", "low")
    (leak,) = found(beside(X, y), labels, task)
    assert (leak.column, leak.by_ranges) == ("3", False)
    assert 0.995 < leak.auc < 1
    data = TaskData.from_long(pd.DataFrame({"score": y}), labels, task)
    (text,) = data_warnings(data, "compare", allow_leak=False)
    assert f"apart by thresholds (AUC {leak.auc:.4f}), in all rows" in str(text)
    assert str(text).endswith("leave it out (on the command line with --drop 'score').")


def test_good_features_and_few_rows_of_a_class_prove_no_threshold():
    X, y, task = problem(rows=500)
    labels = np.where(y + np.random.default_rng(1).normal(0, 1, len(y)) > 20, "high", "low")
    grades = pd.DataFrame(X, columns=list("abc")).assign(grade=labels)
    assert found(beside(X, y), labels, task) == found(grades, y, task) == []
    labels = np.where(y > np.sort(y)[-9], "high", "low")
    assert found(beside(X, y), labels, task) == []
    few = slice(0, 18)
    assert found(y[few, None], np.where(y[few] > np.median(y[few]), "a", "b"), task[few]) == []


def test_prices_of_products_are_no_copies():
    product = np.random.default_rng(0).permutation(np.arange(240) % 20)
    price = np.round(np.random.default_rng(1).lognormal(2, 1, 20), 2)[product]
    table = pd.DataFrame({"product": [f"p{k}" for k in product]})
    (leak,) = found(table, price, np.arange(240) % 6)
    assert not leak.refused


def test_half_of_the_last_digit():
    assert half_digit(np.array([1.5, 2.0, 30.25])).tolist() == [0.005] * 3
    assert half_digit(np.array([1.0, 23.0])).tolist() == [0.5, 0.5]
    assert half_digit(np.array([12_000.0, 57_000.0])).tolist() == [500, 500]
    assert half_digit(np.array([1234500.0, 1.2346])) == pytest.approx([50, 5e-5])
    assert half_digit(np.random.default_rng(0).random(50)).max() < 1e-7


def test_compare_refuses_and_allows():
    X, y, task = problem()
    table = pd.DataFrame(beside(X, 2 * y), columns=["a", "b", "c", "price"])
    with pytest.raises(DataError) as refused:
        compare(table, y, task=task, quick=True)
    assert str(refused.value) == (
        "compare has the target among its features: column 'price' equals the target up to a "
        "factor and a constant, in all rows. Scores would say nothing about new rows. Leave it "
        "out, or say allow_leak=True if it is known before the target."
    )
    with pytest.warns(DataWarning, match="Column 'price' equals the target") as said:
        result = compare(
            table, y, task=task, quick=True, models=["separate", "pooled"], allow_leak=True
        )
    assert [str(one.message) for one in said] == [result.diagnostics[0]]
    assert result.lock["call"].endswith("allow_leak=True)")


def test_fit_is_silent():
    X, y, task = problem()
    MultiTaskRegressor().fit(beside(X, 2 * y), y, task=task)


def ids(table, y, task):
    texts = data_warnings(TaskData.from_long(table, y, task), "compare", allow_leak=False)
    return [text.split("'")[1] for text in map(str, texts) if "nearly every row" in text]


def test_row_ids_are_named_and_measurements_are_not():
    X, y, task = problem()
    rng = np.random.default_rng(0)
    n = len(y)
    table = (
        pd.DataFrame(X, columns=["a", "b", "c"])
        .assign(
            row=np.arange(n),
            patient_id=rng.choice(10**6, n, replace=False),
            OrderID=rng.choice(10**6, n, replace=False),
            serial=rng.permutation(n) + 1000.0,
            pupil=rng.permutation(3 * n // 2)[:n],
            income=rng.choice(10**6, n, replace=False),
            week=np.arange(n) // 6,
            age=rng.integers(20, 60, n),
            step=np.arange(n) * 100,
            grid=np.arange(n) / 10,
        )
        .assign(**{"day=days": np.arange(n)})
    )
    assert ids(table, y, task) == ["row", "patient_id", "OrderID", "serial", "pupil"]
    few = pd.DataFrame({"a": X[:25, 0], "code": [f"T{k}" for k in range(25)]})
    assert ids(few, y[:25], task[:25]) == ["code"]
