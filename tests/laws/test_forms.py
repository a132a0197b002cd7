"""The same problem in any form, order or container is the same data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from polytask.data import Form, TaskData

SEEDS = st.integers(0, 2**32 - 1)


def problem(seed, n_tasks=4):
    """Rows whose outcome says which row they are, so that sets of rows can be compared."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    X = rng.normal(size=(n, 3))
    return X, np.arange(n, dtype=float), rng.integers(n_tasks, size=n), rng.random(n) + 0.1


def rows_of(data):
    """Return what each task holds, whatever the order of its rows."""
    held = {}
    for t, task in enumerate(data.tasks):
        where = data.task_slice(t)
        order = np.argsort(data.y[where], kind="stable")
        X = data.X[where]
        X = X.toarray() if sp.issparse(X) else np.asarray(X)
        held[task] = np.column_stack([X, data.y[where], data.sample_weight[where]])[order]
    return held


def assert_same_rows(first, second):
    one, two = rows_of(first), rows_of(second)
    assert list(one) == list(two)
    for task, values in one.items():
        np.testing.assert_array_equal(values, two[task])


@given(SEEDS)
def test_order_leads_back_to_the_input(seed):
    X, y, task, weight = problem(seed)
    data = TaskData.from_long(X, y, task, weight)
    np.testing.assert_array_equal(np.sort(data.order), np.arange(len(y)))
    np.testing.assert_array_equal(data.X, X[data.order])
    np.testing.assert_array_equal(data.y, y[data.order])
    np.testing.assert_array_equal(data.sample_weight, weight[data.order])
    labels = np.array(data.tasks)[data.row_tasks()]
    np.testing.assert_array_equal(labels, task[data.order])
    for t in range(data.n_tasks):  # stable: rows of a task stay in the order of the input
        assert np.all(np.diff(data.order[data.task_slice(t)]) > 0)


@given(SEEDS)
def test_permuted_rows_are_the_same_data(seed):
    X, y, task, weight = problem(seed)
    shuffled = np.random.default_rng(seed).permutation(len(y))
    first = TaskData.from_long(X, y, task, weight)
    second = TaskData.from_long(X[shuffled], y[shuffled], task[shuffled], weight[shuffled])
    assert_same_rows(first, second)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_allclose(first.task_counts(), second.task_counts())


@given(SEEDS)
def test_long_and_separate_hold_the_same(seed):
    X, y, task, weight = problem(seed)
    labels = list(dict.fromkeys(task.tolist()))
    tasks = {label: (X[task == label], y[task == label]) for label in labels}
    weights = {label: weight[task == label] for label in labels}
    separate = TaskData.from_tasks(tasks, sample_weight=weights)
    long = TaskData.from_long(X, y, task, weight)
    assert_same_rows(long, separate)
    np.testing.assert_array_equal(long.X, separate.X)
    np.testing.assert_array_equal(long.offsets, separate.offsets)
    below = np.concatenate([y[task == label] for label in labels])
    np.testing.assert_array_equal(below[separate.order], separate.y)


@given(SEEDS)
def test_targets_become_long(seed):
    rng = np.random.default_rng(seed)
    n, n_tasks = int(rng.integers(2, 20)), 3
    X, weight = rng.normal(size=(n, 2)), rng.random(n) + 0.1
    Y = np.where(rng.random((n, n_tasks)) < 0.4, np.nan, rng.normal(size=(n, n_tasks)))
    Y[0] = 1.0
    rows, tasks = np.nonzero(~np.isnan(Y))
    targets = TaskData.from_targets(X, Y, weight)
    long = targets.to_long()
    assert long.form is Form.LONG
    assert_same_rows(TaskData.from_long(X[rows], Y[rows, tasks], tasks, weight[rows]), long)
    np.testing.assert_allclose(long.task_counts(), targets.task_counts())
    np.testing.assert_array_equal(long.task_rows(), targets.task_rows())
    np.testing.assert_array_equal(X[long.order], long.X)
    assert long.to_long() is long


@given(SEEDS)
def test_sparse_and_dense_hold_the_same(seed):
    X, y, task, weight = problem(seed)
    X = np.where(X > 0, X, 0.0)
    dense = TaskData.from_long(X, y, task, weight)
    for make in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        sparse = TaskData.from_long(make(X), y, task, weight)
        assert isinstance(sparse.X, sp.csr_array)
        np.testing.assert_array_equal(sparse.X.toarray(), dense.X)
    tasks = {t: (sp.csr_array(X[task == t]), y[task == t]) for t in np.unique(task)}
    separate = TaskData.from_tasks(tasks)
    assert isinstance(separate.X, sp.csr_array)
    np.testing.assert_array_equal(separate.X.toarray(), dense.X)


@given(SEEDS)
def test_all_libraries_hold_the_same(seed):
    X, y, task, weight = problem(seed)
    expected = TaskData.from_long(X, y, task, weight)
    columns = {"a": X[:, 0], "y": y, "b": X[:, 1], "task": task, "c": X[:, 2]}
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        data = TaskData.from_long(make(columns), "y", "task", weight)
        assert data.feature_names == ("a", "b", "c")
        assert data.tasks == expected.tasks
        assert_same_rows(expected, data.with_X(np.asarray(data.X)))
        np.testing.assert_array_equal(data.order, expected.order)


@given(SEEDS)
def test_rows_of_rows(seed):
    X, y, task, weight = problem(seed)
    rng = np.random.default_rng(seed)
    data = TaskData.from_long(X, y, task, weight)
    first = rng.permutation(data.n_rows)[: rng.integers(1, data.n_rows + 1)]
    some = data.rows(first)
    assert some.tasks == data.tasks
    np.testing.assert_array_equal(np.sort(some.order), np.sort(data.order[first]))
    np.testing.assert_array_equal(some.X, X[some.order])
    np.testing.assert_array_equal(np.array(data.tasks)[some.row_tasks()], task[some.order])
    second = rng.integers(some.n_rows, size=5)
    np.testing.assert_array_equal(some.rows(second).y, y[some.rows(second).order])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_and_sorted_rows_are_not_copied(dtype):
    X = np.arange(12, dtype=dtype).reshape(6, 2)
    y = np.arange(6, dtype=dtype)
    task = [0, 0, 1, 1, 1, 2]
    for data in (TaskData.from_long(X, y, task), TaskData.from_targets(X, y[:, None])):
        assert data.X.dtype == data.y.dtype == dtype
        assert np.shares_memory(data.X, X)
        assert np.shares_memory(data.y, y)
    shuffled = TaskData.from_long(X, y, task[::-1])
    assert shuffled.X.dtype == dtype
    assert not np.shares_memory(shuffled.X, X)
    assert TaskData.from_tasks({"a": (X, y)}).X is X
    both = TaskData.from_tasks({"a": (X, y), "b": (X, y)})
    assert both.X.dtype == dtype
    assert TaskData.from_tasks({"a": X, "b": X.astype(np.float64)}).X.dtype == np.float64
    sparse = TaskData.from_long(sp.csr_array(X), y, task)
    assert sparse.X.dtype == dtype
    assert TaskData.from_long(sp.csr_array(X), y, task[::-1]).X.dtype == dtype


def test_sorted_sparse_rows_are_not_copied():
    X = sp.csr_array(np.eye(6))
    assert np.shares_memory(
        TaskData.from_long(X, np.arange(6.0), [0, 0, 1, 1, 1, 2]).X.data, X.data
    )
