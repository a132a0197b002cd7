"""What X, y and weights may be, and what the refusals say."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from polytask.data import TaskData
from polytask.data.designs import check_design
from polytask.exceptions import DataError

X = np.arange(12.0).reshape(6, 2)
Y1 = np.arange(6.0)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float32"),
        ("int8", "float64"),
        ("uint64", "float64"),
        ("bool", "float64"),
        ("object", "float64"),
        (">f8", "<f8"),
    ],
)
def test_dtypes_of_x(dtype, kept):
    given = X.astype(dtype)
    for task in (None, [1, 0, 1, 0, 1, 0]):
        data = TaskData.from_long(given, Y1, task)
        assert data.X.dtype == np.dtype(kept)
        np.testing.assert_array_equal(data.X, given.astype(float)[data.order])


def test_conversion_in_blocks(monkeypatch):
    monkeypatch.setattr("polytask.data.designs._BLOCK", 4)
    data = TaskData.from_long(X.astype(int), Y1, [1, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(data.X, X[data.order])


@pytest.mark.parametrize(
    "given", [X.tolist(), memoryview(X), np.asfortranarray(X), np.ma.array(X)], ids=type
)
def test_containers_of_x(given):
    np.testing.assert_array_equal(TaskData.from_long(given, Y1).X, X)


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_array, sp.coo_array, sp.lil_array])
def test_sparse_x_stays_sparse(make):
    given = make(X.astype(np.float32))
    data = TaskData.from_long(given, Y1, [1, 0, 1, 0, 1, 0])
    assert isinstance(data.X, sp.csr_array)
    assert data.X.dtype == np.float32
    np.testing.assert_array_equal(data.X.toarray(), X[data.order])


def test_sparse_x_with_doubled_entries_is_summed_in_a_copy():
    given = sp.csr_array((np.ones(3), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 2))
    data = TaskData.from_long(given, [1.0])
    assert data.X.toarray().tolist() == [[1.0, 2.0]]
    assert given.nnz == 3


def test_sparse_x_of_integers():
    assert TaskData.from_long(sp.csr_array(X.astype(int)), Y1).X.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (X[:, 0], r"two-dimensional.*Reshape your data"),
        (np.float64(3), r"two-dimensional.*Reshape your data"),
        (np.zeros((2, 2, 2)), "two-dimensional"),
        (np.empty((0, 3)), r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
        (np.empty((6, 0)), r"0 feature\(s\) \(shape=\(6, 0\)\) while a minimum of 1 is required"),
        (pd.DataFrame(index=range(6)), r"0 feature\(s\)"),
        (pl.DataFrame({"a": []}), r"0 sample\(s\)"),
        (sp.csr_array((0, 3)), r"0 sample\(s\)"),
        (X + 1j, "Complex data not supported"),
        (sp.csr_array(X + 1j), "Complex data not supported"),
        (np.full((6, 2), "a"), "Text, categories and dates go in a data frame"),
        (np.full((6, 2), "a", dtype=object), "Text and categories go in a data frame"),
        (np.full((6, 2), "2020", dtype="M8[D]"), "go in a data frame"),
        ([[1, 2], [3]], "a matrix"),
        (np.ma.array(X, mask=X == 3), "masked array"),
        (pl.DataFrame(X).lazy(), r"call \.collect\(\) first"),
        (pd.DataFrame(X, columns=["a", 1]), "all text or all not text"),
    ],
)
def test_x_is_refused(given, text):
    with pytest.raises(DataError, match=text):
        TaskData.from_long(given, Y1)


def test_an_entry_that_is_no_number_is_a_type_error():
    given = X.astype(object)
    given[0, 0] = {"foo": "bar"}
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        TaskData.from_long(given, Y1)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_array])
def test_nonfinite_entries_are_named(make):
    given = X.copy()
    given[3, 1] = np.nan
    with pytest.raises(DataError, match=r"NaN \(row 3, column 1; 1 such.*TableEncoder"):
        TaskData.from_long(make(given), Y1)
    given[3, 1] = -np.inf
    with pytest.raises(DataError, match=r"infinity \(inf\) \(row 3, column 1"):
        TaskData.from_long(make(given), Y1)


def test_huge_finite_entries_are_accepted():
    given = np.full((6, 2), np.finfo(np.float64).max)
    assert TaskData.from_long(given, Y1).X is given


@pytest.mark.parametrize("convert", [lambda t: t, pl.from_pandas])
def test_tables_may_have_gaps_but_no_infinities(convert):
    table = pd.DataFrame(X.copy(), columns=["a", "b"])
    table.loc[2, "b"] = np.nan
    assert TaskData.from_long(convert(table), Y1).n_features == 2
    table.loc[4, "b"] = np.inf
    with pytest.raises(DataError, match=r"inf.* in column 'b', 1 row \(4\)"):
        TaskData.from_long(convert(table), Y1)


def test_check_design_for_prediction():
    checked, names = check_design(pd.DataFrame(X, columns=["a", "b"]), "predict")
    assert names == ("a", "b")
    assert isinstance(checked, pd.DataFrame)
    assert check_design(X, "predict")[0] is X
    with pytest.raises(DataError, match="X of predict"):
        check_design(X[0], "predict")


@pytest.mark.parametrize(
    ("given", "dtype", "values"),
    [
        ([1, 2, 3], "i", [1, 2, 3]),
        ([True, False, True], "b", [True, False, True]),
        (["a", "b", "a"], "U", ["a", "b", "a"]),
        (["a", 1, True], "O", ["a", 1, True]),
        (np.array([1, 2.5, 3], dtype=object), "f", [1, 2.5, 3]),
        (np.array([1, 2, 3], dtype=object), "i", [1, 2, 3]),
        ([2**70, 1, 2], "f", [2.0**70, 1, 2]),
        ([decimal.Decimal("1.5")] * 3, "f", [1.5] * 3),
        (pd.Series([1, 2, 3], index=[5, 6, 7]), "i", [1, 2, 3]),
        (pd.Series(["a", "b", "a"], dtype="category"), "O", ["a", "b", "a"]),
        (pl.Series([True, False, True]), "b", [True, False, True]),
        (np.array([1, 2, 3], dtype=np.float16), "f", [1, 2, 3]),
        (np.array(["a", "b", "c"], dtype=np.dtypes.StringDType()), "O", ["a", "b", "c"]),
    ],
)
def test_outcomes_keep_their_type(given, dtype, values):
    y = TaskData.from_long(X[:3], given).y
    assert y.dtype.kind == dtype
    assert y.tolist() == values


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Y1[:5], r"y of TaskData must be as long as X \(6 rows\); got 5 rows"),
        (Y1[:, None], r"1-D.*from_targets"),
        (np.where(Y1 == 3, np.nan, Y1), r"NaN or None in 1 row \(3\)\. Input y contains NaN\."),
        (np.where(Y1 == 3, np.inf, Y1), r"Input y contains infinity or a value too large for dty"),
        (["a", None, "b", "a", "b", None], r"2 rows \(1, 5\)"),
        (pd.Series([1, None, 2, 3, 4, 5], dtype="Int64"), r"1 row \(1\)"),
        (Y1 + 1j, "Complex data not supported"),
        (np.array([1j] * 6, dtype=object), "Complex data not supported"),
        (np.full(6, "2020", dtype="M8[D]"), "numbers or labels"),
        (sp.csr_array(Y1[:, None]), "an array, list or column"),
        ({"a": 1}, "an array, list or column"),
        ([{"a": 1}] * 6, "plain values"),
        ([[1, 2], [3]], "y of TaskData must be an array"),
        (3.0, "one value per row"),
        ([1, 2, 3, 4, 5, 10**400], "infinity"),
        (np.ma.array(Y1, mask=Y1 == 3), "got a MaskedArray"),
        ("y", "unless X is a data frame"),
    ],
)
def test_y_is_refused(given, text):
    with pytest.raises(DataError, match=text):
        TaskData.from_long(X, given)


def test_task_of_another_length_is_refused():
    with pytest.raises(DataError, match=r"task of TaskData must be as long as X \(6 rows\)"):
        TaskData.from_long(X, Y1, [1, 2])


@pytest.mark.parametrize(
    "given", [[1, 2, 3, 4, 5, 6], pd.Series(range(6)), 2, pl.Series(range(6))]
)
def test_weights_of_any_container(given):
    weights = TaskData.from_long(X, Y1, sample_weight=given).sample_weight
    assert weights.dtype == np.float64
    np.testing.assert_array_equal(weights, np.broadcast_to(np.asarray(given), 6))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.ones(5), "sample_weight of TaskData must be as long as X"),
        (np.ones((6, 2)), "1-D"),
        (np.zeros(6), "weight.*zero"),
        (-Y1, r"-1\.0 in 5 rows"),
        (Y1 * np.nan, "nan in 6 rows"),
        (["a"] * 6, "an array of numbers"),
        (np.ma.array(Y1, mask=Y1 == 3), "without a mask"),
    ],
)
def test_weights_are_refused(given, text):
    with pytest.raises(DataError, match=text):
        TaskData.from_long(X, Y1, sample_weight=given)


def test_nothing_of_the_user_is_written():
    given, y, weights = X.copy(), Y1.copy(), np.ones(6)
    for array in (given, y, weights):
        array.setflags(write=False)
    data = TaskData.from_long(given, y, [1, 0, 1, 0, 1, 0], weights)
    data.rows([0, 3])
    TaskData.from_targets(given, y[:, None], weights).to_long()
    TaskData.from_tasks({"a": (given, y), "b": (given, y)})
