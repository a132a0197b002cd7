"""Rows that are copies of others are named: they make results look surer than they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polytask._estimator.data_checks import data_warnings
from polytask.data import TaskData


def _said(X, y, task):
    said = data_warnings(TaskData.from_long(X, y, task), "compare", allow_leak=False)
    return [sentence for sentence in map(str, said) if "repeat" in sentence]


def _rows(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, X.sum(axis=1) + rng.standard_normal(n)


@pytest.mark.parametrize("task", [np.arange(120) % 4, np.repeat([0, 1], 60)])
def test_copies_within_a_task_and_across_tasks_are_counted(task):
    X, y = _rows()
    (sentence,) = _said(np.vstack([X, X]), np.tile(y, 2), task)
    assert "60 of 120 rows" in sentence


@pytest.mark.parametrize("kind", ["whole numbers", "classes", "names", "targets"])
def test_copies_are_counted_whatever_the_target_is(kind):
    X, y = _rows()
    X = pd.DataFrame(X, columns=list("abc"))
    X.loc[::7, "b"] = np.nan
    whole = np.rint(3 * y).astype(int)
    targets = np.column_stack([y, np.where(y > 0, y, np.nan)])
    Y = {"whole numbers": whole, "classes": (y > 0).astype(int),
         "names": np.where(y > 0, "ill", "well"), "targets": targets}[kind]  # fmt: skip
    both = np.concatenate([Y, Y])
    if kind == "targets":
        data = TaskData.from_targets(pd.concat([X, X]), both)
        said = [str(one) for one in data_warnings(data, "compare", allow_leak=False)]
        assert sum("60 of 120 rows repeat" in one for one in said) == 1
        return
    (sentence,) = _said(pd.concat([X, X]), both, np.arange(120) % 4)
    assert "60 of 120 rows" in sentence


def test_rows_that_are_alike_by_chance_are_passed():
    rng = np.random.default_rng(2)
    task, age, sex = rng.integers(0, 6, 1200), rng.integers(20, 60, 1200), rng.integers(0, 2, 1200)
    # Few columns of few values.
    ill = (age + rng.normal(0, 20, 1200) > 60).astype(int)
    assert not _said(np.column_stack([age, sex]).astype(float), ill, task)
    # Columns that are the same in all rows of a task: marks in a school.
    schools = rng.standard_normal((6, 3))[task]
    assert not _said(schools, rng.integers(0, 40, 1200), task)
    # Rows that only a column of text tells apart.
    X, y = _rows()
    table = pd.DataFrame(np.vstack([X, X]), columns=list("abc"))
    task = np.arange(120) % 4
    assert _said(table, np.tile(y, 2), task)
    assert not _said(table.assign(seed=np.repeat(["oats", "rye"], 60)), np.tile(y, 2), task)


def test_honest_rows_are_passed():
    X, y = _rows(120)
    task = np.arange(120) % 4
    assert not _said(X, y, task)
    # A visit or two that was entered twice.
    assert not _said(np.vstack([X, X[:2]]), np.append(y, y[:2]), np.append(task, task[:2]))
    # Answers on short scales are often equal.
    rng = np.random.default_rng(1)
    answers = rng.integers(1, 4, (400, 2)).astype(float)
    assert not _said(answers, rng.integers(1, 6, 400).astype(float), np.arange(400) % 5)
    assert not _said(answers, rng.integers(1, 60, 400).astype(float), np.arange(400) % 5)


def test_small_cells_beside_large_ones_tell_rows_apart():
    X, y = _rows(120)
    task = np.arange(120) % 4
    # Identifiers of 60 bits, and a cell that is far off.
    assert not _said(np.column_stack([X, 2.0**60 + np.arange(120)]), y, task)
    assert not _said(np.column_stack([X, np.full(120, 1e30)]), y, task)
    # 0.0 and -0.0 are the same cell.
    signed = np.column_stack([X, np.zeros(120)])
    both = np.vstack([signed, np.column_stack([X, np.full(120, -0.0)])])
    assert _said(both, np.tile(y, 2), np.arange(240) % 4)


def test_copies_that_groups_keep_together_are_passed():
    X, y = _rows()
    data = TaskData.from_long(np.vstack([X, X]), np.tile(y, 2), np.arange(120) % 4)
    said = map(str, data_warnings(data, "compare", allow_leak=False, grouped=True))
    assert not [sentence for sentence in said if "repeat" in sentence]


def test_copies_of_few_values_within_tasks_are_named():
    rng = np.random.default_rng(0)
    n = 360
    X = np.column_stack(
        [rng.integers(0, 2, n), rng.normal(18, 5, n).round(), rng.integers(0, 3, n)]
    )
    y = (X @ [5.0, 1.0, 2.0] + rng.normal(0, 4, n)).round()
    task = rng.integers(0, 6, n).astype(str)
    assert _said(X, y, task) == []
    (said,) = _said(np.tile(X, (3, 1)), np.tile(y, 3), np.tile(task, 3))
    assert said.startswith("7")
