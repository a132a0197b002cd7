"""Refusals of a part name rows by where these stand in what is read."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.data.missing import rows_text
from polytask.data.places import Place
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Translator

ROW = LazyMessage("place.row", {"row": "3"})
ROWS = rows_text(np.isin(np.arange(40), [3, 7]))
NODE = LazyMessage("place.counted", {"place": ROW}).node
SAID = LazyMessage("said", {"name": "row 3"})
BOTH = LazyMessage("list.and", {"before": [ROW.node, ROWS], "after": SAID})


def told(place: Place, message: LazyMessage | str) -> LazyMessage | str:
    with pytest.raises(DataError) as refused, place.named():
        raise DataError(message)
    found: LazyMessage | str = refused.value.args[0]
    return found


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ROW, "row 103"),
        (ROWS, "2 rows (103, 107)"),
        (LazyMessage("place.counted", {"place": NODE}), "row 103, counting from 0, counting"),
        (BOTH, "row 103; 2 rows (103, 107) and row 3"),
        (LazyMessage("got.cell", {"cell": "'row 3'", "row": 3}), "'row 3' in row 103, counting"),
        # A count of rows is no number of a row.
        (
            LazyMessage("doubt.some_rows", {"rows": 3, "of": 7}),
            "all 3 rows (of 7) in which neither",
        ),
    ],
)
def test_rows_count_from_the_first_of_all(message: LazyMessage, expected: str) -> None:
    found = told(Place(100), message)
    assert str(found).startswith(expected)
    in_file = told(Place(100, "b.csv"), message)
    named = str(message) != str(found)
    assert str(in_file) == (f"b.csv: {found}" if named else str(message))
    # Such a message can be said of any row, also of the first of a file.
    assert str(told(Place(0, "b.csv"), message)) == (
        f"b.csv: {message}" if named else str(message)
    )


def test_rows_that_are_left_out_count_too() -> None:
    place = Place(100, kept=np.array([0, 2, 4, 6, 8, 10, 12, 20]))
    assert str(told(place, ROWS)) == "2 rows (106, 120)"


def test_every_language_has_a_sentence_of_a_file() -> None:
    found = told(Place(1, "甲.csv"), ROW)
    assert isinstance(found, LazyMessage)
    assert found.text(Translator("zh")) == "甲.csv：第 4 行"


def test_what_is_no_message_stays_as_it_is() -> None:
    assert told(Place(100, "b.csv"), "row 3 is odd") == "row 3 is odd"
