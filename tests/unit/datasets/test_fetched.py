"""The fetched sets, parsed from the original files, against arrays made from them separately."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from polytask.datasets import (
    fetch_computer,
    fetch_enb,
    fetch_heart,
    fetch_landmine,
    fetch_school,
)

pytestmark = pytest.mark.data

FETCHERS = [fetch_school, fetch_computer, fetch_landmine, fetch_heart, fetch_enb]


@pytest.fixture
def arrays(polytask_data):
    def load(name):
        path = polytask_data / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"{name}.npz is not in the folder of real data sets")
        return np.load(path, allow_pickle=False)

    return load


@pytest.mark.parametrize(
    ("fetch", "name", "counts"),
    [
        (fetch_school, "school", (15362, 28, 139, 22, 251)),
        (fetch_computer, "computer", (3800, 14, 190, 20, 20)),
        (fetch_landmine, "landmine", (14820, 9, 29, 445, 690)),
    ],
)
def test_numbered_tasks_equal_the_arrays(arrays, fetch, name, counts):
    expected = arrays(name)
    dataset = fetch()
    # single precision where the arrays were stored so
    assert_array_equal(dataset.X.astype(expected["X"].dtype), expected["X"])
    assert_array_equal(dataset.y, expected["y"])
    assert_array_equal(dataset.task, expected["task"])
    assert dataset.task_names == tuple(range(len(expected["task_names"])))
    rows = np.bincount(dataset.task)
    assert (*dataset.X.shape, len(rows), rows.min(), rows.max()) == counts


def test_school_names_fit_the_data(polytask_data):
    frame = fetch_school().frame()
    per_school = frame.groupby("school").mean()
    assert (per_school.loc[per_school["school_girls"] == 1, "female"] == 1).all()
    assert per_school.loc[per_school["school_boys"] == 1, "female"].max() < 0.01
    assert per_school["vr_band_1_share"].corr(per_school["vr_band_1"]) > 0.8
    by_band = [frame.loc[frame[f"vr_band_{k}"] == 1, "score"].mean() for k in (1, 2, 3)]
    assert by_band == sorted(by_band, reverse=True)
    assert (frame["constant"] == 1).all()


def test_computer_extras(arrays):
    expected = arrays("computer")
    extras = fetch_computer().extras
    assert_array_equal(extras["profile"], expected["profile"])
    assert_array_equal(extras["task_features"], expected["task_features"])


def test_landmine_has_904_mines(polytask_data):
    dataset = fetch_landmine()
    assert dataset.y.sum() == 904
    assert set(dataset.y) == {0, 1}


@pytest.mark.parametrize("as_frame", [True, False])
def test_heart_equals_the_arrays(arrays, as_frame):
    expected = arrays("heart4")
    dataset = fetch_heart(as_frame=as_frame)
    assert isinstance(dataset.X, pd.DataFrame) is as_frame
    assert_array_equal(np.asarray(dataset.X), expected["X"])
    assert_array_equal(dataset.y, expected["y"])
    assert_array_equal(dataset.extras["grade"], expected["grade"])
    assert_array_equal(dataset.task, expected["task_names"][expected["task"]])
    assert dataset.feature_names == tuple(expected["feature_names"])
    assert dataset.task_names == tuple(expected["task_names"])
    assert [int(np.sum(dataset.task == name)) for name in dataset.task_names] == [
        *(303, 294, 123, 200)
    ]


def test_heart_is_a_data_frame_by_default(polytask_data):
    dataset = fetch_heart()
    assert isinstance(dataset.X, pd.DataFrame)
    assert dataset.X.isna().to_numpy().mean() == pytest.approx(0.14707, abs=1e-5)
    assert set(dataset.extras["categorical"]) < set(dataset.feature_names)


def test_enb_equals_the_arrays(arrays):
    expected = arrays("mtr_enb")
    dataset = fetch_enb()
    assert_array_equal(dataset.X, expected["X"])
    assert_array_equal(dataset.y, expected["y"])
    assert dataset.task is None
    assert dataset.X.shape == (768, 8)
    surface, wall, roof = dataset.X[:, 1], dataset.X[:, 2], dataset.X[:, 3]
    assert_array_equal(roof, (surface - wall) / 2)


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize("as_frame", [True, False])
def test_every_set_is_described_and_becomes_a_table(polytask_data, fetch, as_frame):
    dataset = fetch(as_frame=as_frame)
    assert isinstance(dataset.X, pd.DataFrame) is as_frame
    assert len(dataset.feature_names) == dataset.X.shape[1]
    assert len(set(dataset.feature_names)) == dataset.X.shape[1]
    for words in (dataset.description, dataset.citation, dataset.licence):
        assert words
    frame = dataset.frame()
    assert len(frame) == len(dataset.X)
    assert set(dataset.target_names) <= set(frame.columns)
    if dataset.task_column is not None:
        assert set(frame[dataset.task_column]) == set(dataset.task_names)


@pytest.mark.parametrize("fetch", FETCHERS)
def test_every_set_becomes_task_data(polytask_data, fetch):
    dataset = fetch()
    data = dataset.to_task_data()
    assert set(data.tasks) == set(dataset.task_names)
    assert tuple(data.feature_names) == dataset.feature_names
    assert data.n_rows == len(dataset.X)
