"""TaskData: what it holds, and how its rows are taken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp

from polytask.data import Form, TaskData
from polytask.exceptions import DataError, DataWarning, IncompatibleError
from polytask.messages import Translator

X = np.arange(12.0).reshape(6, 2)
Y1 = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])
TASK = ["b", "a", "b", "c", "a", "b"]
GAPS = np.array([[1, np.nan], [np.nan, 2], [3, 4], [5, 6], [7, 8], [9, np.nan]])


def test_long_form_sorts_by_task():
    data = TaskData.from_long(X, Y1, TASK, sample_weight=np.arange(6))
    assert data.tasks == ("a", "b", "c")
    assert data.order.tolist() == [1, 4, 0, 2, 5, 3]
    assert data.offsets.tolist() == [0, 2, 5, 6]
    np.testing.assert_array_equal(data.X, X[data.order])
    np.testing.assert_array_equal(data.y, Y1[data.order])
    assert data.sample_weight.tolist() == [1, 4, 0, 2, 5, 3]
    assert data.task_slice(1) == slice(2, 5)
    assert data.row_tasks().tolist() == [0, 0, 1, 1, 1, 2]
    assert data.task_rows().tolist() == [2, 3, 1]
    assert data.task_counts().tolist() == [5.0, 7.0, 3.0]
    assert repr(data) == "TaskData(long: 6 rows, 2 features, 3 tasks)"
    assert (data.n_rows, data.n_features, data.n_tasks) == (6, 2, 3)


ORDERED = pd.DataFrame(X, columns=["a", "b"])


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda y: TaskData.from_long(ORDERED, y, TASK), "y"),
        (lambda task: TaskData.from_long(ORDERED, Y1, task), "task"),
        (lambda w: TaskData.from_long(ORDERED, Y1, TASK, sample_weight=w), "sample_weight"),
        (lambda y: TaskData.from_targets(ORDERED, y.to_frame()), "y"),
        (lambda y: TaskData.from_tasks({"a": (ORDERED, y), "b": (ORDERED, y)}), "y"),
    ],
)
def test_columns_whose_index_has_another_order_are_named(read, name):
    column = pd.Series(Y1, index=[0, 1, 2, 4, 3, 5])
    with pytest.warns(DataWarning) as found:
        read(column)
    said = f"{name} holds the labels of X in another order (row 3, counting from 0, is 3 in X"
    assert [said in str(one.message) for one in found] == [True]
    assert f"pass {name}.loc[X.index]" in str(found[0].message)
    # Neither the same order, nor an index that names other rows, nor an array says anything.
    for fine in (column.reindex(range(6)), column.set_axis(range(6, 12)), column.to_numpy()):
        read(fine if name != "y" or isinstance(fine, pd.Series) else pd.Series(fine))


def test_no_task_is_one_task():
    data = TaskData.from_long(X, Y1)
    assert data.tasks == (0,)
    assert data.offsets.tolist() == [0, 6]
    assert data.form is Form.LONG
    assert data.task_counts().tolist() == [6.0]
    assert TaskData.from_long(X).y is None


def test_columns_named_in_a_table():
    table = pd.DataFrame({"s": TASK, "u": X[:, 0], "y": Y1, "v": X[:, 1]})
    for convert in (lambda t: t, pl.from_pandas, pa.Table.from_pandas):
        data = TaskData.from_long(convert(table), "y", "s")
        assert data.feature_names == ("u", "v")
        assert data.tasks == ("a", "b", "c")
        np.testing.assert_array_equal(data.y, Y1[data.order])
    with pytest.raises(DataError, match="another column than task"):
        TaskData.from_long(table, "s", "s")
    with pytest.raises(DataError, match="no column 'z'"):
        TaskData.from_long(table, "y", "z")


@pytest.mark.parametrize("position", [0, 1, 2, -1])
def test_task_at_a_position_of_an_array(position):
    codes = np.array([1.0, 0, 1, 2, 0, 1])
    with_task = np.insert(X, position % 3, codes, axis=1)
    data = TaskData.from_long(with_task, Y1, position)
    expected = TaskData.from_long(X, Y1, codes)
    assert data.tasks == (0, 1, 2)
    np.testing.assert_array_equal(data.X, expected.X)
    objects = np.insert(X.astype(object), position % 3, TASK, axis=1)
    data = TaskData.from_long(objects, Y1, position)
    assert data.tasks == ("a", "b", "c")
    assert data.X.dtype == np.float64


def test_task_position_must_exist():
    with pytest.raises(DataError, match="position of a column"):
        TaskData.from_long(X, Y1, 2)
    with pytest.raises(DataError, match="position of a column"):
        TaskData.from_long(sp.csr_array(X), Y1, 0)
    with pytest.raises(DataError, match="unless X is a data frame"):
        TaskData.from_long(X, Y1, "school")


def test_a_table_of_nothing_but_tasks():
    with pytest.raises(DataError, match=r"0 feature\(s\)"):
        TaskData.from_long(pd.DataFrame({"s": TASK}), Y1, "s")


def test_near_misses_warn():
    with pytest.warns(DataWarning, match="look alike"):
        data = TaskData.from_long(X, Y1, [7, "7", 7, 7.0, 7, "7"])
    assert data.tasks == (7, "7")


def test_targets_form():
    data = TaskData.from_targets(X, GAPS, sample_weight=[1, 1, 1, 1, 1, 3])
    assert data.tasks == (0, 1)
    assert data.offsets is None
    assert data.order.tolist() == list(range(6))
    np.testing.assert_array_equal(data.labelled(), ~np.isnan(GAPS))
    assert data.task_rows().tolist() == [5, 4]
    assert data.task_counts().tolist() == [7.0, 4.0]
    assert TaskData.from_targets(X, GAPS).task_counts().tolist() == [5.0, 4.0]
    assert TaskData.from_targets(X, Y1[:, None]).n_tasks == 1


def test_targets_named_in_a_table():
    table = pd.DataFrame({"u": X[:, 0], "p": GAPS[:, 0], "v": X[:, 1], "q": GAPS[:, 1]})
    data = TaskData.from_targets(table, ["q", "p"])
    assert data.tasks == ("q", "p")
    assert data.feature_names == ("u", "v")
    np.testing.assert_array_equal(data.y, GAPS[:, ::-1])
    assert TaskData.from_targets(table.drop(columns="q"), "p").tasks == ("p",)
    with pytest.raises(DataError, match="no column 'z'"):
        TaskData.from_targets(table, ["z"])


def test_targets_of_mixed_kinds():
    table = pl.DataFrame({"click": ["no", None, "yes"], "spend": [1.5, 2.5, None]})
    data = TaskData.from_targets(X[:3], table)
    assert data.tasks == ("click", "spend")
    assert data.y.tolist() == [["no", 1.5], [None, 2.5], ["yes", None]]
    assert data.task_rows().tolist() == [2, 2]
    long = data.to_long()
    assert long.y.tolist() == ["no", "yes", 1.5, 2.5]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [([1, 2, 3], "i"), ([True, False, True], "b"), ([1, None, 3], "f"), ([1.5, 2, 3], "f")],
)
def test_targets_of_a_table_keep_their_dtype(column, dtype):
    for make in (pl.DataFrame, pa.table):
        assert TaskData.from_targets(X[:3], make({"p": column})).y.dtype.kind == dtype


def test_a_target_needs_a_label():
    gaps = np.array([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(DataError, match="no label at all in target 1"):
        TaskData.from_targets(X[:2], gaps)
    with pytest.raises(DataError, match="no label at all in target 'q'"):
        TaskData.from_targets(X[:2], pd.DataFrame(gaps, columns=["p", "q"]))
    with pytest.raises(DataError, match="2-D"):
        TaskData.from_targets(X, Y1)
    with pytest.raises(DataError, match="numbers or labels"):
        TaskData.from_targets(X, pd.DataFrame({"d": pd.date_range("2020", periods=6)}))
    with pytest.raises(DataError, match=r"infinity in 1 row \(1\)"):
        TaskData.from_targets(X[:2], pl.DataFrame({"p": ["u", "v"], "q": [1.0, np.inf]}))
    with pytest.raises(DataError, match="infinity in 1 row"):
        TaskData.from_targets(X, np.where(GAPS == 3, np.inf, GAPS))


def test_separate_form_of_arrays():
    weights = {"b": [1, 2], "a": [0, 0, 0]}
    data = TaskData.from_tasks({"b": (X[:2], Y1[:2]), "a": (X[2:5], Y1[2:5])}, None, weights)
    assert data.tasks == ("a", "b")
    assert data.order.tolist() == [2, 3, 4, 0, 1]
    np.testing.assert_array_equal(data.X, X[[2, 3, 4, 0, 1]])
    assert data.y.tolist() == [12, 13, 14, 10, 11]
    assert data.task_counts().tolist() == [0.0, 3.0]
    assert data.form is Form.SEPARATE
    assert data.present is None
    assert TaskData.from_tasks({"b": X, "a": X}).y is None


@pytest.mark.parametrize("convert", [lambda t: t, pl.from_pandas, pa.Table.from_pandas])
def test_separate_form_aligns_tables(convert):
    first = pd.DataFrame({"u": [1.0, 2.0], "v": [3, 4], "y": [0.0, 1.0]})
    second = pd.DataFrame({"w": ["p"], "u": [5.0], "y": [2.0]})
    data = TaskData.from_tasks({"z": convert(first), "a": convert(second)}, "y")
    assert data.feature_names == ("u", "v", "w")
    assert data.present.tolist() == [[True, False, True], [True, True, False]]
    assert data.y.tolist() == [2.0, 0.0, 1.0]
    assert data.n_features == 3


def test_separate_form_keeps_text_and_numbers_apart():
    data = TaskData.from_tasks({"a": (X, list("uvwxyz")), "b": (X, Y1)})
    assert data.y.tolist() == [*"uvwxyz", *Y1]


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ({}, "an empty one"),
        ([1], "got list"),
        ({"a": (X, Y1), "b": (X[:, :1], Y1)}, "one number of columns"),
        ({"a": (X, Y1), "b": (sp.csr_array(X), Y1)}, "all of one kind"),
        ({"a": (X, Y1), "b": X}, "y of task 'b' must be given"),
        ({"a": (X, Y1, Y1)}, "a pair"),
        ({"a": (X, Y1[:3])}, "y of task 'a' must be as long as X"),
        ({"a": (X, Y1 * np.nan)}, "y of task 'a'"),
        ({"a": (X[:0], Y1[:0])}, "0 sample"),
        ({"a": (np.full((6, 2), np.inf), Y1)}, "X of task 'a' must be finite"),
        ({None: (X, Y1)}, "a label"),
        ({"a": (pd.DataFrame({"u": [1]}), [1]), "b": (pd.DataFrame({"v": [1]}), [1])}, "shared"),
        ({"a": (pd.DataFrame({"u": [1]}), [1]), "b": (pl.DataFrame({"u": [1]}), [1])}, "library"),
    ],
)
def test_separate_form_refuses(tasks, text):
    with pytest.raises(DataError, match=text):
        TaskData.from_tasks(tasks)


def test_separate_form_refuses_weights_that_do_not_fit():
    tasks = {"a": (X, Y1), "b": (X, Y1)}
    for weights, text in (
        (np.ones(12), "a mapping"),
        ({"a": np.ones(6)}, "none for"),
        ({"a": np.ones(6), "b": np.ones(6), "c": [1]}, "unknown tasks"),
        ({"a": np.ones(6), "b": np.ones(5)}, "task 'b' must be as long as X"),
        ({"a": np.zeros(6), "b": np.zeros(6)}, "above zero"),
    ):
        with pytest.raises(DataError, match=text):
            TaskData.from_tasks(tasks, sample_weight=weights)
    with pytest.raises(DataError, match="name of its column"):
        TaskData.from_tasks({"a": (X, Y1)}, "y")


def test_rows_keep_all_tasks():
    data = TaskData.from_long(X, Y1, TASK, sample_weight=np.arange(6))
    some = data.rows([4, 0, 2])
    assert some.tasks == data.tasks
    assert some.offsets.tolist() == [0, 1, 3, 3]
    assert some.order.tolist() == [1, 5, 0]
    np.testing.assert_array_equal(some.X, X[some.order])
    np.testing.assert_array_equal(some.y, Y1[some.order])
    np.testing.assert_array_equal(some.sample_weight, some.order)
    assert some.task_rows().tolist() == [1, 2, 0]
    mask = np.array([True, False, True, False, True, False])
    assert data.rows(mask).order.tolist() == some.order[[0, 2, 1]].tolist()
    assert data.rows([0, 0, 1]).order.tolist() == [1, 1, 4]
    assert data.rows([]).n_rows == 0


def test_rows_that_follow_each_other_are_not_copied():
    data = TaskData.from_long(X, Y1)
    assert np.shares_memory(data.rows(np.arange(2, 5)).X, X)
    assert not np.shares_memory(data.rows([2, 4]).X, X)


def test_rows_of_targets_and_tables():
    data = TaskData.from_targets(pd.DataFrame(X, index=list("uvwxyz")), GAPS)
    some = data.rows([5, 2])
    assert some.offsets is None
    assert some.X.index.tolist() == ["z", "w"]
    np.testing.assert_array_equal(some.y, GAPS[[5, 2]])


@pytest.mark.parametrize("index", [[6], [-1], [0.5], [[0]], [True]])
def test_rows_outside_are_refused(index):
    with pytest.raises(DataError, match=r"TaskData\.rows"):
        TaskData.from_long(X, Y1).rows(index)


def test_replacing_x_and_y():
    data = TaskData.from_long(X, Y1, TASK)
    wide = data.with_X(np.ones((6, 3)), ("a", "b", "c"))
    assert wide.n_features == 3
    assert wide.feature_names == ("a", "b", "c")
    assert data.with_y(np.zeros(6)).y.tolist() == [0] * 6
    with pytest.raises(DataError, match="new X"):
        data.with_X(np.ones((5, 3)))
    with pytest.raises(DataError, match="new y"):
        data.with_y(np.ones(5))


def test_replacing_x_asks_for_a_fitting_mask_of_columns():
    tables = {"a": pd.DataFrame({"u": [1.0]}), "b": pd.DataFrame({"u": [1.0], "v": [2.0]})}
    data = TaskData.from_tasks(tables)
    assert data.with_X(np.ones((2, 2))).present is data.present
    present = np.ones((2, 3), dtype=bool)
    assert data.with_X(np.ones((2, 3)), present=present).present is present
    with pytest.raises(DataError, match="present"):
        data.with_X(np.ones((2, 3)))


def test_the_targets_form_has_no_rows_of_a_task():
    data = TaskData.from_targets(X, GAPS)
    for use in (data.row_tasks, lambda: data.task_slice(0)):
        with pytest.raises(IncompatibleError, match="targets form"):
            use()
    with pytest.raises(IncompatibleError, match="targets form"):
        TaskData.from_long(X, Y1).labelled()


def test_the_task_of_a_refusal_is_named_in_chinese():
    with pytest.raises(DataError) as refused:
        TaskData.from_tasks({"a": (X, Y1[:3])})
    chinese = refused.value.args[0].text(Translator("zh"))
    assert "任务 'a'" in chinese
    assert "task" not in chinese


def test_rows_are_rows_of_further_tasks_too():
    X, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    long = TaskData.from_long(X, y, ["b", "d", "b", "d"], weight).with_tasks(("d", "c", "b"))
    assert long.tasks == ("d", "c", "b")
    assert long.order.tolist() == [1, 3, 0, 2]
    assert long.offsets.tolist() == [0, 2, 2, 4]
    np.testing.assert_array_equal(long.X, X[long.order])
    np.testing.assert_array_equal(long.y, y[long.order])
    np.testing.assert_array_equal(long.sample_weight, weight[long.order])
    wide = TaskData.from_targets(X, np.column_stack([y, y + 1])).with_tasks((1, "new", 0))
    np.testing.assert_array_equal(wide.y, np.column_stack([y + 1, np.full(4, np.nan), y]))
    part = TaskData.from_tasks({"b": (pd.DataFrame({"p": y}), y)})
    assert part.with_tasks(("b",)) is part
