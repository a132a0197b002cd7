"""What every loader returns: names, one table, the data of all tasks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from polytask import datasets
from polytask.data.taskdata import Form
from polytask.datasets import load_diabetes_groups, load_digits_few


def test_public_names():
    assert set(datasets.__all__) == {
        "Dataset",
        "fetch_computer",
        "fetch_enb",
        "fetch_heart",
        "fetch_landmine",
        "fetch_school",
        "load_diabetes_groups",
        "load_digits_few",
        "load_wages",
    }


def test_frozen_and_said_in_one_line():
    dataset = load_diabetes_groups()
    assert repr(dataset) == "<Dataset diabetes_groups: 442 rows, 9 features, 6 tasks>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


@pytest.mark.parametrize("as_frame", [False, True])
def test_frame_of_the_long_form(as_frame):
    dataset = load_diabetes_groups(as_frame=as_frame)
    frame = dataset.frame()
    assert tuple(frame.columns) == (*dataset.feature_names, "group", "progression")
    assert_array_equal(frame["group"], dataset.task)
    assert_array_equal(frame["progression"], dataset.y)
    frame["age"] = 0.0
    assert np.asarray(dataset.X)[:, 0].min() == 19


@pytest.mark.parametrize("as_frame", [False, True])
def test_frame_of_the_targets_form(as_frame):
    dataset = load_digits_few(as_frame=as_frame)
    frame = dataset.frame()
    assert tuple(frame.columns) == (*dataset.feature_names, *dataset.target_names)
    assert_array_equal(frame[list(dataset.target_names)], dataset.y)


@pytest.mark.parametrize("as_frame", [False, True])
def test_task_data_of_the_long_form(as_frame):
    dataset = load_diabetes_groups(as_frame=as_frame)
    data = dataset.to_task_data()
    assert data.form is Form.LONG
    assert set(data.tasks) == set(dataset.task_names)
    assert tuple(data.feature_names) == dataset.feature_names
    assert_array_equal(data.y, dataset.y[data.order])
    assert_array_equal(np.asarray(data.X), np.asarray(dataset.X)[data.order])
    assert_array_equal(np.array(data.tasks)[data.row_tasks()], dataset.task[data.order])


@pytest.mark.parametrize("as_frame", [False, True])
def test_task_data_of_the_targets_form(as_frame):
    dataset = load_digits_few(as_frame=as_frame)
    data = dataset.to_task_data()
    assert data.form is Form.TARGETS
    assert data.tasks == dataset.target_names
    assert tuple(data.feature_names) == dataset.feature_names
    assert_array_equal(data.y, np.asarray(dataset.y))
    assert_array_equal(data.labelled().sum(axis=0), 40)
