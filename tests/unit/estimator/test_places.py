"""Cells that cannot be used are named by their rows in what was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polytask import DataError, MultiTaskRegressor


@pytest.fixture
def table():
    # Read in the order of the tasks, row 3 is the first of all.
    numbers = np.arange(40.0)
    return pd.DataFrame({"g": np.where(numbers % 4 == 3, "a", "b"), "x": numbers, "y": numbers})


def broken(table, value):
    return table.assign(x=[*table["x"][:3].astype(object), value, *table["x"][4:]])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("high", "row 3 holds 'high'"),
        (pd.Timestamp("2026-01-01"), "(2026-01-01 00:00:00 in row 3, counting from 0)"),
        (object(), "holds object in row 3, counting from 0"),
    ],
)
def test_fit_names_the_row(table, value, said):
    given = broken(table, value)
    with pytest.raises(DataError) as refusal:
        MultiTaskRegressor(task_column="g").fit(given[["g", "x"]], given["y"])
    assert said in str(refusal.value)


def test_text_among_numbers_of_a_file_is_told_in_one_sentence(table):
    many = pd.concat([table] * 3, ignore_index=True)
    words = [*map(str, many.index[:3]), "high", *map(str, many.index[4:])]
    with pytest.raises(DataError) as refusal:
        MultiTaskRegressor(task_column="g").fit(many.assign(x=words)[["g", "x"]], many["y"])
    assert str(refusal.value) == (
        "Column 'x' holds numbers except for 'high': mark these as missing if the column is a "
        "quantity (--missing-values high). "
        "The first such cell is in row 3, counting from 0."
    )


def test_predict_names_the_row_in_each_form(table):
    model = MultiTaskRegressor(task_column="g").fit(table[["g", "x"]], table["y"])
    words = table.assign(x=[*map(str, table["x"][:3]), "high", *map(str, table["x"][4:])])
    with pytest.raises(DataError, match=r"in training; row 3, counting from 0, holds 'high'\."):
        model.predict(words[["g", "x"]])
    apart = {label: (own[["x"]], own["y"]) for label, own in table.groupby("g")}
    other = MultiTaskRegressor().fit(apart)
    given = {label: X for label, (X, _) in apart.items()}
    given["b"] = given["b"].astype(str).assign(x=["0", "1", "high", *["3"] * 27])
    given["a"] = given["a"].astype(str)
    with pytest.raises(DataError, match=r"row 2 of task 'b', counting from 0, holds 'high'"):
        other.predict(given)
