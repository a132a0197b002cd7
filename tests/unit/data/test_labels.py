"""Task labels keep their type, and a label that does not match is explained."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from polytask.data.labels import LabelIndex, factorize, in_order, warn_near_misses
from polytask.exceptions import DataError, DataWarning, ParameterError


@pytest.mark.parametrize(
    "labels",
    [
        [7, 8, 7],
        np.array([7, 8, 7], dtype=np.int32),
        np.array([7, 8, 7], dtype=object),
        [np.int64(7), np.int64(8), 7],
        pd.Series([7, 8, 7], index=[3, 1, 2]),
        pd.Series([7, 8, 7], dtype="Int64"),
        pd.Series([7, 8, 7], dtype="category"),
        pl.Series([7, 8, 7]),
        pa.chunked_array([[7, 8], [7]]),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_integers_of_any_container_are_python_integers(labels):
    distinct, codes = factorize(labels)
    assert distinct == (7, 8)
    assert [type(label) for label in distinct] == [int, int]
    assert codes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "07", "b"],
        np.array(["b", "07", "b"]),
        np.array(["b", "07", "b"], dtype=np.dtypes.StringDType()),
        pd.Series(["b", "07", "b"], dtype="category"),
        pd.Series(["b", "07", "b"], dtype="string"),
        pl.Series(["b", "07", "b"], dtype=pl.Categorical),
        pa.chunked_array([pa.array(["b", "07", "b"]).dictionary_encode()]),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_text_of_any_container_is_python_text(labels):
    distinct, codes = factorize(labels)
    assert distinct == ("07", "b")
    assert [type(label) for label in distinct] == [str, str]
    assert codes.tolist() == [1, 0, 1]


def test_other_types_of_labels():
    assert factorize([True, False])[0] == (False, True)
    assert factorize(np.array([1.5, 0.5]))[0] == (0.5, 1.5)
    day = datetime.datetime(2020, 1, 2)
    assert factorize(np.array(["2020-01-02"], dtype="datetime64[ns]"))[0] == (day,)


def test_mixed_types_stay_apart_in_the_order_of_appearance():
    distinct, codes = factorize(["7", 7, 7.0, " 7"])
    assert distinct == ("7", 7, " 7")
    assert codes.tolist() == [0, 1, 1, 2]
    assert in_order([2, "a", 1]) == (2, "a", 1)


def test_near_misses_are_named():
    with pytest.warns(DataWarning, match=r"7 \(int\) and '07' \(str\)"):
        warn_near_misses([7, "07", "8"])
    with pytest.warns(DataWarning, match=r"'a' and 'a '"):
        warn_near_misses(["a", "b", "a "])
    with pytest.warns(DataWarning, match=r"'Shop 1' and 'shop  1'"):
        warn_near_misses(["Shop 1", "shop  1", "shop 2"])
    # Letters that look the same are told apart by their codes.
    with pytest.warns(DataWarning, match=r"'caf\\xe9' and 'cafe\\u0301'"):
        warn_near_misses(["caf\u00e9", "cafe\u0301"])
    with pytest.warns(DataWarning, match="and 1 more"):
        warn_near_misses([*range(6), *map(str, range(6))])


def test_ordinary_labels_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_near_misses([1, 2, 3])
        warn_near_misses(["a", "A", "7", "8"])


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "a", float("nan")],
        np.array([1.0, np.nan, 2.0, np.nan]),
        pd.Series(["a", None, "b", None]),
        pd.Series([1, None, 2, None], dtype="Int64"),
        pd.Series(["a", None, "b", None], dtype="category"),
        pl.Series(["a", None, "b", None]),
        pa.chunked_array([pa.array(["a", None, "b", None]).dictionary_encode()]),
        np.array(["2020", "NaT", "2021", "NaT"], dtype="datetime64[s]"),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_missing_labels_are_refused_by_row(labels):
    with pytest.raises(DataError, match=r"task of TaskData .* 2 rows \(1, 3\)"):
        factorize(labels)


def test_only_the_first_five_rows_are_named():
    with pytest.raises(DataError, match=r"7 rows \(0, 1, 2, 3, 4, \.\.\.\)"):
        factorize([None] * 7)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((3, 2)),
        np.zeros(2, dtype=complex),
        "abc",
        pd.DataFrame({"a": [1]}),
        3,
        np.ma.array([1, 2], mask=[0, 1]),
    ],
    ids=["2-D", "complex", "text", "table", "number", "masked"],
)
def test_what_is_no_array_of_labels_is_refused(labels):
    with pytest.raises(DataError, match="one label per row"):
        factorize(labels)


def test_unhashable_labels_are_refused():
    with pytest.raises(DataError, match="plain values"):
        factorize([[1], [2]])


def test_encode_matches_as_python_compares():
    index = LabelIndex((7, 8, "b"))
    assert index.encode([8, 7.0, "b", np.int8(7)]).tolist() == [1, 0, 2, 0]
    assert index.encode(np.array([8.0, 7.0])).tolist() == [1, 0]


def test_encode_codes_unseen_labels_if_allowed():
    assert LabelIndex((7, 8)).encode([9, 7, "7"], unseen="shared").tolist() == [-1, 0, -1]
    with pytest.raises(ParameterError, match="unseen_tasks"):
        LabelIndex((7, 8)).encode([7], unseen="ignore")


def test_true_is_1_only_where_labels_are_0_and_1():
    assert LabelIndex((0, 1)).encode([True, False]).tolist() == [1, 0]
    assert LabelIndex((False, True)).encode([1, 0]).tolist() == [1, 0]
    assert LabelIndex((1, 2, 3)).encode([True], unseen="shared").tolist() == [-1]
    with pytest.raises(DataError, match=r"1 unseen label \(True\)"):
        LabelIndex((1, 2, 3)).encode([True, True])


def test_encode_explains_near_misses():
    with pytest.raises(DataError) as caught:
        LabelIndex((7, "x ")).encode(["7", 7, "x", "q"])
    text = str(caught.value)
    assert "'7' (str): the model knows 7 (int)" in text
    assert "'x' (str): the model knows 'x ' (str)" in text
    assert "3 unseen labels ('7', 'x', 'q') in 3 rows (0, 2, 3)" in text
    assert 'unseen_tasks="shared"' in text


def test_encode_suggests_a_spelling():
    with pytest.raises(DataError, match="Did you mean 'north'"):
        LabelIndex(("north", "south")).encode(["nroth"])


def test_encode_shortens_long_lists():
    with pytest.raises(DataError, match=r"9 unseen labels .*, \.\.\.\).*and 4 more"):
        LabelIndex(tuple(range(9))).encode([str(i) for i in range(9)])


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64"])
@pytest.mark.parametrize("spread", [1, 10**6])
def test_integers_are_factorized_as_their_list_is(kind, spread):
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.integers(-5, 5, 40) * spread, [0]])
    if spread > 1 and kind[-1] == "8":
        values = np.array([low, high, low, 3])
    values = np.clip(values, low, min(high, 2**62)).astype(kind)
    if kind == "uint64" and spread > 1:
        values = np.array([high, 0, high], dtype=kind)
    found, codes = factorize(values)
    expected, places = factorize(values.tolist())
    assert (found, codes.tolist(), codes.dtype) == (expected, places.tolist(), places.dtype)
    assert {type(label) for label in found} == {int}


def test_integers_beyond_those_with_a_sign_are_labels():
    values = np.array([2**63 + 2, 2**63, 2**63 + 2], dtype=np.uint64)
    assert factorize(values)[0] == (2**63, 2**63 + 2)
