"""Which column is what."""

from __future__ import annotations

import pytest

from polytask.cli.columns import ColumnOptions, matching, roles_of
from polytask.exceptions import DataError, ParameterError

COLUMNS = ["g", "id", "x1", "x2", "a,b", "y", "y_1", "w"]


def test_features_are_what_is_left():
    wanted = ColumnOptions(tasks=("g",), weight="w", target=("y",), ids=("id",), drop=("y_*",))
    assert roles_of(wanted, COLUMNS, "t").features == ("x1", "x2", "a,b")


def test_patterns_pass_over_columns_with_another_role():
    wanted = ColumnOptions(tasks=("g",), target=("y",), features=("*",), drop=("id,w",))
    assert roles_of(wanted, COLUMNS, "t").features == ("x1", "x2", "a,b", "y_1")


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("x2,x1",), ("x1", "x2")),
        (("a,b",), ("a,b",)),
        (("x[12]", "y"), ("x1", "x2", "y")),
        ((), ()),
    ],
)
def test_matching(patterns, found):
    assert matching(patterns, COLUMNS, "t") == found


def test_a_task_may_name_the_rows_as_well():
    roles = roles_of(ColumnOptions(tasks=("g",), target=("y",), ids=("g",)), COLUMNS, "t")
    assert roles.ids == ("g",)


@pytest.mark.parametrize(
    "wanted",
    [
        ColumnOptions(tasks=("y",), target=("y",)),
        ColumnOptions(tasks=("g",), target=("y",), weight="y"),
        ColumnOptions(tasks=("g",), target=("y",), ids=("y",)),
        ColumnOptions(tasks=("g",), target=("y",), features=("g",)),
    ],
)
def test_two_roles_are_refused(wanted):
    with pytest.raises(ParameterError, match=r"Column '[gy]'"):
        roles_of(wanted, COLUMNS, "t")


def test_unknown_columns_are_refused():
    with pytest.raises(DataError, match=r"no column 'Y_1'\. Did you mean 'y_1'"):
        roles_of(ColumnOptions(features=("Y_1",)), COLUMNS, "t")
