"""The subsample that puts candidates in order, and ends none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from polytask import AutoMultiTaskRegressor
from polytask.data import LeaveTasksOut, TaskData, WithinTasks
from polytask.selection.auto import fitting, pilot
from polytask.selection.auto.pilot import in_order, subsample
from polytask.selection.auto.trying import CandidateFits


def data(tasks, rows):
    rng = np.random.default_rng(0)
    return TaskData.from_long(
        rng.standard_normal((tasks * rows, 2)),
        rng.standard_normal(tasks * rows),
        np.repeat(np.arange(tasks), rows),
    )


def test_small_tasks_are_taken_whole_and_large_ones_in_proportion():
    small, large = data(1000, 10), data(4, 2500)
    for given in (small, large):
        split = next(iter(WithinTasks(5).split(given)))
        train, test = subsample(given, split, 0)
        assert abs(len(train) - 4000) <= 8
        assert_allclose(len(test) / len(train), 0.25, rtol=0.02)
        assert set(train) <= set(split[0])
        assert set(test) <= set(split[1])
        rows = np.bincount(np.repeat(np.arange(given.n_tasks), given.task_rows())[train])
        if given is small:
            assert set(rows) == {0, 8}
        else:
            assert_allclose(rows, 1000, rtol=0.1)
    # Where whole tasks are held out, those are none of the tasks that are learned from.
    train, test = subsample(small, next(iter(LeaveTasksOut(5).split(small))), 0)
    assert len(train) == pytest.approx(4000, abs=10)
    assert len(test) == pytest.approx(1000, rel=0.05)


def test_the_best_come_first_and_what_is_not_known_last():
    assert in_order([4, 2, 0, 1, 3], {0: 2.0, 1: 0.5, 3: 1.0}) == [4, 1, 3, 0, 2]


@pytest.mark.slow
def test_a_subsample_orders_candidates_and_ends_none(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((240, 3)), np.repeat(np.arange(6), 40)
    y = X @ [1.0, -1.0, 0.5] + rng.standard_normal(6)[task] + rng.standard_normal(240)
    asked = ["separate", "pooled", "task means", "learned prior", "near the mean"]
    alone = AutoMultiTaskRegressor(asked, cv=3).fit(X, y, task=task)
    monkeypatch.setattr(fitting, "MANY_ROWS", 200)
    monkeypatch.setattr(pilot, "_ROWS", 100)
    orders = []

    def kept(running, losses):
        orders.append((in_order(running, losses), losses))
        return orders[-1][0]

    monkeypatch.setattr("polytask.selection.auto.trying.in_order", kept)
    made = AutoMultiTaskRegressor(asked, cv=3, time_budget=600, journal=tmp_path / "j")
    assert_array_equal(
        made.fit(X, y, task=task).predict(X, task=task), alone.predict(X, task=task)
    )
    order, losses = orders[0]
    # The worst on a few rows is tried last, and is in the leaderboard as without a subsample.
    assert asked[order[-1]] in ("task means", "pooled")
    assert len(losses) == len(asked)
    assert_allclose(made.leaderboard().score, alone.leaderboard().score)
    # A run that goes on has the same order.
    made.fit(X, y, task=task)
    assert orders[1] == orders[0]


@pytest.mark.parametrize(("tasks", "first"), [(6, "separate"), (250, "pooled")])
def test_one_model_for_all_of_many_tasks_is_fitted_before_one_of_each(monkeypatch, tasks, first):
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((8 * tasks, 2)), np.repeat(np.arange(tasks), 8)
    y = X[:, 0] + rng.standard_normal(len(X))
    begun = []

    def kept(fits, running, fold, bar):
        begun.extend(fits.entries[place].name for place in running)
        return round_(fits, running, fold, bar)

    round_ = CandidateFits._round
    monkeypatch.setattr(CandidateFits, "_round", kept)
    AutoMultiTaskRegressor(["learned prior", "separate", "pooled"], cv=2).fit(X, y, task=task)
    assert begun[0] == first
    assert begun[2] == "learned prior"
