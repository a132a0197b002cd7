"""Cells that drown the others of their column."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from polytask import MultiTaskRegressor, compare
from polytask._estimator.data_checks import data_warnings
from polytask._estimator.far_cells import decisive_cells, warn_of_far_cells
from polytask._estimator.training import encode_training
from polytask.data import TaskData
from polytask.exceptions import DataError, DataWarning


def rows(value: float = 1e50):
    """Thirty rows of two tasks that alternate; cell (4, 1) is far."""
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((30, 3)), np.tile(["b", "a"], 15)
    X[4, 1] = value
    return X, rng.standard_normal(30), task


def said(data: TaskData) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_far_cells(encode_training(data)[0])
    assert all(one.category is DataWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_column_and_row_are_those_of_the_input(kind):
    X, y, task = rows()
    (text,) = said(TaskData.from_long(kind(X), y, task))
    assert text.startswith("Column 1 of X holds 1e+50 in row 4, counting from 0, where")
    assert text.count(". ") == 1


def test_tables_by_name_and_separate_tasks_by_their_rows():
    X, y, task = rows(-1e300)
    table = pd.DataFrame(X, columns=["age", "size", "dose"]).assign(colour="red")
    (text,) = said(TaskData.from_long(table, y, task))
    assert text.startswith("Column 'size' of X holds -1e+300 in row 4")
    parts = {label: (X[task == label], y[task == label]) for label in ("b", "a")}
    (text,) = said(TaskData.from_tasks(parts))
    assert "row 2 of task 'b', counting from 0" in text


def test_targets_too():
    X, y, task = rows(0.0)
    y[9] = 1e40
    (text,) = said(TaskData.from_long(X, y, task))
    assert text.startswith("The target holds 1e+40 in row 9")
    (text,) = said(TaskData.from_targets(X, np.column_stack([X[:, 0], y])))
    assert text.startswith("The target 1 holds 1e+40 in row 9")


@pytest.mark.parametrize("value", [1e12, 1e15])
def test_large_cells_that_leave_others_their_digits_are_no_matter(value):
    X, y, task = rows(value)
    assert said(TaskData.from_long(X, y, task)) == []
    moments = 1.7e18 + 1e9 * np.arange(30.0)
    assert said(TaskData.from_long(np.column_stack([X, moments]), y, task)) == []


def test_gaps_in_arrays_hide_nothing():
    X, y, task = rows()
    X[0] = np.nan
    data = TaskData.from_long(np.zeros_like(X), y, task)
    (text,) = said(replace(data, X=X[data.order]))
    assert "in row 4" in text


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_what_is_refused_is_named_by_its_place(kind):
    X, y, task = rows(1e300)
    with pytest.raises(DataError, match=r"got 1e\+300 \(column 1, row 4, counting from 0\)"):
        compare(kind(X), y, task=task, quick=True)
    with pytest.raises(DataError, match=r"got 1e\+300 \(column 'x1', row 4, counting from 0\)"):
        MultiTaskRegressor().fit(pd.DataFrame(X).add_prefix("x"), y, task=task)
    y[9] = 1e200
    with pytest.raises(DataError, match=r"got 1e\+200 \(target 'b', row 9, counting from 0\)"):
        MultiTaskRegressor().fit(X[:, :1], pd.DataFrame({"a": -y / 1e99, "b": y}))
    with pytest.raises(DataError, match=r"y of .* got 1e\+200 \(row 9, counting from 0\)"):
        MultiTaskRegressor().fit(np.zeros((30, 1)), y, task=task)


def decided(X, y, task=None):
    data = TaskData.from_targets(X, y) if np.ndim(y) == 2 else TaskData.from_long(X, y, task)
    return [
        text for text in map(str, data_warnings(data, "f", allow_leak=True)) if " holds " in text
    ]


def prices(n=400):
    rng = np.random.default_rng(0)
    X = np.column_stack([np.round(rng.lognormal(3, 0.7, n), 2), rng.integers(18, 90, n)])
    return X.astype(float), np.round(rng.normal(50, 10, n), 1), np.tile(np.arange(4), n // 4)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, sp.csr_array])
def test_a_cell_that_decides_its_column_is_named(kind):
    X, y, task = prices()
    X[17, 0] = 999999
    usual = np.delete(X[:, 0], 17)
    X = pd.DataFrame(X, columns=["0", "1"]) if kind is pd.DataFrame else kind(X)
    (text,) = decided(X, y, task)
    name = "'0'" if kind is pd.DataFrame else "0"
    assert text == (
        f"Column {name} of X holds 999999 in row 17, counting from 0, where all other cells lie "
        f"between {usual.min():.7g} and {usual.max():.7g}: that one cell makes up 99.9% of the "
        "variation, and so decides what is learned and how it is scored. Correct it, or leave "
        "that row out."
    )


def test_codes_of_missing_cells_and_targets():
    X, y, task = prices()
    X[[3, 90, 200], 1] = 9999
    y[5] = 1e6
    target, ages = decided(X, y, task)
    assert all(f"9999 in row {row}" in ages for row in (3, 90, 200))
    assert "those 3 cells make up" in ages
    assert target.startswith("The target holds 1000000 in row 5, counting from 0")
    (target, _) = decided(X, np.column_stack([X[:, 0] + X[:, 1] % 7, y]))
    assert target.startswith("The target 1 holds 1000000 in row 5")


def test_many_columns_are_counted():
    rng = np.random.default_rng(0)
    X, y, task = rng.standard_normal((200, 30)), rng.standard_normal(200), np.arange(200) % 4
    X[9] = 1e6
    found = data_warnings(TaskData.from_long(X, y, task), "f", allow_leak=False)
    texts = [str(one) for one in found]
    assert len(texts) == 6
    assert texts[-1] == "25 more columns hold cells that far off."


HONEST = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, n),
    "counts": lambda rng, n: rng.negative_binomial(0.2, 0.02, n),
    "rare counts": lambda rng, n: rng.poisson(0.05, n),
    "rare amounts": lambda rng, n: (rng.random(n) < 0.1) * rng.lognormal(0, 1.5, n),
    "rare signs": lambda rng, n: rng.random(n) < 0.01,
    "constant": lambda rng, n: np.ones(n),
    "one in a constant": lambda rng, n: np.arange(n) == 7,
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("n", [40, 1000])
def test_heavy_tails_are_honest(name, n):
    rng = np.random.default_rng(5)
    columns = [np.asarray(HONEST[name](rng, n), dtype=float) for _ in range(300)]
    assert [decisive_cells(column) for column in columns] == [None] * 300


def test_a_far_cell_does_not_matter_among_many():
    y = np.random.default_rng(0).normal(50, 10, 100_000)
    y[7] = 999
    assert decisive_cells(y) is None
    y[7] = 1e6
    rows, share = decisive_cells(y)
    assert rows == [7]
    assert share > 0.99


@pytest.mark.parametrize(
    ("column", "value", "decides"), [("y", 1e5, 1), ("x", 1e30, 1), ("x", 1e5, 0)]
)
def test_a_comparison_knows_whether_far_cells_decide_it(column, value, decides):
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal(120), "z": rng.standard_normal(120)}
    data["y"] = data["x"] + data["z"] + rng.standard_normal(120)
    data[column][7] = value
    X, task = np.column_stack([data["x"], data["z"]]), np.repeat(np.arange(4), 30)
    with pytest.warns(DataWarning, match="in row 7"):
        result = compare(X, data["y"], task=task, quick=True, models=["separate", "learned prior"])
    assert result.far_cells == bool(decides)
    assert ("far values" in result.summary().split("\n")[0]) == bool(decides)


@pytest.mark.parametrize(("column", "decides"), [("y", True), ("x", False)])
def test_marks_of_missing_targets_qualify_the_verdict(column, decides):
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal(120)}
    data["y"] = data["x"] + rng.standard_normal(120)
    data[column][::10] = -999
    task = np.repeat(np.arange(4), 30)
    with pytest.warns(DataWarning, match="holds -999 in 12 of 120 rows"):
        result = compare(
            data["x"][:, None],
            data["y"],
            task=task,
            quick=True,
            models=["separate", "learned prior"],
        )
    assert result.far_cells == decides
    assert ("far values" in result.summary().split("\n")[0]) == decides
