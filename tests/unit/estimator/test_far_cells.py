"""Cells that drown the others of their column."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from polytask import MultiTaskRegressor, compare
from polytask._estimator.far_cells import warn_of_far_cells
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
