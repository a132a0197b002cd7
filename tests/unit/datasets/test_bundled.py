"""The data sets that need no network."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_diabetes, load_digits

from polytask.datasets import load_diabetes_groups, load_digits_few, load_wages
from polytask.exceptions import ParameterError


def test_diabetes_groups_are_sex_by_age():
    dataset = load_diabetes_groups()
    X, y = load_diabetes(return_X_y=True, scaled=False)
    assert dataset.X.shape == (442, 9)
    assert_array_equal(dataset.X, X[:, [0, 2, 3, 4, 5, 6, 7, 8, 9]])
    assert_array_equal(dataset.y, y)
    counts = {name: int(np.sum(dataset.task == name)) for name in dataset.task_names}
    assert counts == {
        "female, under 40": 71,
        "female, 40 to 59": 121,
        "female, 60 and over": 43,
        "male, under 40": 46,
        "male, 40 to 59": 101,
        "male, 60 and over": 60,
    }
    old_men = dataset.task == "male, 60 and over"
    assert set(X[old_men, 1]) == {2.0}
    assert X[old_men, 0].min() >= 60


def test_digits_few_has_n_labels_per_task():
    dataset = load_digits_few(n_labels=30)
    X, digit = load_digits(return_X_y=True)
    full = dataset.extras["Y_full"]
    assert dataset.task is None
    assert_array_equal(dataset.X, X)
    assert_array_equal(full.argmax(axis=1), digit)
    assert_array_equal(full.sum(axis=1), 1)
    observed = ~np.isnan(dataset.y)
    assert_array_equal(observed.sum(axis=0), 30)
    assert_array_equal(dataset.y[observed], full[observed])
    assert_array_equal(np.nansum(dataset.y, axis=0), 3)


def test_digits_few_is_deterministic():
    first, again, other = load_digits_few(), load_digits_few(), load_digits_few(random_state=1)
    assert_array_equal(first.y, again.y)
    assert np.any(np.isnan(first.y) != np.isnan(other.y))


@pytest.mark.parametrize("n_labels", [2, 3, 1796, 1797, np.int64(10)])
def test_digits_few_always_has_both_classes(n_labels):
    y = load_digits_few(n_labels=n_labels).y
    assert_array_equal((~np.isnan(y)).sum(axis=0), n_labels)
    assert np.all(np.nanmax(y, axis=0) == 1)
    assert np.all(np.nanmin(y, axis=0) == 0)


@pytest.mark.parametrize("n_labels", [1, 1798, 2.5, True, "ten", None])
def test_digits_few_refuses_other_numbers(n_labels):
    with pytest.raises(ParameterError, match="n_labels of load_digits_few must be an integer"):
        load_digits_few(n_labels=n_labels)


def test_as_frame_gives_tables_with_names():
    long = load_diabetes_groups(as_frame=True)
    assert isinstance(long.X, pd.DataFrame)
    assert tuple(long.X.columns) == long.feature_names
    targets = load_digits_few(as_frame=True)
    assert isinstance(targets.y, pd.DataFrame)
    assert tuple(targets.y.columns) == targets.target_names
    assert_array_equal(targets.y.to_numpy(), load_digits_few().y)


def test_wages_are_interviews_of_women():
    dataset = load_wages()
    table = dataset.frame()
    assert table.shape == (3887, 15)
    assert not table.isna().any().any()
    interviews = table.groupby("woman").size()
    assert len(interviews) == len(dataset.task_names) == 450
    assert (interviews.min(), interviews.max()) == (5, 15)
    assert not table.duplicated(["woman", "year"]).any()


@pytest.mark.data
def test_wages_are_those_of_the_source():
    folder = os.environ.get("POLYTASK_DATA")
    file = Path(folder or ".") / "grouped" / "wages.csv.gz"
    if folder is None or not file.is_file():
        pytest.skip("POLYTASK_DATA names no folder with grouped/wages.csv.gz")
    source = pd.read_csv(file).sort_values(["idcode", "t"]).reset_index(drop=True)
    size = source.groupby("idcode")["t"].transform("size")
    often = source[size >= 5]
    women = often["idcode"].unique()
    drawn = women[np.round(np.linspace(0, len(women) - 1, 450)).astype(int)]
    rows = often[often["idcode"].isin(drawn)]
    table = load_wages().frame()
    assert_array_equal(table["woman"], rows["idcode"])
    assert_array_equal(table["year"], 1978 + rows["t"])
    assert_array_equal(table["log_wage"], rows["ln_wage"].round(4))
    assert_array_equal(table["experience"], rows["ttl_exp"].round(2))
    assert_array_equal(table["occupation"] == "group 3", rows["occ_code_3"] == 1)
