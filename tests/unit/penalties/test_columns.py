"""Columns: who owns which column."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.exceptions import ParameterError
from polytask.penalties import Columns

COLUMNS = Columns(("b", "b", "a", "a", "c"), ("x", "y", "y", "z", "x"))


def as_lists(groups):
    return [group.tolist() for group in groups]


def test_groups_come_in_the_order_of_first_appearance():
    assert COLUMNS.n_columns == 5
    assert COLUMNS.task_labels() == ("b", "a", "c")
    assert COLUMNS.class_labels() == ("x", "y", "z")
    assert as_lists(COLUMNS.task_groups()) == [[0, 1], [2, 3], [4]]
    assert as_lists(COLUMNS.class_groups()) == [[0, 4], [1, 2], [3]]
    assert COLUMNS.class_groups()[0].dtype == np.intp


def test_plain_columns_are_of_one_class():
    plain = Columns.plain(3)
    assert plain == Columns((0, 1, 2), (None, None, None))
    assert as_lists(plain.class_groups()) == [[0, 1, 2]]


def test_no_columns():
    assert Columns.plain(0).class_groups() == ()


def test_lists_become_tuples_so_that_columns_can_be_hashed():
    assert hash(Columns(["a"], [None])) == hash(Columns(("a",), (None,)))


def test_state():
    assert Columns.from_state(COLUMNS.to_state()) == COLUMNS


def test_unequal_lengths_are_refused():
    with pytest.raises(ParameterError, match=r"as long as tasks \(2\); got 1"):
        Columns((0, 1), (None,))
