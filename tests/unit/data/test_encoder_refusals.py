"""Every sentence with which TableEncoder refuses a table."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from polytask import MultiTaskRegressor
from polytask.data import TaskData
from polytask.data.encoder import TableEncoder
from polytask.exceptions import DataError, DataWarning, ParameterError

KINDS = (pd.DataFrame, pl.DataFrame, pa.table)
DAY = datetime.datetime(2024, 1, 31)


def refusal(call, *args, error=DataError, **given):
    with pytest.raises(error) as caught:
        call(*args, **given)
    return str(caught.value)


def dates(shown, row=0):
    return (
        f"Column 'when' holds dates ({shown} in row {row}, counting from 0). Turn it into year, "
        "month, week, weekday and elapsed days with date_features=True (for compare, which has "
        "no such argument: X = polytask.data.dates.add_date_features(X)), or leave it out: "
        "X.drop(columns=['when']). To predict later rows, compare X.drop(columns=['when']) with "
        "time=X['when']."
    )


@pytest.mark.parametrize("make", KINDS)
def test_dates(make):
    fit = TableEncoder().fit
    assert refusal(fit, make({"when": [None, DAY]})) == dates("2024-01-31 00:00:00", 1)
    assert refusal(fit, make({"when": [DAY.date()]})) == dates("2024-01-31")
    assert refusal(fit, make({"when": [DAY.time()]})) == (
        "Column 'when' holds times (00:00:00 in row 0, counting from 0). Turn it into numbers, or "
        "leave it out (X.drop(columns=['when']))."
    )
    assert "holds times" in refusal(fit, make({"when": [datetime.timedelta(3)]}))


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-31", "2024-1-3", "2024/01/31", "31/01/2024", "1/31/2024", "31.01.2024"),
        *("2024-01-31T10:00:00Z", "2024-01-31 10:00", "2024年1月31日", "2024年1月", "2024-01"),
    ],
)
def test_text_written_like_dates(text):
    assert refusal(TableEncoder().fit, pd.DataFrame({"when": [None, text]})) == dates(text, 1)
    categories = pd.DataFrame({"when": pd.Categorical([text])})
    assert refusal(TableEncoder().fit, categories) == dates(text)


@pytest.mark.parametrize("text", ["2024-13-01", "1.5.2", "20-01-31", "2024-01-31 report", "10-12"])
def test_text_that_is_no_date(text):
    TableEncoder().fit(pd.DataFrame({"when": [text, "a"]}))


@pytest.mark.parametrize("make", KINDS)
def test_lists_and_records(make):
    sentence = (
        "Column 'x' holds lists or records; a feature must have one value per row. Split it into "
        "columns, or leave it out (X.drop(columns=['x']))."
    )
    assert refusal(TableEncoder().fit, make({"x": [[1, 2], [3]]})) == sentence
    assert refusal(TableEncoder().fit, make({"x": [{"a": 1}, {"a": 2}]})) == sentence


@pytest.mark.parametrize("make", KINDS)
def test_infinite_numbers(make):
    sentence = (
        "Column 'x' holds -inf in row 2, counting from 0; numbers must be finite (leave the cell "
        "empty if it is missing)."
    )
    assert refusal(TableEncoder().fit, make({"x": [1.0, None, -np.inf]})) == sentence
    encoder = TableEncoder().fit(make({"x": [1.0]}))
    assert refusal(encoder.transform, make({"x": [1.0, None, -np.inf]})) == sentence


def test_mixed_kinds():
    assert refusal(TableEncoder().fit, pd.DataFrame({"x": [None, 1, 2, "n/a"]}, dtype=object)) == (
        "Column 'x' mixes numbers and text: row 1 holds 1, row 3 holds 'n/a' (rows count from 0). "
        "Make them one kind."
    )
    assert refusal(TableEncoder().fit, pd.DataFrame({"x": ["a", True]}, dtype=object)) == (
        "Column 'x' mixes text and true/false values: row 0 holds 'a', row 1 holds True (rows "
        "count from 0). Make them one kind."
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1j, 2j], "complex128"),
        ([b"a", b"b"], "bytes"),
        (pd.period_range("2020", periods=2), None),
    ],
)
def test_types_without_meaning(values, kind):
    found = refusal(TableEncoder().fit, pd.DataFrame({"x": values}))
    assert found == (
        f"Column 'x' holds {kind or 'Period'} in row 0, counting from 0, which cannot be encoded; "
        "allowed are numbers, booleans, text and categories."
    )


def test_bytes_of_other_libraries():
    for table in (pl.DataFrame({"x": [b"a"]}), pa.table({"x": [b"a"]})):
        assert "holds bytes in row 0" in refusal(TableEncoder().fit, table)


def test_identifiers():
    table = pd.DataFrame({"id": [f"p{i}" for i in range(12_000)]})
    assert refusal(TableEncoder().fit, table) == (
        "Column 'id' has 12,000 different values in 12,000 rows, so hardly any value is seen "
        "twice. It looks like an identifier or free text: leave it out "
        "(X.drop(columns=['id'])), or raise max_levels to 12000 to encode every value."
    )
    TableEncoder(max_levels=40).fit(table[:40])


def test_what_was_accepted_of_all_rows_is_not_refused_of_some():
    # Of 200 rows half are seen twice, of the first 50 none is.
    table = pd.DataFrame({"who": [f"p{k % 150}" for k in range(200)]})
    data = TaskData.from_long(table, np.arange(200.0), task=np.arange(200) % 2)
    assert "identifier" in refusal(TableEncoder().fit, table[:50])
    with pytest.warns(DataWarning, match="the 21 rarest share one feature"):
        model = MultiTaskRegressor().fit(data.rows(range(50)))
    assert len(model.coef_feature_names_) == 30
    assert np.isfinite(model.predict(table, task=np.arange(200) % 2)).all()


def test_many_numbers_with_decimal_commas_are_not_called_identifiers():
    table = pd.DataFrame({"x": [f"{i},5" for i in range(100)]})
    assert refusal(TableEncoder().fit, table) == (
        "Column 'x' has 100 different values in 100 rows, so hardly any value is seen twice. "
        "Column 'x' looks numeric, with decimal commas (such as '0,5'): read it with decimal=',' "
        "(--decimal ,)."
    )


def test_not_a_table():
    sentence = "TableEncoder encodes data frames (pandas, polars or pyarrow, in memory); got "
    fit = TableEncoder().fit
    assert refusal(fit, np.zeros((2, 2))) == sentence + "ndarray."
    assert refusal(fit, pd.Series([1])) == sentence + "Series."
    lazy = pl.LazyFrame({"x": [1]})
    assert refusal(fit, lazy) == sentence + "LazyFrame. Collect it first."


def test_repeated_names():
    sentence = "The table has 2 columns named 'b'; names must be unique."
    pandas = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"])
    arrow = pa.table([[1], [2], [3]], names=["a", "b", "b"])
    for table in (pandas, arrow, pd.DataFrame({"b": [1], "a": [2]}).rename(columns={"a": "b"})):
        assert refusal(TableEncoder().fit, table) == sentence
    twins = pd.DataFrame({1: [1], "1": [2]})
    assert "2 columns named '1'" in refusal(TableEncoder().fit, twins)


def test_nothing_to_encode():
    fit = TableEncoder().fit
    assert refusal(fit, pd.DataFrame({"x": []})) == (
        "The table has no rows; TableEncoder needs at least one."
    )
    assert refusal(fit, pd.DataFrame({"x": [np.nan]})) == (
        "No column of the table can be used: each was dropped or is missing in every row."
    )
    assert "No column" in refusal(TableEncoder(drop=["x"]).fit, pd.DataFrame({"x": [1.0]}))


def test_columns_that_are_not_there():
    encoder = TableEncoder().fit(pd.DataFrame({"age": [1.0], "colour": ["a"], "x": [2.0]}))
    table = pd.DataFrame({"color": ["a"], "Age": [1.0], "x": [2.0]})
    assert refusal(encoder.transform, table) == (
        "The table lacks columns seen in training: 'age' Did you mean 'Age'?, 'colour' Did you "
        "mean 'color'? Not in training: 'color', 'Age'."
    )
    assert refusal(encoder.transform, pd.DataFrame({"age": [1.0], "x": [2.0]})) == (
        "The table lacks a column seen in training: 'colour'."
    )
    assert refusal(TableEncoder(drop=["colour"]).fit, table) == (
        "drop of TableEncoder names 'colour', which is not a column of the table. Did you mean "
        "'color'?"
    )


def test_columns_that_changed_their_kind():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [1.0, 2.0], "b": [True, False]}))
    table = pd.DataFrame({"x": ["1", None, "a"], "b": [True] * 3})
    assert refusal(encoder.transform, table) == (
        "Column 'x' was numeric in training; row 2, counting from 0, holds 'a'."
    )
    table = pd.DataFrame({"x": [None, "1"], "b": [True] * 2})
    assert refusal(encoder.transform, table) == (
        "Column 'x' was numeric in training; row 1, counting from 0, holds '1'."
    )
    table = pd.DataFrame({"x": [1, 2], "b": [1, 2]})
    assert refusal(encoder.transform, table) == (
        "Column 'b' was true or false in training; row 1, counting from 0, holds 2.0."
    )
    table = pd.DataFrame({"x": [1, 2], "b": ["yes", "no"]})
    assert refusal(encoder.transform, table) == (
        "Column 'b' was true or false in training; row 0, counting from 0, holds 'yes'."
    )
    table = pd.DataFrame({"x": pd.to_datetime(["2024-01-31"]), "b": [True]})
    assert "Column 'x' holds dates" in refusal(encoder.transform, table)


@pytest.mark.parametrize("value", [1, 0, 2.5, True, "30", None])
def test_max_levels(value):
    fit, table = TableEncoder(max_levels=value).fit, pd.DataFrame({"x": [1.0]})
    assert refusal(fit, table, error=ParameterError) == (
        f"max_levels of TableEncoder must be an integer >= 2; got {value!r}."
    )


def test_drop_is_a_list():
    fit, table = TableEncoder(drop="x").fit, pd.DataFrame({"x": [1.0]})
    assert refusal(fit, table, error=ParameterError) == (
        "drop of TableEncoder must be a list of column names; got 'x'."
    )


def test_weights_and_presence():
    fit, table = TableEncoder().fit, pd.DataFrame({"x": [1.0, 2.0]})
    assert refusal(fit, table, sample_weight=[1.0]) == (
        "sample_weight must have shape (2,); got (1,)."
    )
    assert refusal(fit, table, sample_weight=[1.0, -2.0]) == (
        "sample_weight must hold finite numbers >= 0; got -2.0 in row 1, counting from 0."
    )
    assert refusal(fit, table, sample_weight=[0, 0]) == (
        "sample_weight must be positive in at least one row; all are 0."
    )
    assert refusal(fit, table, present=[[True]]) == "present must have shape (2, 1); got (1, 1)."
