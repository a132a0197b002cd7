"""A target is a number or a class by one rule, and what is neither is refused."""

from __future__ import annotations

import string

import numpy as np
import pytest

from polytask import MultiTaskModel, MultiTaskRegressor, compare, relatedness
from polytask._estimator.problem import read_outcomes, read_problem
from polytask.data import read_numbers
from polytask.data.target_kinds import python_words, read_target
from polytask.exceptions import DataError

WORDS = python_words("y of me")
TEXT_NUMBERS = [f"{v / 4}" for v in range(60)]


def _read(cells, **options):
    values = np.empty(len(cells), dtype=object)
    values[:] = cells
    return read_target(values, WORDS, **options)


@pytest.mark.parametrize(
    ("cells", "is_class", "reason"),
    [
        ([1.5, 2.5, 3.5], False, "holds numbers"),
        (list(np.exp(np.linspace(-3, 3, 60))), False, "holds positive numbers, a few far above"),
        (list(np.linspace(1, 3, 60)), False, "holds numbers"),
        (
            list(np.round(np.exp(np.linspace(1, 5, 60)))),
            False,
            "holds positive whole numbers, a few far above the rest (if they are counts, add "
            "--loss poisson",
        ),
        ([0, *np.round(np.exp(np.linspace(1, 5, 60)))], False, "holds whole numbers from 0 (if"),
        ([0, *range(30, 60)], False, "holds numbers"),
        ([0, 1, None, 3], False, "holds whole numbers from 0 (if they are counts, add --loss"),
        ([0, 1, 2.5], False, "holds numbers"),
        ([0, 1, 90], False, "holds numbers"),
        ([1, 2, 5], False, "holds numbers"),
        ([1.5, 2.5, None, 1.5], False, "holds numbers"),
        ([0, 1, 0], True, "has two distinct values (0.0, 1.0)"),
        ([7.0, None, 7.0], False, "holds one value only (7.0)"),
        ([True, False, None], True, "holds true/false"),
        (["yes", "no"], True, "holds text (no, yes)"),
        (["A12", "B7", "C3"], True, "holds text (A12, B7, C3)"),
        (["$5", "$10"], True, "holds text ($10, $5)"),
        (["007", "012", "123", "124"], True, "holds text (007, 012, 123, 124)"),
        (list("0123456789"), True, "holds text (0, 1, 2, 3, ...)"),
        (list(string.ascii_letters[:26]) * 10, True, "holds text (a, b, c, d, ...)"),
        (["x", "y", "z"] * 12, True, "holds text (x, y, z)"),
        ([1, "other", "none"], True, "holds text (1, other, none)"),
        (["$5.00", "$5", "$10"], True, "has two distinct values (5.0, 10.0)"),
        (["$5", "$6.50", "$1,007"], False, "holds numbers written with '$' and ','"),
        (TEXT_NUMBERS, False, "holds numbers written as text ('0.0' is 0)"),
    ],
)
def test_kinds(cells, is_class, reason):
    found = _read(cells)
    assert found.is_class is is_class
    assert str(found.reason).startswith(reason)


def test_what_is_read_keeps_gaps_and_says_which_words_are_missing():
    found = _read(["$5", None, "N/A", "($6.5)", "$1,007"])
    np.testing.assert_array_equal(found.values, [5, np.nan, np.nan, -6.5, 1007])
    assert found.missing == {"N/A": 1}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([*TEXT_NUMBERS, "n/a?"], "y of me holds numbers but for 'n/a?' in row 60, counting"),
        ([1.5, 2.5, 3.5, "NA"], "holds numbers but for 'NA' in row 3"),
        ([1.5, 2.5, "3.5"], "holds numbers but for '3.5' in row 2"),
        ([*TEXT_NUMBERS, *"abcde"], "'b' in row 61 and 'c' in row 62, counting from 0 (2 more"),
        (["$5", "€6", "$7"], "of different units: '$5' in row 0 and '€6' in row 1"),
        (["5%", "0.06", "7%"], "of different units: '5%' in row 0 and '0.06' in row 1"),
        (["€1.234", "€2.500", "€5"], "read_numbers(..., decimal='.') (1.234) or read_numbers("),
        (
            [f"c{k % 21}" for k in range(209)],
            "is text with 21 different values (c0, c1, c10, c11, ...) in 209 rows. More than 20",
        ),
        (
            ["50,31", "49.69", "51,20", "50.10"],
            "with decimal points: '49.69' in row 1 and '50,31' in row 0, counting from 0. Write",
        ),
        (["31.12.2023", "01.02.2024"] * 20, "y of me holds dates or times, such as '31.12.2023'"),
        (["2024-01", "2024-02", None] * 20, "If each is a class, say loss='multinomial'."),
    ],
)
def test_refusals(cells, words):
    with pytest.raises(DataError) as refusal:
        _read(cells)
    assert words in str(refusal.value)


def test_many_classes_of_enough_rows_or_asked_for():
    assert _read([f"c{k % 21}" for k in range(210)]).is_class
    assert _read([f"c{k % 21}" for k in range(209)], wanted="classes").is_class
    with pytest.raises(DataError, match="categories with 21 different"):
        _read([f"c{k % 21}" for k in range(209)], declared=True)


def test_the_decimal_mark_is_followed():
    cells = ["€1.234", "€2.500", "€5"]
    assert _read(cells, decimal=".").values.tolist() == [1.234, 2.5, 5]
    assert _read(cells, decimal=",").values.tolist() == [1234, 2500, 5]


def test_read_numbers():
    found = read_numbers(["$5", 7.5, None, "NA", "(3)"])
    np.testing.assert_array_equal(found, [5, 7.5, np.nan, np.nan, -3])
    with pytest.raises(DataError, match=r"must hold numbers; got 'red' in row 0"):
        read_numbers(["red", "blue"])
    with pytest.raises(DataError, match="values of read_numbers must be 1-D"):
        read_numbers([["1", "2"]])


def _rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    return X, rng.choice(["a", "b"], 200), (60 + X[:, 0]).round(2)


DIRTY = {
    "a cell": (lambda y: [*y[:7], "n/a?", *y[8:]], "'n/a?' in row 7, counting from 0"),
    "money": (lambda y: [f"${v}" for v in y], "holds numbers written with '$'"),
    "many": (lambda y: [f"c{k % 100}" for k in range(200)], "is text with 100 different values"),
}


@pytest.mark.parametrize(("spoil", "words"), DIRTY.values(), ids=DIRTY)
@pytest.mark.parametrize(
    "call",
    [
        lambda X, y, task: compare(X, y, task=task, quick=True),
        lambda X, y, task: relatedness(X, y, task=task),
        lambda X, y, task: MultiTaskModel().fit(X, y, task),
    ],
    ids=["compare", "relatedness", "MultiTaskModel"],
)
def test_python_refuses_a_dirty_target(call, spoil, words):
    X, task, y = _rows()
    dirty = np.empty(200, dtype=object)
    dirty[:] = spoil(y.tolist())
    with pytest.raises(DataError) as refusal:
        call(X, dirty, task)
    assert words in str(refusal.value)


def test_a_regressor_names_what_reads_money():
    X, task, y = _rows()
    with pytest.raises(DataError, match=r"got '\$.*is read as numbers by polytask.data.read_num"):
        MultiTaskRegressor().fit(X, [f"${v}" for v in y], task)


def test_a_cell_of_a_target_matrix_and_of_a_mapping_is_named_where_it_stands():
    X, _, y = _rows()
    dirty = y.astype(object)
    dirty[150] = "n/a?"
    with pytest.raises(DataError, match=r"task 1 holds numbers but for 'n/a\?' in row 150,"):
        compare(X, np.column_stack([y.astype(object), dirty]), quick=True)
    halves = {"a": (X[:100], y[:100].astype(object)), "b": (X[100:], dirty[100:])}
    with pytest.raises(DataError, match="in row 50 of task 'b', counting from 0"):
        MultiTaskModel().fit(halves)


def test_rows_of_numbers_and_of_classes_are_a_mixed_problem():
    X, task, y = _rows()
    both = np.where(task == "a", y.astype(object), np.where(y > 60, "high", "low"))
    problem, outcomes, losses = read_outcomes(read_problem(X, both, task, None, None), "auto")
    assert problem == "mixed"
    assert [loss.name for loss in outcomes.losses] == ["squared", "logistic"]
    assert [losses[label].name for label in "ab"] == ["squared", "logistic"]
