"""Numbers written with signs are read as what they say, and never as something else."""

from __future__ import annotations

from collections import Counter

import pytest

from polytask.data.written_numbers import parse_number, read_words

POINT = {
    "$1,234.50": 1234.5,
    "1'234.5": 1234.5,
    "1\u202f234.5": 1234.5,
    "\u00a0$ 69.00 ": 69.0,
    "-$5": -5.0,
    "$-5": -5.0,
    "\u22125": -5.0,
    "+5": 5.0,
    "($69.00)": -69.0,
    "$(69.00)": -69.0,
    "(1,234,567)": -1234567.0,
    "USD 5": 5.0,
    "5 EUR": 5.0,
    "US$5": 5.0,
    "35%": 35.0,
    "35 %": 35.0,
    "1.5e3": 1500.0,
    ".5": 0.5,
    "12 kg": 12.0,
    "1,340g": 1340.0,
    "$1.20M": 1200000.0,
    "$5m": 5e6,
    "1.2 bn €": 1.2e9,
    "($3k)": -3000.0,
    "1.234": 1.234,
    "12.50-": -12.5,
}
COMMA = {
    "1 234,50": 1234.5,
    "1.234,50": 1234.5,
    "1\u00a0234,50 €": 1234.5,
    "1.234": 1234.0,
    "3,5%": 3.5,
    "0,5": 0.5,
    "1.234,50-": -1234.5,
}
NO_NUMBERS = (
    *(
        "12 apples",
        "$5 kg",
        "5M",
        "007",
        "1,23,456",
        "$",
        "-",
        "--5",
        "-(5)",
        "(5",
        "2-",
        "-2.5-",
        "5)",
        "$5 USD",
        "$5%",
        "1/2",
    ),
    *("2024-01-01", "12:30", "1,2345", "12 34", "0,123", "1,234'567", "n/a?", "", "A12", "1 2"),
    *("٣", "1_000"),
)


@pytest.mark.parametrize(("word", "value"), POINT.items())
def test_decimal_points(word, value):
    assert parse_number(word, ".").value == value


@pytest.mark.parametrize(("word", "value"), COMMA.items())
def test_decimal_commas(word, value):
    assert parse_number(word, ",").value == value


@pytest.mark.parametrize("word", NO_NUMBERS)
def test_what_is_no_number(word):
    assert parse_number(word, ".") is None


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        (["$1,234.50", "$1,234"], "."),
        (["1.234,50", "1.234"], ","),
        (["1.234.567", "1.234"], ","),
        (["1,234,567", "1,234"], "."),
        (["3,5", "1,234"], ","),
        (["$5", "$7"], "."),
        (["1.234", "2.345"], "."),
    ],
)
def test_words_that_settle_the_decimal_mark(words, mark):
    found = read_words(Counter(words), None)
    assert (found.decimal, found.unsettled) == (mark, "")
    assert set(found.numbers) == set(words)


@pytest.mark.parametrize(
    "words",
    [["€1.234", "€2.500"], ["$1,234", "$950"], ["$1,234"] * 100 + ["$1.50"]],
    ids=["full stops", "commas", "one slip"],
)
def test_words_that_leave_the_decimal_mark_open(words):
    assert read_words(Counter(words), None).unsettled == words[0]
    assert read_words(Counter(words), ".").unsettled == ""
