"""Columns of text become values: repeated or distinct words, one file or several, in any order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from polytask.data._csv_text import RawTable
from polytask.data._csv_types import SAMPLE, type_columns

ROWS = SAMPLE + 2_000
# Every spelling of a few numbers, and of "missing" among numbers.
SPELLINGS = {"1.5": 1.5, " 1.5": 1.5, "+1.5\t": 1.5, "-2": -2.0, ".5": 0.5, "1e3": 1000.0}
MISSING = ("", "  ", "NA", " NA", "?")


def raw(**columns):
    """Return a text table; a column is a list of words, or a list of chunks of words."""
    chunked = {
        name: pa.chunked_array(words if isinstance(words[0], list) else [words], pa.string())
        for name, words in columns.items()
    }
    return RawTable("t.csv", chunked, "utf-8", ",")


def read(words):
    (table,), notes = type_columns([raw(x=words)], ".")
    return table["x"].to_pylist(), tuple(map(str, notes))


def test_words_that_repeat_are_read_wherever_they_stand():
    rng = np.random.default_rng(0)
    known = {**SPELLINGS, **dict.fromkeys(MISSING)}
    words = rng.choice(list(known), ROWS).tolist()
    values, notes = read([words[:100], words[100:]])
    assert values == [known[word] for word in words]
    counts = {marker: sum(word.strip() == marker for word in words) for marker in ("?", "NA")}
    cells = f"'?' ({counts['?']:,} cells); 'NA' ({counts['NA']:,} cells)"
    assert notes == (f"In column 'x' these cells are read as missing: {cells}.",)


def test_words_that_are_all_different_are_read_the_same_way():
    numbers = np.random.default_rng(0).standard_normal(ROWS).tolist()
    words = [repr(number) for number in numbers]
    words[-3:] = [" +1.5", "NA", "\t"]
    values, notes = read([words[:7], words[7:]])
    assert values == [*numbers[:-3], 1.5, None, None]
    assert notes == ("In column 'x' these cells are read as missing: 'NA' (1 cell).",)


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("last", ["x", "1,5", "1e5x", "007"])
def test_one_word_at_the_end_makes_a_column_text(last, many):
    words = [str(k if many else k % 7) for k in range(ROWS)] + [" NULL ", last]
    values, notes = read(words)
    assert values == [*words[:-2], None, last]
    assert notes[0] == "In column 'x' these cells are read as missing: 'NULL' (1 cell)."


def test_a_word_counts_once_in_a_hint_however_it_is_spaced():
    words = ["1", "2", "3", " 1", "2 ", "\t3", "low", "high"] * 3
    # Of the five different words three are numbers: too few to look like numbers.
    assert read(words) == (words, ())


def test_a_column_of_several_files_has_one_meaning_and_keeps_its_rows():
    files = [
        raw(x=["1", "2", "1"], y=["a"] * 3),
        raw(y=["NA"], z=["5"]),
        raw(z=["6", "?"], x=[["4.5"], ["+7"]], y=["b", "a"]),
    ]
    tables, notes = type_columns(files, ".")
    assert [table.to_pydict() for table in tables] == [
        {"x": [1.0, 2.0, 1.0], "y": ["a"] * 3},
        {"y": ["NA"], "z": [5.0]},
        {"z": [6.0, None], "x": [4.5, 7.0], "y": ["b", "a"]},
    ]
    assert tuple(map(str, notes)) == (
        "In the text column 'y' these cells are values, not missing: 'NA' (1 cell). If they mean "
        "that the value is missing, add --missing-values NA (missing_values=['NA']).",
        "In column 'z' these cells are read as missing: '?' (1 cell).",
    )


def test_many_columns_are_read_as_each_alone_and_in_order():
    kinds = (["1", "-", "1"], ["007", "1", "2"], ["2024-01-31"] * 3, ["true", "", "FALSE"])
    columns = {f"c{k}": kinds[k % 4] for k in range(60)}
    (table,), notes = type_columns([raw(**columns)], ".")
    assert table.column_names == list(columns)
    alone = [type_columns([raw(**{name: words})], ".") for name, words in columns.items()]
    assert notes == tuple(note for _, said in alone for note in said)
    for name, ((one,), _) in zip(columns, alone, strict=True):
        assert table[name].equals(one[name])


def test_no_files_have_no_columns():
    assert type_columns([], ".") == ([], ())


THOUSANDS = ["3,246", "2,632", "812"]


@pytest.mark.parametrize(
    ("columns", "decimal", "separator", "values"),
    [
        # Another column shows that full stops are the decimal mark of the file.
        ({"x": THOUSANDS, "t": ["7.4", "7.3", "6"]}, None, ",", [3246, 2632, 812]),
        ({"x": THOUSANDS}, ".", ",", [3246, 2632, 812]),
        ({"x": ["3,246.5", "2,632", "812"]}, None, ",", [3246.5, 2632, 812]),
        ({"x": ["1 234", "12 345", "7"]}, None, ",", [1234, 12345, 7]),
        ({"x": ["3.731,66", "2.004,10", "812"]}, ",", ";", [3731.66, 2004.1, 812]),
        ({"x": ["3.731,66", "2.004,10", "812"]}, None, ";", [3731.66, 2004.1, 812]),
        ({"x": ["3.731", "2.004", "812"], "t": ["7,4", "7,3", "6"]}, None, ";", [3731, 2004, 812]),
    ],
)
def test_marks_between_thousands_are_read_where_the_file_tells(
    columns, decimal, separator, values
):
    text = dataclasses.replace(raw(**columns), separator=separator)
    (table,), notes = type_columns([text], decimal)
    assert table["x"].to_pylist() == values
    assert any("Column 'x' is read as numbers, written with" in str(note) for note in notes)


def test_a_comma_that_may_stand_between_thousands_is_asked_about_with_both_readings():
    (table,), notes = type_columns([raw(x=THOUSANDS, t=["1.234", "7", "6"])], None)
    assert table["x"].to_pylist() == THOUSANDS
    assert str(notes[0]) == (
        "Column 'x' is read as text, because '3,246' can be read in two ways: say decimal='.' "
        "(--decimal .) if it is 3246, or decimal=',' (--decimal ,) if it is 3.246."
    )


def test_no_hint_repeats_the_decimal_mark_that_was_given():
    words = ["3.731,66", "2.004,10", "812", *(f"{k},5" for k in range(20)), "closed"]
    _, notes = type_columns([raw(x=words)], ",")
    assert "--missing-values closed" in str(notes[-1])
    assert "--decimal" not in str(notes[-1])
