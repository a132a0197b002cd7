"""Data frames of three libraries behave alike."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from polytask.data import tables
from polytask.exceptions import DataError

COLUMNS = {"a": [1.0, None, 3.0], "b": ["x", None, "z"], "c": [True, False, True], "d": [1, 2, 3]}
MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def make(request):
    return request.param


def test_what_is_a_table(make):
    assert tables.is_table(make(COLUMNS))
    assert not any(map(tables.is_table, [np.zeros((2, 2)), [[1]], {"a": [1]}, pd.Series([1])]))
    assert tables.is_column(pd.Series([1]))
    assert not tables.is_column(np.zeros(2))


def test_names_and_rows(make):
    table = make(COLUMNS)
    assert tables.column_names(table) == ("a", "b", "c", "d")
    assert tables.feature_names(table) == ("a", "b", "c", "d")
    assert tables.n_rows(table) == 3


def test_columns_become_arrays(make):
    table = make(COLUMNS)
    np.testing.assert_array_equal(tables.get_column(table, "a"), [1.0, np.nan, 3.0])
    assert tables.get_column(table, "b").tolist() == ["x", None, "z"]
    assert tables.get_column(table, "c").dtype == np.bool_
    assert tables.get_column(table, "d").dtype == np.int64


def test_taking_keeps_the_kind(make):
    table = make(COLUMNS)
    taken = tables.take_rows(table, np.array([2, 0]))
    assert type(taken) is type(table)
    assert tables.get_column(taken, "d").tolist() == [3, 1]
    assert tables.take_rows(table, slice(None)) is table
    assert tables.get_column(tables.take_rows(table, slice(1, 3)), "d").tolist() == [2, 3]
    assert tables.column_names(tables.select(table, ["d", "a"])) == ("d", "a")
    assert tables.column_names(tables.drop_columns(table, ["b"])) == ("a", "c", "d")


def test_a_misspelt_column_gets_the_nearest_name(make):
    table = make({"school": [1], "pupil": [2]})
    for use in (tables.get_column, lambda t, n: tables.select(t, [n])):
        with pytest.raises(DataError, match=r"no column 'shcool'\. Did you mean 'school'"):
            use(table, "shcool")


def test_gaps_of_categories_and_booleans():
    for column in (
        pd.Series(["x", None, "y"], dtype="category"),
        pl.Series(["x", None, "y"], dtype=pl.Categorical),
        pa.chunked_array([pa.array(["x", None, "y"]).dictionary_encode()]),
    ):
        assert tables.column_values(column).tolist() == ["x", None, "y"]
    assert tables.column_values(pd.Series([3, 2, None], dtype="category")).tolist() == [3, 2, None]
    for gaps in (pd.Series([True, None], dtype="boolean"), pl.Series([True, None])):
        assert tables.column_values(gaps).tolist() == [True, None]
    assert tables.column_values(pl.Series([datetime.date(2020, 1, 1)])).dtype.kind == "M"


def test_pandas_keeps_its_index():
    table = pd.DataFrame(COLUMNS, index=[5, 6, 7])
    assert tables.take_rows(table, np.array([2, 0])).index.tolist() == [7, 5]
    made = tables.table_like(table, {"p": np.arange(3.0)})
    assert made.index.tolist() == [5, 6, 7]
    some = tables.table_like(table, {"p": np.arange(2.0)}, np.array([2, 0]))
    assert some.index.tolist() == [7, 5]


def test_names_that_are_not_text():
    assert tables.feature_names(pd.DataFrame(np.zeros((2, 2)))) is None
    numbered = pd.DataFrame(np.zeros((2, 2)))
    assert tables.column_names(tables.select(numbered, [1])) == (1,)
    with pytest.raises(DataError, match="all text or all not text"):
        tables.feature_names(pd.DataFrame(np.zeros((2, 2)), columns=["a", 0]))
    with pytest.raises(DataError, match="different names"):
        tables.column_names(pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]))


def test_a_lazy_frame_is_refused():
    with pytest.raises(DataError, match=r"X of F .*\.collect\(\)"):
        tables.refuse_lazy(pl.DataFrame(COLUMNS).lazy(), "X", "F")
    tables.refuse_lazy(pl.DataFrame(COLUMNS), "X", "F")


def test_table_like(make):
    columns = {
        "n": np.array([1.5, 2.5]),
        "s": np.array(["x", "y"]),
        "o": np.array(["x", None], dtype=object),
    }
    made = tables.table_like(make(COLUMNS), columns, np.array([0, 2]))
    assert isinstance(made, type(make(COLUMNS)))
    assert tables.get_column(made, "n").tolist() == [1.5, 2.5]
    assert tables.get_column(made, "s").tolist() == ["x", "y"]
    assert tables.get_column(made, "o").tolist() == ["x", None]


def test_text_beside_numbers_in_one_column(make):
    mixed = np.array(["x", 1], dtype=object)
    made = tables.table_like(make(COLUMNS), {"m": mixed}, slice(1, 3))
    expected = ["x", 1] if make is pd.DataFrame else ["x", "1"]
    assert tables.get_column(made, "m").tolist() == expected


def test_stack_aligns_columns_by_name(make):
    first = make({"a": [1, 2], "b": ["x", "y"]})
    second = make({"c": [True], "a": [0.5]})
    stacked = tables.stack([first, second])
    assert tables.column_names(stacked) == ("a", "b", "c")
    assert tables.get_column(stacked, "a").tolist() == [1.0, 2.0, 0.5]
    assert tables.get_column(stacked, "b").tolist() == ["x", "y", None]
    assert tables.get_column(stacked, "c").tolist() == [None, None, True]
    assert tables.same_kind([first, second])


def test_stack_joins_categories():
    for first, second in (
        (
            pd.DataFrame({"a": pd.Series(["x"], dtype="category")}),
            pd.DataFrame({"a": pd.Series(["y"], dtype="category")}),
        ),
        (
            pl.DataFrame({"a": pl.Series(["x"], dtype=pl.Categorical)}),
            pl.DataFrame({"a": pl.Series(["y"], dtype=pl.Enum(["y"]))}),
        ),
    ):
        assert tables.get_column(tables.stack([first, second]), "a").tolist() == ["x", "y"]


def test_stack_refuses_text_over_numbers(make):
    with pytest.raises(DataError, match=r"column 'a' .* one type"):
        tables.stack([make({"a": [1]}), make({"a": ["x"]})])


def test_stack_takes_a_column_without_any_value(make):
    stacked = tables.stack([make({"a": [1.5]}), make({"a": [None]})])
    np.testing.assert_array_equal(tables.get_column(stacked, "a"), [1.5, np.nan])


def test_stack_of_numbered_columns():
    first = pd.DataFrame(np.ones((1, 2)))
    second = pd.DataFrame(np.zeros((1, 2), dtype=int), columns=[1, 2])
    stacked = tables.stack([first, second])
    np.testing.assert_array_equal(stacked, [[1, 1, np.nan], [np.nan, 0, 0]])
