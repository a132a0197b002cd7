"""What goes into a journal comes out of it, bit for bit, in this process and in the next."""

from __future__ import annotations

import math
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polytask.exceptions import DataError, ParameterError
from polytask.io import Journal

HEADER = {"data": {"hash": "abc", "rows": 12}, "seed": 0}
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u8", "f2", "f4", "f8", "c8", "c16"]

floats = st.floats() | st.sampled_from(
    [-0.0, 5e-324, struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0]]
)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)
# Keys that the file uses itself.
keys = st.text() | st.sampled_from(["$", "$map", "$array", "", "0"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | st.text() | st.dates() | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def _same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.flags.fnc == b.flags.fnc
        return same and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


@settings(max_examples=60)
@given(st.dictionaries(keys, values, max_size=4))
def test_values_survive_in_this_process_and_in_the_next(pieces):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        with Journal.open(path, HEADER, owner="compare") as journal:
            for key, value in pieces.items():
                assert key not in journal
                journal.put(key, value)
                assert _same(journal.get(key), value)
        with Journal.open(path, HEADER, owner="compare") as journal:
            assert len(journal) == len(pieces)
            for key, value in pieces.items():
                assert key in journal
                assert _same(journal.get(key), value)


@settings(max_examples=30)
@given(values)
def test_a_header_with_any_values_is_found_again(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        for _ in range(2):
            Journal.open(path, {"settings": value}, owner="compare").close()


def test_the_order_of_an_array_in_memory_is_kept(tmp_path):
    made = {"F": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "C": np.ones((2, 3, 2))}
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        for key, array in made.items():
            journal.put(key, array)
            assert journal.get(key).flags[f"{key}_CONTIGUOUS"]
            assert _same(journal.get(key), array)
        journal.put("strided", np.arange(10)[::-3])
        assert journal.get("strided").tolist() == [9, 6, 3, 0]


def test_an_array_of_other_bytes_and_a_memory_map_are_kept(tmp_path):
    mapped = np.memmap(tmp_path / "map", dtype="f4", shape=(3,), mode="w+")
    mapped[:] = [1, 2, 3]
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        journal.put("a", {"big": np.array([1.5, -2.0], dtype=">f8"), "map": mapped})
        found = journal.get("a")
    assert found["big"].dtype == np.dtype("f8")
    assert found["big"].tolist() == [1.5, -2.0]
    assert found["map"].tolist() == [1, 2, 3]


def test_numpy_numbers_come_back_as_plain_ones(tmp_path):
    given = (np.float64(0.1), np.float32(0.1), np.int8(-3), np.bool_(True), np.float64("nan"))
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        journal.put("a", given)
        *finite, missing = journal.get("a")
    assert finite == [0.1, float(np.float32(0.1)), -3, True]
    assert [type(value) for value in finite] == [float, float, int, bool]
    assert math.isnan(missing)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [0, object()]}, "got builtins.object"),
        (np.array(["x", None], dtype=object), "got numpy.ndarray"),
        (np.ma.masked_array([1.0], mask=[True]), "got numpy.ma"),
        (np.longdouble(1), "got numpy.longdouble"),
        (1 + 2j, "got builtins.complex"),
        (b"bytes", "got builtins.bytes"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_a_byte_is_written(tmp_path, value, said):
    path = tmp_path / "journal"
    with Journal.open(path, HEADER, owner="compare") as journal:
        with pytest.raises(ParameterError, match=said):
            journal.put("a", value)
        assert len(journal) == 0


def test_what_is_read_is_the_callers_own(tmp_path):
    stored = {"x": np.zeros(3), "names": ["a"]}
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        journal.put("a", stored)
        stored["x"][0] = 7
        journal.get("a")["x"][:] = 1
        journal.get("a")["names"].append("b")
        assert journal.get("a")["x"].tolist() == [0, 0, 0]
        assert journal.get("a")["names"] == ["a"]


def test_the_last_piece_of_a_name_counts(tmp_path):
    path = tmp_path / "journal"
    for value in (1, 2):
        with Journal.open(path, HEADER, owner="compare") as journal:
            journal.put("a", value)
            assert (journal.get("a"), len(journal)) == (value, 1)
    with Journal.open(path, HEADER, owner="compare") as journal:
        assert (journal.get("a"), len(journal)) == (2, 1)


def test_a_piece_that_is_not_there_is_none_and_an_empty_journal_is_true(tmp_path):
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        assert journal.get("a") is None
        assert journal
        journal.put("a", None)
        assert "a" in journal
        assert journal.get("a") is None


def test_a_closed_journal_says_so(tmp_path):
    with Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal:
        journal.put("a", 1)
    journal.close()
    for use in (lambda: journal.get("a"), lambda: journal.put("b", 1)):
        with pytest.raises(DataError, match="journal of compare is closed"):
            use()


def test_a_journal_cannot_be_sent_to_a_worker(tmp_path):
    with (
        Journal.open(tmp_path / "journal", HEADER, owner="compare") as journal,
        pytest.raises(TypeError, match="cannot pickle"),
    ):
        pickle.dumps(journal)


def test_the_file_is_the_same_for_the_same_pieces(tmp_path):
    for name in ("a", "b"):
        with Journal.open(tmp_path / name, HEADER, owner="compare") as journal:
            journal.put("β 任务", {"score": float("nan"), "x": np.arange(3.0)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
