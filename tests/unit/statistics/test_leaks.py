"""Sums over rows tell of copies of the target, of which exact lines are certain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polytask import DataError
from polytask.statistics import TaskStatistics, collect
from polytask.statistics.leaks import leak_warnings


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    task = np.arange(120) % 3
    X, weight = rng.normal(size=(120, 3)) + 50.0, rng.uniform(0.5, 2.0, 120)
    return X, X[:, 0] + 0.1 * rng.normal(size=120) + task, task, weight


def given(form: str, X: np.ndarray, y: np.ndarray, task: np.ndarray, weight: np.ndarray) -> Any:
    """Collect in two parts with two folds each."""

    def part(kept: np.ndarray) -> TaskStatistics:
        fold = np.arange(kept.sum()) % 2
        if form == "targets":
            Y = np.column_stack([y, np.where(task == 1, np.nan, -y)])
            return collect(X[kept], Y[kept], sample_weight=weight[kept], fold=fold)
        return collect(X[kept], y[kept], task[kept], sample_weight=weight[kept], fold=fold)

    first = np.arange(120) < 70
    return part(first) + part(~first)


@pytest.mark.parametrize("form", ["long", "targets"])
@pytest.mark.parametrize("factor", [1e-6, -3.0, 1e9])
def test_a_line_in_all_rows_is_refused_by_name(form, factor):
    X, y, task, weight = rows()
    X[:, 1] = factor * y + 1e3 * factor
    found = given(form, X, y, task, weight)
    with pytest.raises(DataError, match=r"all has the target among .*column 1 equals the target"):
        leak_warnings(found, "all", allow_leak=False)
    said = leak_warnings(found, "all", allow_leak=True)
    assert "leave it out of what is collected" in str(said[0])
    assert "in all rows" in str(said[0])


def test_a_line_within_every_task_is_refused_and_within_some_it_is_said():
    X, y, task, weight = rows()
    lines = (1.0 + task) * y + 10.0 * task
    X[:, 1] = lines
    with pytest.raises(DataError, match=r"column 1 equals the target .* within every task"):
        leak_warnings(given("long", X, y, task, weight), "all", allow_leak=False)
    X[:, 1] = np.where(task == 2, lines, X[:, 2])
    (said,) = leak_warnings(given("long", X, y, task, weight), "all", allow_leak=False)
    assert "in 1 of 3 tasks (2)" in str(said)


def test_near_copies_and_two_values_are_not_refused():
    X, y, task, weight = rows()
    X[:, 1] = y + 1e-4 * X[:, 2]
    assert leak_warnings(given("long", X, y, task, weight), "all", allow_leak=False) == ()
    y = np.asarray(X[:, 2] > 50, dtype=float)
    X[:, 1] = y
    (said,) = leak_warnings(given("long", X, y, task, weight), "all", allow_leak=False)
    assert "equals the target" in str(said)
    X[:, 1], constant = 7.0, np.full(120, 2.0)
    assert leak_warnings(given("long", X, constant, task, weight), "all", allow_leak=False) == ()


def test_few_rows_prove_nothing():
    X, y, _, _ = rows()
    assert leak_warnings(collect(X[:2], y[:2]), "all", allow_leak=False) == ()
    assert leak_warnings(collect(X[:12], y[:12], np.arange(12) % 6), "", allow_leak=False) == ()
