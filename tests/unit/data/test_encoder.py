"""TableEncoder: what each kind of column becomes, and that nothing depends on the library."""

from __future__ import annotations

import datetime
import decimal
import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from polytask._registry import name_of, resolve
from polytask.data.encoder import TableEncoder
from polytask.exceptions import DataError, DataWarning, IncompatibleError

KINDS = (pd.DataFrame, pl.DataFrame, pa.table)


def labels(encoder: TableEncoder) -> list[str]:
    return encoder.get_feature_names_out().tolist()


def quiet(encoder: TableEncoder, table: object, **given: Any) -> TableEncoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return encoder.fit(table, **given)


MIXED = {
    "age": [30.0, None, 50.0, 41.5],
    "rooms": [1, 2, 3, 4],
    "colour": ["red", "blue", None, "red"],
    "smoker": [True, False, None, True],
    "颜色": ["红", "绿", "红", "a=b c"],
}


@pytest.mark.parametrize("make", KINDS)
def test_each_kind_of_column(make):
    encoder = TableEncoder().fit(make(MIXED))
    assert labels(encoder) == [
        *("age", "age=missing", "rooms"),
        *("colour=blue", "colour=red", "colour=missing", "smoker", "smoker=missing"),
        *("颜色=a=b c", "颜色=红", "颜色=绿"),
    ]
    expected = [
        [30.0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0],
        [41.5, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1],
        [50.0, 0, 3, 0, 0, 1, 1, 1, 0, 1, 0],
        [41.5, 0, 4, 0, 1, 0, 1, 0, 1, 0, 0],
    ]
    np.testing.assert_array_equal(encoder.transform(make(MIXED)), expected)
    assert encoder.n_features_in_ == 5
    assert encoder.feature_names_in_.tolist() == list(MIXED)
    assert encoder.source_columns().tolist() == [0, 0, 1, 2, 2, 2, 3, 3, 4, 4, 4]


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.booleans(),
            st.none() | st.sampled_from(["a", "b", "红", "other", "missing", ""]),
            st.integers(-(2**62), 2**62),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None)
def test_every_library_gives_the_same_bits(rows):
    rows = rows * 2  # no level is seen once only, so none looks like an identifier
    columns = dict(zip("xbci", map(list, zip(*rows, strict=True)), strict=True))
    types = {"x": pa.float64(), "b": pa.bool_(), "c": pa.string(), "i": pa.int64()}
    arrow = pa.table({key: pa.array(columns[key], types[key]) for key in columns})
    polar = pl.DataFrame(
        columns, schema={"x": pl.Float64, "b": pl.Boolean, "c": pl.String, "i": pl.Int64}
    )
    results = []
    for table in (arrow, polar, arrow.to_pandas()):
        encoder = quiet(TableEncoder(max_levels=3), table)
        results.append((labels(encoder), encoder.encode(table).X.tobytes()))
    assert results[0] == results[1] == results[2]


def test_extension_types_of_pandas_give_the_same():
    plain = pd.DataFrame({"i": [1.0, np.nan, 3.0], "b": [1.0, 0.0, np.nan]})
    typed = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.array([True, False, None], dtype="boolean"),
        }
    )
    objects = pd.DataFrame({"i": [1, None, 3.0], "b": [True, False, None]}, dtype=object)
    expected = TableEncoder().fit_transform(plain)
    np.testing.assert_array_equal(TableEncoder().fit_transform(typed), expected)
    np.testing.assert_array_equal(TableEncoder().fit_transform(objects), expected)


@pytest.mark.parametrize("make", KINDS)
def test_decimals_are_numbers(make):
    table = make({"price": [decimal.Decimal("1.10"), None, decimal.Decimal("2.25")]})
    X = TableEncoder().fit_transform(table)
    np.testing.assert_array_equal(X[:, 0], [1.1, (1.1 + 2.25) / 2, 2.25])


def test_float_type():
    small = pd.DataFrame({"a": np.float32([1, 2]), "b": [True, False], "c": ["x", "y"]})
    assert TableEncoder().fit_transform(small).dtype == np.float32
    assert TableEncoder().fit_transform(small.assign(d=[1, 2])).dtype == np.float64
    assert TableEncoder().fit_transform(small[["b", "c"]]).dtype == np.float64
    missing = pd.DataFrame({"a": np.float32([0.1, np.nan, 0.3])})
    X = TableEncoder().fit_transform(missing)
    assert X.dtype == np.float32
    assert X[0, 0] == np.float32(0.1)


def test_integers_of_a_category_are_levels():
    table = pd.DataFrame({"floor": pd.Categorical([1, 2, 10, 2]), "code": [1, 2, 3, 4]})
    encoder = TableEncoder().fit(table)
    assert labels(encoder) == ["floor=1", "floor=10", "floor=2", "code"]
    assert encoder.report_.columns[0].kind == "category"
    halves = pd.DataFrame({"floor": pd.Categorical([1.0, 2.5])})
    assert labels(TableEncoder().fit(halves)) == ["floor=1", "floor=2.5"]


@pytest.mark.parametrize("make", KINDS)
def test_a_median_has_half_of_the_weight_on_either_side(make):
    table = make({"x": [1.0, 2.0, 3.0, 10.0, None]})
    assert TableEncoder().fit(table).report_.columns[0].fill == 2.5
    weighted = TableEncoder().fit(table, sample_weight=[1, 1, 1, 3, 5])
    assert weighted.report_.columns[0].fill == 6.5
    heavier = TableEncoder().fit(table, sample_weight=[1, 1, 1, 4, 5])
    assert heavier.report_.columns[0].fill == 10.0


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "float64": st.floats(-9, 9) | st.none(),
    "float32": st.floats(-9, 9, width=32) | st.none(),
    "int16": st.integers(-9, 9),
    "bool": st.booleans(),
    "Int64": st.integers(-9, 9) | st.none(),
    "boolean": st.booleans() | st.none(),
    "str": st.sampled_from(["a", "b", "", "1", None]),
    "string": st.sampled_from(["a", "b", " ", None]),
    "category": st.sampled_from(["a", "b", None]),
    "object": st.sampled_from(["a", "b", "NA", None]),
    "double[pyarrow]": st.floats(-9, 9) | st.none(),
}


@given(st.data(), st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_rows_one_at_a_time_are_those_of_all_at_once(data, kinds):
    def drawn(n: int) -> pd.DataFrame:
        rows = {
            f"{kind} {j}": pd.Series(
                data.draw(st.lists(CELLS[kind], min_size=n, max_size=n)), dtype=kind
            )
            for j, kind in enumerate(kinds)
        }
        return pd.DataFrame(rows)

    known, new = drawn(8), drawn(5)
    try:
        encoder = quiet(TableEncoder(max_levels=2), known)
    except DataError:  # nothing but gaps, or hardly a level twice
        reject()
    every = encoder.encode(new).X
    single = [encoder.encode(new.iloc[i : i + 1]).X for i in range(len(new))]
    assert np.array_equal(np.concatenate(single), every)
    assert {one.dtype for one in single} == {every.dtype}
    assert np.array_equal(encoder.encode(pl.from_pandas(new)).X, every)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_two_half_rows_count_as_one_row(values, random):
    table = pd.DataFrame({"x": values * 2, "c": list(map(str, values * 2))})
    double = pd.concat([table, table]).sample(frac=1, random_state=random.randrange(99))
    one = quiet(TableEncoder(max_levels=4), table, sample_weight=np.full(len(table), 0.1))
    two = quiet(TableEncoder(max_levels=4), double, sample_weight=np.full(len(double), 0.05))
    assert one.report_.columns[0].fill == two.report_.columns[0].fill == np.median(values)
    assert labels(one) == labels(two)


def test_a_row_of_weight_zero_does_not_count():
    table = pd.DataFrame({"x": [1.0, 2.0, None], "c": ["a", "b", None]})
    with_zero = TableEncoder().fit(table, sample_weight=[1, 1, 0])
    assert labels(with_zero) == ["x", "c=a", "c=b"] == labels(TableEncoder().fit(table[:2]))
    assert with_zero.encode(table).report.imputed == {"x": 1, "c": 1}


def test_rare_levels_are_joined():
    colours = ["a"] * 5 + ["b"] * 4 + ["c"] * 2 + ["d"] * 2 + ["e"]
    table = pd.DataFrame({"colour": colours})
    sentence = (
        "Column 'colour' has 5 different values, more than 4: the 2 rarest share one feature."
    )
    encoder = TableEncoder(max_levels=4)
    with pytest.warns(DataWarning) as caught:
        encoder.fit(table)
    assert [str(w.message) for w in caught] == [sentence]
    assert labels(encoder) == ["colour=a", "colour=b", "colour=c", "colour=other"]
    report = encoder.report_.columns[0]
    assert (report.levels, report.joined) == (("a", "b", "c"), ("d", "e"))
    new = pd.DataFrame({"colour": ["e", "a", "z", None]})
    X, found = encoder.encode(new).X, encoder.unknown_levels(new)
    np.testing.assert_array_equal(X[:3], [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(X[3], np.array([5, 4, 2, 3]) / 14, atol=1e-12)
    assert found["colour"].examples == ("z",)
    assert TableEncoder(max_levels=5).fit(table).report_.columns[0].joined == ()


def test_weights_decide_which_levels_are_rare():
    table = pd.DataFrame({"c": list("aaabbc")})
    encoder = quiet(TableEncoder(max_levels=2), table, sample_weight=[1, 1, 1, 1, 1, 9])
    assert labels(encoder) == ["c=c", "c=other"]


def test_names_of_joined_and_missing_levels_never_clash():
    levels = ["other", "missing", "(other)", None, "x", "x", "other", "missing", "(other)"]
    encoder = quiet(TableEncoder(max_levels=3), pd.DataFrame({"c": levels}))
    assert labels(encoder) == ["c=(other)", "c=missing", "c=((other))", "c=(missing)"]


def test_labels_of_two_columns_never_clash():
    table = pd.DataFrame({"a": ["b=c", "d"], "a=b": ["c", "e"], "a=d": [1.0, 2.0]})
    assert labels(TableEncoder().fit(table)) == ["a=b=c", "a=d", "a=b=c (2)", "a=b=e", "a=d (2)"]


def test_blank_text_is_missing():
    encoder = TableEncoder().fit(pd.DataFrame({"c": ["a", "", "  ", "b"]}))
    assert labels(encoder) == ["c=a", "c=b", "c=missing"]
    assert encoder.report_.columns[0].missing == 2


def test_new_levels_are_counted_and_named():
    encoder = TableEncoder().fit(pd.DataFrame({"colour": ["red", "blue"], "x": [1.0, 3.0]}))
    new = pl.DataFrame({"colour": ["green", "red", "绿", "green", None], "x": [1, 2, None, 4, 5]})
    none = "(in a column of categories: the average of the categories)"
    expected = (
        "Column 'colour' has values that were not in training in 3 rows: 'green', '绿'. "
        "Column 'colour' is missing in 1 row but was never missing in training: the training "
        f"median was put in its place {none}. "
        "Column 'x' is missing in 1 row but was never missing in training: the training "
        f"median was put in its place {none}."
    )
    with pytest.warns(DataWarning) as caught:
        X = encoder.transform(new)
    assert str(caught[0].message) == expected
    mean = [0.5, 0.5]
    np.testing.assert_array_equal(X, [[*mean, 1], [0, 1, 2], [*mean, 2], [*mean, 4], [*mean, 5]])
    report = encoder.transform_report(new)
    assert report.n_rows == 5
    assert report.missing == report.imputed == {"colour": 1, "x": 1}
    found = report.unknown["colour"]
    assert (found.count, found.examples) == (3, ("green", "绿"))
    assert found.rows.tolist() == [True, False, True, True, False]
    assert found.levels.tolist() == ["green", "绿", "green"]


def test_numbers_far_outside_those_of_training_are_named():
    table = pd.DataFrame({"x": [-1.0, 0.0, np.nan, 1.0], "one": 7.0, "big": [-1e308, 1e308] * 2})
    encoder = TableEncoder.from_state(json.loads(json.dumps(TableEncoder().fit(table).to_state())))
    new = pd.DataFrame({"x": [11.0, np.nan, 11.1, -1e300], "one": 1e9, "big": 1.7e308})
    with pytest.warns(DataWarning) as caught:
        encoder.transform(new)
    assert str(caught[0].message) == (
        "Column 'x' lies far outside what training held (-1 to 1) in 2 rows, such as -1e+300."
    )
    found = encoder.transform_report(new).far["x"]
    assert (found.count, found.farthest, found.seen) == (2, -1e300, (-1.0, 1.0))
    assert found.rows.tolist() == [False, False, True, True]
    assert found.values.tolist() == [11.1, -1e300]


def test_far_numbers_of_tasks_without_the_column_do_not_count():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [0.0, 1.0], "z": [1.0, 2.0]}))
    new = pd.DataFrame({"x": [50.0, 99.0, 0.5], "z": 1.5})
    present = np.array([[True, True], [False, True], [True, True]])
    found = encoder.encode(new, present=present).report.far["x"]
    assert (found.count, found.farthest, found.values.tolist()) == (1, 50.0, [50.0])
    present[0, 0] = False
    assert not encoder.encode(new, present=present).report.far


def test_a_whole_number_or_a_boolean_finds_its_level():
    encoder = TableEncoder().fit(
        pd.DataFrame({"c": ["1", "2", "x", "1"], "t": ["true", "no", "maybe", "no"]})
    )
    new = pd.DataFrame({"c": [1.0, np.nan, 2.0], "t": [True, True, False]})
    encoded = encoder.encode(new)
    expected = [[1, 0, 0, 0, 0, 1], [0.5, 0.25, 0.25, 0, 0, 1], [0, 1, 0, 0.25, 0.5, 0.25]]
    np.testing.assert_array_equal(encoded.X, expected)
    assert encoded.report.unknown["t"].examples == ("False",)
    codes = TableEncoder().fit(pd.DataFrame({"c": ["007", "1.0", "1", "x"]}))
    np.testing.assert_array_equal(
        codes.transform(pd.DataFrame({"c": [7, 1]}))[:, :2], [[1, 0], [0, 1]]
    )


def test_empty_and_constant_columns_are_reported():
    table = pd.DataFrame({"x": [1.0, 2.0], "one": [7, 7], "none": [None, None], "c": ["a", "a"]})
    encoder = TableEncoder()
    sentence = "^Column 'none' is missing in every row and was left out\\.$"
    with pytest.warns(DataWarning, match=sentence):
        encoder.fit(table)
    assert labels(encoder) == ["x", "one", "c=a"]
    assert encoder.report_.constant == ("one", "c")
    assert encoder.report_.dropped == ("none",)
    assert encoder.source_columns().tolist() == [0, 1, 3]
    assert encoder.transform(table.drop(columns="none")).shape == (2, 3)


@pytest.mark.parametrize("make", KINDS)
def test_a_column_that_is_missing_altogether_at_prediction(make):
    encoder = TableEncoder().fit(make({"x": [1.0, 3.0, None], "c": ["a", None, "b"]}))
    X = encoder.encode(make({"x": [None, None], "c": [None, None]})).X
    np.testing.assert_array_equal(X, [[2, 1, 0, 0, 1]] * 2)


def test_dropped_columns_are_not_needed():
    table = pd.DataFrame({"id": ["p1", "p2"], "x": [1.0, 2.0]})
    encoder = TableEncoder(drop=["id"]).fit(table)
    assert labels(encoder) == ["x"]
    assert encoder.source_columns().tolist() == [1]
    assert encoder.transform(table[["x"]]).shape == (2, 1)


def test_columns_are_matched_by_name():
    table = pd.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]})
    encoder = TableEncoder().fit(table)
    other = table[["c", "x"]].assign(more=1)
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(table))


def test_names_that_are_not_text():
    encoder = TableEncoder().fit(pd.DataFrame({0: [1.0, 2.0], 1: ["a", "b"]}))
    assert labels(encoder) == ["0", "1=a", "1=b"]


def test_cells_that_do_not_exist_are_not_missing():
    table = pd.DataFrame({"x": [1.0, 5.0, None], "c": ["a", "b", None]})
    present = np.array([[1, 1], [1, 1], [0, 0]], dtype=bool)
    encoder = TableEncoder().fit(table, present=present)
    assert labels(encoder) == ["x", "c=a", "c=b"]
    encoded = encoder.encode(table, present=present)
    np.testing.assert_array_equal(encoded.X, [[1, 1, 0], [5, 0, 1], [0, 0, 0]])
    assert encoded.report.missing == {}
    new = pd.DataFrame({"x": [1.0, 5.0, 2.0], "c": ["a", "z", "z"]})
    assert encoder.encode(new, present=present).report.unknown["c"].count == 1


def test_saving_is_exact():
    table = pd.DataFrame({**MIXED, "town": list("abcd"), "none": [None] * 4})
    encoder = quiet(TableEncoder(max_levels=4, drop=["rooms"]), table)
    state = json.loads(json.dumps(encoder.to_state()))
    again = resolve("data.table_encoder").from_state(state)
    assert name_of(encoder) == "data.table_encoder"
    assert again.to_state() == encoder.to_state()
    assert again.report_ == encoder.report_
    assert labels(again) == labels(encoder)
    assert again.encode(table).X.tobytes() == encoder.encode(table).X.tobytes()
    assert again.n_features_in_ == encoder.n_features_in_
    unfitted = TableEncoder.from_state(TableEncoder(max_levels=9).to_state())
    assert unfitted.max_levels == 9
    with pytest.raises(NotFittedError, match="call fit first"):
        unfitted.transform(table)


def test_transform_changes_nothing():
    encoder = TableEncoder().fit(pd.DataFrame({"c": ["a", "b"], "x": [1.0, 2.0]}))
    before = encoder.to_state()
    encoder.encode(pd.DataFrame({"c": ["z", None], "x": [None, 3.0]}))
    assert encoder.to_state() == before


def test_scikit_learn_can_copy_and_chain_it():
    encoder = TableEncoder(max_levels=7)
    assert encoder.get_params() == {"max_levels": 7, "drop": ()}
    assert clone(encoder).max_levels == 7
    chain = make_pipeline(TableEncoder())
    assert chain.fit_transform(pd.DataFrame({"c": ["a", "b"]}), [0, 1]).shape == (2, 2)


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (
            ["1,5", "2,25", "3,0"],
            "Column 'x' looks numeric, with decimal commas (such as '1,5'): read it with "
            "decimal=',' (--decimal ,).",
        ),
        (
            ["1,500", "2,250", "3,000"],
            "Column 'x' is read as text, because '1,500' can be read in two ways: say decimal='.' "
            "(--decimal .) if it is 1500, or decimal=',' (--decimal ,) if it is 1.5.",
        ),
        (
            [str(i) for i in range(12)],
            "Column 'x' holds numbers written as text (such as '0'): turn them into numbers if "
            "they are quantities.",
        ),
        (
            [*(str(i) for i in range(15)), "n.a."],
            "Column 'x' holds numbers except for 'n.a.': mark these as missing if the column is a "
            "quantity (--missing-values n.a.).",
        ),
        (
            ["31.01.24", "01.02.24"],
            "Column 'x' is read as text, but its values look like dates with a year of two digits "
            "(such as '01.02.24'): write the year with four digits, as in 2024-01-31, so that "
            "they are read as dates.",
        ),
        (
            ["24.05.2010", "01 Aug 2010", "02/09/10"],
            "Column 'x' is read as text: most of its values look like dates (such as '01 Aug "
            "2010'), but others are written in another way (such as '02/09/10'). Write all dates "
            "in one way, with four digits for the year, as in 2024-01-31, and leave cells without "
            "a date empty, so that the column is read as dates.",
        ),
        (
            ["Red", "red ", "blue", "Blue", "gold", "Gold"],
            "Levels 'Blue' and 'blue' of column 'x' differ in case or spaces only, and 2 more "
            "words are written in several ways ('Gold', 'Red').",
        ),
        (
            ["Red", "red ", "blue"],
            "Levels 'Red' and 'red ' of column 'x' differ in case or spaces only.",
        ),
    ],
)
def test_text_that_deserves_a_look(levels, sentence):
    encoder = TableEncoder()
    with pytest.warns(DataWarning) as caught:
        encoder.fit(pd.DataFrame({"x": levels}))
    assert str(caught[0].message) == sentence == encoder.report_.warnings[0]
    assert len(labels(encoder)) == len(levels)
    if "decimal" in sentence or "numbers" in sentence:
        TableEncoder().fit(pd.DataFrame({"x": pd.Categorical(levels)}))


def test_codes_with_leading_zeros_are_no_numbers():
    codes = [f"{i:03d}" for i in range(20)]
    assert TableEncoder().fit(pd.DataFrame({"x": codes})).report_.warnings == ()


def test_dates_of_python_in_an_object_column():
    table = pd.DataFrame({"when": [None, datetime.date(2024, 1, 31)]}, dtype=object)
    with pytest.raises(DataError, match=r"Column 'when' holds dates \(2024-01-31 in row"):
        TableEncoder().fit(table)


def test_a_column_that_is_missing_in_one_part_is_what_the_others_say():
    whole = pd.DataFrame({"a": [1.0, 3.0, None, None], "b": ["x", "y", None, None], "c": 1.5})
    with pytest.warns(DataWarning, match="missing in every row"):
        empty = TableEncoder().fit(whole[2:])
    full = TableEncoder().fit(whole[:2])
    expected = TableEncoder().fit(whole)
    for one, other in ((empty, full), (full, empty)):
        found = one.together(other, exact=False)
        assert found.to_state()["codes"] == expected.to_state()["codes"]
        assert [column.kind for column in found.report_.columns] == ["numeric", "text", "numeric"]
    with pytest.raises(IncompatibleError, match="Column 'a' was encoded differently"):
        empty.together(full)
    # A column that a part lacks is not one whose cells are missing.
    less = TableEncoder().fit(whole[["b", "c"]][:2])
    with pytest.raises(IncompatibleError, match="Column 'a' was encoded differently"):
        less.together(full, exact=False)
