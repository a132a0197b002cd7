"""Splits: who is held out, and what every task keeps."""

from __future__ import annotations

import dataclasses
import datetime

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

from polytask.data import (
    GroupedRows,
    LeaveTasksOut,
    Splitter,
    TaskData,
    TimeOrdered,
    WithinTasks,
    as_splits,
    train_test_split_tasks,
)
from polytask.exceptions import DataError, IncompatibleError, ParameterError


def long_data(seed=0, n=200, n_tasks=12, y=None):
    rng = np.random.default_rng(seed)
    task = rng.integers(n_tasks, size=n)
    y = rng.normal(size=n) if y is None else rng.choice(y, size=n)
    return TaskData.from_long(rng.normal(size=(n, 2)), y, task)


def targets_data(seed=0, n=60, n_tasks=15, share=0.1):
    rng = np.random.default_rng(seed)
    Y = np.where(rng.random((n, n_tasks)) < share, rng.normal(size=(n, n_tasks)), np.nan)
    Y[0] = 1.0
    return TaskData.from_targets(rng.normal(size=(n, 2)), Y)


def assert_partition(splits, n, always=()):
    tests = np.concatenate([test for _, test in splits])
    assert sorted([*tests, *always]) == list(range(n))
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(n))
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(test) > 0)


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_even_in_every_task_and_over_all(seed):
    data = long_data(seed)
    splits = as_splits(5, data)
    assert_partition(splits, data.n_rows)
    tasks = data.row_tasks()
    per_task = np.array([np.bincount(tasks[test], minlength=12) for _, test in splits])
    assert np.all(np.ptp(per_task, axis=0) <= 1)
    assert np.ptp(per_task.sum(axis=1)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_even_in_every_class_of_a_task(seed):
    data = long_data(seed, y=["u", "v", "w"])
    splits = as_splits(WithinTasks(3, random_state=seed), data)
    cells = data.row_tasks() * 3 + np.unique(data.y, return_inverse=True)[1]
    single = np.flatnonzero(np.bincount(cells)[cells] == 1)
    assert_partition(splits, data.n_rows, single)
    per_cell = np.array([np.bincount(cells[test], minlength=36) for _, test in splits])
    assert np.all(np.ptp(per_cell, axis=0) <= 1)
    for train, _ in splits:
        assert set(cells[train]) == set(cells)


def test_a_task_with_one_row_is_always_trained_on():
    data = TaskData.from_long(np.zeros((7, 1)), np.arange(7.0), [0, 1, 1, 1, 1, 1, 2])
    for train, _ in as_splits(5, data):
        assert {0, 6} <= set(train)
    with pytest.raises(DataError, match="there are 5 among these 7 rows"):
        as_splits(6, data)
    alone = TaskData.from_long(np.zeros((3, 1)), np.arange(3.0), [0, 1, 2])
    with pytest.raises(DataError, match="there are 0 among these 3 rows"):
        as_splits(WithinTasks(1, 0.5), alone)


def test_small_tasks_spread_over_all_folds():
    """Two rows per task, one of each class: each fold gets about half of each class."""
    n_tasks = 400
    y = np.tile(["u", "v"], n_tasks * 2)
    data = TaskData.from_long(np.zeros((4 * n_tasks, 1)), y, np.repeat(np.arange(n_tasks), 4))
    for _, test in as_splits(WithinTasks(4), data):
        assert abs(np.mean(data.y[test] == "u") - 0.5) < 0.1


def test_when_classes_are_spread():
    two = TaskData.from_long(np.zeros((8, 1)), [0, 0, 1, 1] * 2, [0] * 4 + [1] * 4)
    for stratify in (None, True):
        for _, test in as_splits(WithinTasks(2, stratify=stratify), two):
            assert np.bincount(two.row_tasks()[test] * 2 + two.y[test]).tolist() == [1] * 4
    many = TaskData.from_long(np.zeros((1500, 1)), np.arange(1500.0))
    assert len(as_splits(WithinTasks(2), many)[0][0]) == 750
    with pytest.raises(DataError, match="there are 0 among these 1,500 rows"):
        as_splits(WithinTasks(2, stratify=True), many)


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5, 0.9])
def test_random_splits_within_tasks(test_size):
    data = long_data(1)
    tasks = data.row_tasks()
    splits = as_splits(WithinTasks(4, test_size), data)
    assert len(splits) == 4
    assert not np.array_equal(splits[0][1], splits[1][1])
    for train, test in splits:
        assert_partition([(train, test)], data.n_rows, train)
        held = np.bincount(tasks[test], minlength=12)
        assert np.all(np.abs(held - test_size * data.task_rows()) <= 1)
        assert set(tasks[train]) == set(tasks)


def test_random_splits_hold_out_something_and_keep_something():
    data = TaskData.from_long(np.zeros((4, 1)), np.arange(4.0), [0, 0, 1, 1])
    for train, test in as_splits(WithinTasks(20, 0.99), data):
        assert set(data.row_tasks()[train]) == {0, 1}
        assert len(test) == 2
    assert all(len(test) for _, test in as_splits(WithinTasks(20, 0.01), data))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("splitter", [WithinTasks(5), WithinTasks(5, 0.5)])
def test_every_target_keeps_a_label(seed, splitter):
    data = targets_data(seed)
    labelled = data.labelled()
    for train, test in as_splits(splitter, data):
        assert len(train) + len(test) == data.n_rows
        assert labelled[train].any(axis=0).all()


def test_every_class_of_every_target_keeps_a_label():
    rng = np.random.default_rng(0)
    Y = rng.choice(np.array(["u", "v", "w", None], dtype=object), size=(40, 3))
    data = TaskData.from_targets(rng.normal(size=(40, 2)), Y)
    for train, _ in as_splits(WithinTasks(4), data):
        for column in Y.T:
            assert set(column[train]) - {None} == set(column) - {None}


def test_full_targets_give_plain_folds():
    data = TaskData.from_targets(np.zeros((10, 1)), np.random.default_rng(0).random((10, 3)))
    splits = as_splits(5, data)
    assert_partition(splits, 10)
    assert [len(test) for _, test in splits] == [2] * 5


def test_targets_with_a_single_label():
    Y = np.full((6, 2), np.nan)
    Y[:, 0] = range(6)
    Y[3, 1] = 1.0
    splits = as_splits(WithinTasks(5), TaskData.from_targets(np.zeros((6, 1)), Y))
    assert all(3 in train for train, _ in splits)


def test_labels_that_fall_into_one_fold_are_saved():
    # Both labels of target 0 lie in rows whose rarest label is another, so they may fall
    # into one fold.
    Y = np.full((8, 5), np.nan)
    Y[:3, 0] = 1.0
    Y[:, 1] = 1.0
    for row in range(4):
        Y[[row, row + 4], row + 1] = 1.0
    data = TaskData.from_targets(np.zeros((8, 1)), Y)
    for seed in range(30):
        for splitter in (WithinTasks(2, random_state=seed), WithinTasks(2, 0.6, None, seed)):
            for train, _ in splitter.split(data):
                assert data.labelled()[train].any(axis=0).all()


def test_groups_stay_together():
    data = long_data(2)
    groups = np.random.default_rng(0).integers(17, size=data.n_rows)
    splits = as_splits(GroupedRows(groups.tolist(), 4), data)
    assert_partition(splits, data.n_rows)
    for train, test in splits:
        assert not set(groups[data.order][train]) & set(groups[data.order][test])
    assert np.ptp([len(test) for _, test in splits]) < 15
    with pytest.raises(DataError, match="17 groups"):
        as_splits(GroupedRows(groups, 18), data)
    with pytest.raises(DataError, match="as long as the input"):
        as_splits(GroupedRows(groups[:-1], 2), data)


def test_groups_of_some_rows():
    data = long_data(2)
    groups = np.arange(data.n_rows) % 7
    some = data.rows(np.arange(0, data.n_rows, 2))
    for train, test in as_splits(GroupedRows(groups, 3), some):
        assert not set(groups[some.order[train]]) & set(groups[some.order[test]])


@pytest.mark.parametrize(
    "as_time",
    [
        np.asarray,
        lambda t: [datetime.date(2020, 1, 1) + datetime.timedelta(int(day)) for day in t],
        lambda t: pd.Series(pd.to_datetime("2020-01-01") + pd.to_timedelta(t, unit="D")),
        lambda t: pl.Series(np.datetime64("2020-01-01") + t.astype("m8[D]")),
    ],
)
def test_the_past_comes_first(as_time):
    data = long_data(3)
    time = np.random.default_rng(0).integers(40, size=data.n_rows)
    splits = as_splits(TimeOrdered(as_time(time), 4), data)
    assert len(splits) == 4
    last = -1
    for train, test in splits:
        assert time[data.order][train].max() < time[data.order][test].min()
        assert time[data.order][test].min() > last
        last = time[data.order][test].max()
        assert 20 < len(test) < 60
    assert last == 39


def test_time_with_ties_and_sizes():
    data = TaskData.from_long(np.zeros((10, 1)), np.arange(10.0))
    (train, test), *_ = as_splits(TimeOrdered(np.arange(10), 1, 0.2), data)
    assert (len(train), len(test)) == (8, 2)
    (train, test), *_ = as_splits(TimeOrdered([0, 1, 2, 3, 4, 5, 6, 7, 7, 7], 1, 0.1), data)
    assert (len(train), len(test)) == (7, 3)
    few = "of 4 distinct values or more, for 3 test sets after 1 to learn from; got 2 in 10 rows"
    with pytest.raises(DataError, match=few):
        as_splits(TimeOrdered([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 3), data)
    with pytest.raises(DataError, match="of 2 distinct values or more"):
        as_splits(TimeOrdered(np.zeros(10), 1), data)
    with pytest.raises(DataError, match="for 1 test sets after 8 to learn from; got 8 in 10"):
        as_splits(TimeOrdered([0, 1, 2, 3, 4, 5, 6, 7, 7, 7], 1, min_train_times=8), data)
    with pytest.raises(ParameterError, match="min_train_times of TimeOrdered"):
        TimeOrdered(np.arange(10), min_train_times=0)


@hypothesis.given(st.data())
def test_as_many_times_as_test_sets_and_a_past_are_enough(draw):
    n_splits, past = draw.draw(st.integers(1, 8)), draw.draw(st.integers(1, 5))
    n_times = draw.draw(st.integers(n_splits + past, n_splits + past + 30))
    rows = st.one_of(st.integers(1, 4), st.integers(1, 200))
    counts = draw.draw(st.lists(rows, min_size=n_times, max_size=n_times))
    size = draw.draw(st.one_of(st.none(), st.floats(0.001, 0.999 / n_splits)))
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32 - 1)))
    time = rng.permutation(np.repeat(rng.permutation(1000)[:n_times], counts))
    data = TaskData.from_long(np.zeros((len(time), 1)), np.zeros(len(time)), time % 3)
    splits = as_splits(TimeOrdered(time, n_splits, size, past), data)
    assert len(splits) == n_splits
    times, last = time[data.order], []
    for train, test in splits:
        # All rows before are learned from, whole times are held out, none twice.
        assert len(test) > 0
        assert sorted(train) == np.flatnonzero(times < times[test].min()).tolist()
        assert set(times[test]).isdisjoint({*times[train], *last})
        last += times[test].tolist()
    assert len(np.unique(times[splits[0][0]])) >= past
    assert max(last) == time.max()


@pytest.mark.parametrize("n_times", [1, 2, 7, 8, 27, 60, 365, 5000])
def test_blocks_of_time_are_what_is_independent(n_times):
    rng = np.random.default_rng(0)
    time = rng.permutation(np.repeat(10 * np.arange(n_times), 2))
    data = TaskData.from_long(np.zeros((2 * n_times, 1)), np.zeros(2 * n_times))
    splitter = TimeOrdered(time)
    blocks = splitter.units(data)
    assert splitter.distinct_times(data).tolist() == (10 * np.arange(n_times)).tolist()
    assert len(np.unique(blocks)) <= 50
    # Consecutive, and each as long as the cube root of their number.
    by_time = blocks[np.argsort(time[data.order], kind="stable")]
    assert set(np.diff(by_time)) <= {0, 1}
    sizes = np.bincount(by_time) / 2
    assert (sizes[:-1] >= n_times ** (1 / 3) - 1e-9).all()
    assert len(set(sizes[:-1])) <= 1


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (list("abcdefghij"), "dates such as 2024-01-31.*got 'a' in row 0"),
        (np.full(10, np.nan), "no time in 10 rows"),
        ([None] * 10, "numbers or dates|no time"),
        (np.arange(5), "as long as the input"),
    ],
)
def test_time_is_refused(time, text):
    data = TaskData.from_long(np.zeros((10, 1)), np.arange(10.0))
    with pytest.raises(DataError, match=text):
        as_splits(TimeOrdered(time, 2), data)


def test_whole_tasks_are_left_out():
    data = long_data(4)
    splits = as_splits(LeaveTasksOut(4), data)
    assert_partition(splits, data.n_rows)
    tasks = data.row_tasks()
    for train, test in splits:
        assert not set(tasks[train]) & set(tasks[test])
        assert len(set(tasks[test])) == 3
    ((train, test),) = as_splits(LeaveTasksOut(tasks=[3, 5]), data)
    assert set(tasks[test]) == {3, 5}
    with pytest.raises(DataError, match=r"unknown \['3'\]"):
        as_splits(LeaveTasksOut(tasks=["3"]), data)
    with pytest.raises(DataError, match="some but not all"):
        as_splits(LeaveTasksOut(tasks=list(range(12))), data)
    with pytest.raises(DataError, match="number of tasks"):
        as_splits(LeaveTasksOut(13), data)
    with pytest.raises(IncompatibleError, match="to_long"):
        as_splits(LeaveTasksOut(2), targets_data())


def test_splits_are_the_same_for_a_seed():
    data = long_data(5)
    for first, second, other in (
        (WithinTasks(), WithinTasks(), WithinTasks(random_state=1)),
        (LeaveTasksOut(), LeaveTasksOut(), LeaveTasksOut(random_state=1)),
    ):
        one, two, three = (as_splits(splitter, data) for splitter in (first, second, other))
        for (_, a), (_, b) in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
        assert any(not np.array_equal(a[1], b[1]) for a, b in zip(one, three, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: WithinTasks(1),
        lambda: WithinTasks(2.5),
        lambda: WithinTasks(5, 0.0),
        lambda: WithinTasks(5, 1.0),
        lambda: WithinTasks(random_state=-1),
        lambda: WithinTasks(random_state="a"),
        lambda: GroupedRows([1, 2], 1),
        lambda: TimeOrdered([1, 2], 0),
        lambda: TimeOrdered([1, 2], 5, 0.2),
        lambda: LeaveTasksOut(1),
        lambda: as_splits("five", long_data()),
        lambda: as_splits(None, long_data()),
        lambda: as_splits(True, long_data()),
    ],
)
def test_parameters_are_checked(make):
    with pytest.raises(ParameterError):
        make()


def test_pairs_count_rows_of_the_input():
    data = long_data(6, n=50)
    pairs = list(KFold(3, shuffle=True, random_state=0).split(np.zeros(50)))
    for given in (pairs, iter(pairs), KFold(3, shuffle=True, random_state=0)):
        for (train, test), (a, b) in zip(as_splits(given, data), pairs, strict=True):
            assert sorted(data.order[train]) == a.tolist()
            assert sorted(data.order[test]) == b.tolist()
            assert np.all(np.diff(train) > 0)


def test_pairs_may_be_masks_and_may_repeat_rows():
    data = TaskData.from_long(np.zeros((4, 1)), np.arange(4.0), [1, 0, 1, 0])
    mask = np.array([True, True, False, False])
    ((train, test),) = as_splits([(mask, ~mask)], data)
    assert data.order[train].tolist() == [1, 0]
    assert data.order[test].tolist() == [3, 2]
    ((train, _),) = as_splits([([0, 0, 1], [2])], data)
    assert data.order[train].tolist() == [1, 0, 0]


def test_splitters_of_scikit_learn_see_y_in_the_order_of_the_input():
    data = long_data(7, n=60, y=["u", "v"])
    y = np.empty(60, dtype=data.y.dtype)
    y[data.order] = data.y
    expected = [np.sort(test) for _, test in StratifiedKFold(3).split(np.zeros((60, 1)), y)]
    for (_, test), wanted in zip(as_splits(StratifiedKFold(3), data), expected, strict=True):
        np.testing.assert_array_equal(np.sort(data.order[test]), wanted)
    column = TaskData.from_targets(np.zeros((60, 1)), y[:, None])
    assert len(as_splits(StratifiedKFold(3), column)) == 3
    assert len(as_splits(ShuffleSplit(2, random_state=0), targets_data())) == 2


@pytest.mark.parametrize("pair", [([0], [4]), ([-1], [0]), ([0.5], [0]), ([[0]], [0]), ([], [0])])
def test_pairs_outside_are_refused(pair):
    data = TaskData.from_long(np.zeros((4, 1)), np.arange(4.0))
    with pytest.raises(DataError, match="cv of the search"):
        as_splits([pair], data)


def test_a_splitter_from_outside_joins():
    class First(Splitter):
        def split(self, data):
            yield np.arange(1, data.n_rows), np.array([0])

    assert as_splits(First(), long_data())[0][1].tolist() == [0]


def test_train_test_split_tasks():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    task = rng.choice(["a", "b"], size=40)
    parts = train_test_split_tasks(X, y, task, random_state=3)
    X_train, _, y_train, y_test, task_train, task_test = parts
    assert X_train.shape == (30, 3)
    assert len(y_test) == len(task_test) == 10
    assert set(task_train) == set(task_test) == {"a", "b"}
    rows = [np.flatnonzero(y == value)[0] for value in y_train]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(X[rows], X_train)
    np.testing.assert_array_equal(task[rows], task_train)

    table = pd.DataFrame(X, index=np.arange(40) + 100)
    others = train_test_split_tasks(table, pd.Series(y), task.tolist(), random_state=3)
    assert others[1].index.tolist() == [100 + np.flatnonzero(y == v)[0] for v in y_test]
    assert isinstance(others[2], pd.Series)
    assert isinstance(others[4], np.ndarray)
    sparse = train_test_split_tasks(sp.coo_array(X), y, task, random_state=3)
    np.testing.assert_array_equal(sparse[0].toarray(), X_train)


def test_what_is_dealt_is_what_is_independent():
    data = TaskData.from_long(np.zeros((6, 1)), np.arange(6.0), [1, 0, 1, 0, 1, 0])
    rows, day = np.arange(6), np.array([3, 3, 4, 4, 5, 5])
    assert WithinTasks(2).units(data).tolist() == rows.tolist()
    groups = GroupedRows(day, n_splits=2).units(data)
    assert (groups[:, None] == groups).tolist() == (
        day[data.order][:, None] == day[data.order]
    ).tolist()
    assert LeaveTasksOut(2).units(data).tolist() == [0, 0, 0, 1, 1, 1]
    assert TimeOrdered(day, n_splits=2).units(data).tolist() == [0, 0, 1, 0, 0, 1]


def test_a_row_on_both_sides_is_refused():
    data = TaskData.from_long(np.zeros((6, 1)), np.arange(6.0), [0, 0, 0, 1, 1, 1])
    with pytest.raises(DataError, match=r"held-out rows are not among .* got 2 on both sides"):
        as_splits([([0, 1, 2, 3], [2, 3, 4, 5])], data)


@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "sparse"])
def test_tools_of_scikit_learn_may_call_the_splitters(kind):
    rng = np.random.default_rng(0)
    task = rng.choice([3.0, 5.0, 9.0], 60)
    X, y = np.column_stack([rng.normal(size=60), task]), rng.normal(size=60)
    frame = {"size": X[:, 0], "school": task}
    given, column = {
        "array": (X, -1),
        "pandas": (pd.DataFrame(frame, index=np.arange(60)[::-1]), "school"),
        "polars": (pl.DataFrame(frame), 1),
        "sparse": (sp.csr_array(X), 1),
    }[kind]
    data = TaskData.from_long(X[:, :1], y, task)
    for splitter in (WithinTasks(4), LeaveTasksOut(3)):
        asked = dataclasses.replace(splitter, task_column=column)
        wanted = [np.sort(data.order[test]) for _, test in splitter.split(data)]
        assert asked.get_n_splits(given, y) == len(wanted)
        for pairs in (asked.split(given, y), splitter.split(given, y, task)):
            for (train, test), rows in zip(pairs, wanted, strict=True):
                np.testing.assert_array_equal(test, rows)
                assert len(train) + len(test) == 60
        with pytest.raises(DataError, match=r"needs the task of every row: .*groups="):
            next(splitter.split(given, y))
    assert LeaveTasksOut(tasks=[3.0]).get_n_splits() == 1


def test_scikit_learn_may_split_by_groups_time_and_targets():
    X, groups = np.zeros((40, 2)), np.repeat(np.arange(8), 5)
    for _, test in GroupedRows(groups, 4).split(X):
        assert set(test) == set(np.flatnonzero(np.isin(groups, groups[test])))
    *_, (train, test) = TimeOrdered(groups, 3).split(X)
    assert groups[train].max() < groups[test].min()
    Y = np.random.default_rng(0).normal(size=(40, 3))
    assert len(list(WithinTasks(4).split(X, Y))) == 4


def test_a_full_target_matrix_is_dealt_without_a_list_of_its_labels(monkeypatch):
    monkeypatch.setattr(sp, "csr_array", None)
    data = TaskData.from_targets(np.zeros((23, 1)), np.random.default_rng(0).normal(size=(23, 4)))
    splits = as_splits(5, data)
    assert_partition(splits, 23)
    assert np.ptp([len(test) for _, test in splits]) == 1
