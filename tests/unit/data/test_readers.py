"""Files to tables and back: what is decided is said, and every refusal is one clear sentence."""

from __future__ import annotations

import codecs
import datetime
import gzip
import io
import os
import struct
import sys
import tracemalloc
import zipfile
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc

from polytask.data.encoder import TableEncoder
from polytask.data.readers import read_table, read_tables, write_table
from polytask.exceptions import DataError, ParameterError


def put(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def read(tmp_path):
    def call(text, name="t.csv", **options):
        return read_table(put(tmp_path, name, text), **options)

    return call


def notes(result, tmp_path):
    return [note.replace(str(tmp_path) + os.sep, "") for note in result.notes]


def refusal(call, *args, error=DataError, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)


@pytest.fixture
def refused(read, tmp_path):
    def call(text, name="t.csv", error=DataError, **options):
        found = refusal(read, text, name, error=error, **options)
        return found.replace(str(tmp_path) + os.sep, "")

    return call


# What the words mean


def test_kinds_of_columns(read):
    text = (
        "i,x,b,s,d,m\n1,1.5,TRUE,red,2024-01-31,\n-2, 2e3 ,false,,2024-02-01,4\n+3,.5,True,绿,,5\n"
    )
    result = read(text)
    table = result.table
    assert table["i"].tolist() == [1, -2, 3]
    assert table["i"].dtype == np.int64
    assert table["x"].tolist() == [1.5, 2000.0, 0.5]
    assert table["b"].dtype == bool
    assert table["b"].tolist() == [True, False, True]
    assert table["s"].isna().tolist() == [False, True, False]
    assert table["d"].dtype.kind == "M"
    np.testing.assert_array_equal(table["m"], [np.nan, 4, 5])
    assert result.notes == ("Column 'd' holds dates.",)
    assert (result.encoding, result.separator) == ("utf-8", ",")


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["007", "12"], "Column 'x' is kept as text: leading zeros as in '007'."),
        (["7", "07"], "Column 'x' is kept as text: leading zeros as in '07'."),
        (["1", "12345678901234567890"], "has too many digits."),
        (["", "1234567890123456"], "has too many digits."),
        (["1,000", "2"], None),
        (["1_000", "2"], None),
        (["yes", "no"], None),
        (["0x1F", "2"], None),
        (["2024-02-31", "2024-01-01"], None),
        (["NA", "ZA"], "missing, add --missing-values NA (missing_values=['NA'])."),
        ([" red", "red "], None),
        (["１２", "３"], None),
    ],
)
def test_words_that_stay_as_they_are(read, words, note):
    rows = "\n".join(f'"{word}",z' for word in words)
    result = read(f"x,y\n{rows}\n")
    kept = [None if word == "" else word for word in words]
    assert result.table["x"].astype(object).where(result.table["x"].notna(), None).tolist() == kept
    assert note is None or any(found.endswith(note) for found in result.notes)


def test_long_integers_keep_every_digit(read):
    assert read("x\n123456789012345678\n1\n").table["x"].tolist() == [123456789012345678, 1]


def test_missing_markers(read):
    text = (
        "age,town,smoker,note\nNA,NA,null,NaN\n?,None,true,a\n3,?,,b\n,NULL,false,\n4,Ulm,true,c\n"
    )
    result = read(text)
    assert result.table["age"].isna().tolist() == [True, True, False, True, False]
    assert result.table["town"].tolist()[:3] == ["NA", "None", "?"]
    assert pd.isna(result.table["town"][3])
    assert str(result.table["smoker"].dtype) == "boolean"
    assert result.table["smoker"].isna().tolist() == [True, False, True, False, False]
    assert result.notes == (
        "In column 'age' these cells are read as missing: '?' (1 cell), 'NA' (1 cell).",
        "In the text column 'town' these cells are values, not missing: '?' (1 cell), 'NA' (1 "
        "cell), 'None' (1 cell). If they mean that the value is missing, add --missing-values '?' "
        "--missing-values NA --missing-values None (missing_values=['?', 'NA', 'None']).",
        "In column 'town' these cells are read as missing: 'NULL' (1 cell).",
        "In column 'smoker' these cells are read as missing: 'null' (1 cell).",
        "In column 'note' these cells are read as missing: 'NaN' (1 cell).",
    )


def test_a_column_of_markers_means_what_it_meant_in_training(read):
    encoder = TableEncoder().fit(read("age,country\n30,NA\nNA,DE\n50,DE\n").table)
    result = read("age,country\nNA,NA\n,NA\n")
    assert "'age' these cells are values, not missing: 'NA' (1 cell)." in result.notes[0]
    np.testing.assert_array_equal(encoder.transform(result.table), [[40, 1, 0, 1]] * 2)


def test_a_blank_column_is_missing_altogether(read):
    assert read("x,y\n,1\n  ,2\n").table["x"].isna().all()


def test_one_row_means_what_it_meant_in_training(read):
    text = "code,answer\n1.0,true\nb,maybe\n1e3,no\n"
    encoder = TableEncoder().fit(read(text).table)
    for row in range(3):
        one = read("code,answer\n" + text.splitlines()[row + 1]).table
        expected = encoder.transform(read(text).table)[row : row + 1]
        np.testing.assert_array_equal(encoder.transform(one), expected)


def test_infinity_is_a_number_and_the_encoder_names_its_row(read):
    table = read("x\n1\n-inf\n").table
    assert "holds -inf in row 1" in refusal(TableEncoder().fit, table)


def test_dates_reach_the_encoder_as_dates(read):
    for text in ("2024-01-31", "2024-01-31 10:00", "2024-01-31T10:00:00.5", "2024-01-31T10:00Z"):
        table = read(f"when,x\n{text},1\n").table
        assert "Column 'when' holds dates" in refusal(TableEncoder().fit, table)


def test_decimal_comma(read):
    result = read("x;y\n1,5;2\n-,25;3e2\n", decimal=",")
    assert result.table["x"].tolist() == [1.5, -0.25]
    assert result.table["y"].tolist() == [2, 300]
    assert read('x,y\n"1,5",2\n', decimal=",").table["x"].tolist() == [1.5]
    found = read("x;y\n1,5;2\n1,7;3\n")
    assert found.table["x"].tolist() == [1.5, 1.7]
    assert found.notes[1] == (
        "Numbers are read with decimal commas (such as '1,5'), beside semicolons."
    )
    # Thousands look like decimals of three digits; full stops elsewhere are the decimal mark.
    assert read("x;y\n1,500;2\n1,700;3\n").table["x"].tolist() == ["1,500", "1,700"]
    assert read("x;y\n1,500;12345\n1,700;3\n").table["x"].tolist() == ["1,500", "1,700"]
    for plain in ("0,500", "-,500", "1234,500"):
        found = read(f"x;y\n1,500;2\n{plain};3\n")
        assert found.table["x"].tolist() == [1.5, float(plain.replace(",", "."))]
    assert read("x;y\n1,5;2.5\n1,7;3.5\n").table["x"].tolist() == ["1,5", "1,7"]
    assert read("x;y\n1,5;2\n1,7;3\n", decimal=".").table["x"].tolist() == ["1,5", "1,7"]
    assert read('x|y\n"1,5"|2\n"1,7"|3\n').notes[1] == (
        "Column 'x' looks numeric, with decimal commas (such as '1,5'): read it with "
        "decimal=',' (--decimal ,)."
    )


def test_numbers_are_read_to_the_last_bit(read):
    values = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    text = "x\n" + "\n".join(map(repr, values.tolist())) + "\n"
    assert read(text).table["x"].tolist() == values.tolist()


# How the text is split


@pytest.mark.parametrize(
    ("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
def test_separators_are_found(read, tmp_path, mark, name):
    result = read(f"a{mark}b c\n1{mark}x, y\n2{mark}z\n")
    assert result.table["b c"].tolist() == ["x, y", "z"]
    assert result.separator == mark
    assert notes(result, tmp_path) == [f"t.csv: columns are separated by {name}, not commas."]
    assert read(f"a{mark}b\n1{mark}2\n", sep=mark).notes == ()


def test_separators_given_by_word(read):
    for word, mark in {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t"}.items():
        assert read(f"a{mark}b\n1{mark}2\n", sep=word).table.shape == (1, 2)
    assert read("a b\n1 2\n", sep=" ").table.shape == (1, 2)


def test_tab_separated_values(read):
    result = read("a\tb,c\n1\t2\n", "t.TSV")
    assert list(result.table) == ["a", "b,c"]
    assert result.notes == ()


def test_a_line_that_names_the_separator(read):
    assert read("sep=;\r\na;b\r\n1;2\r\n").table.to_dict("list") == {"a": [1], "b": [2]}


def test_one_column(read):
    assert read('note\n"hello, world"\nbye; then\n').table["note"].tolist() == [
        "hello, world",
        "bye; then",
    ]
    assert read("x\n1,5\n2,5\n", decimal=",").table["x"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_quotes(read, end):
    rows = ["", "a,b", '1,"two', 'lines"', '2,"say ""hi"""', "", "3,x"]
    table = read(end.join(rows)).table
    assert table["a"].tolist() == [1, 2, 3]
    assert table["b"].tolist() == [f"two{end}lines", 'say "hi"', "x"]


def test_a_header_with_a_line_break(read):
    assert read('"a\nb",c\n1,2\n').table.to_dict("list") == {"a\nb": [1], "c": [2]}


def test_inches_are_no_open_quote(read):
    assert read('size,n\n5",1\nx,2\n').table["size"].tolist() == ['5"', "x"]


def test_more_than_the_head_of_a_long_file(read):
    text = "a;b\n" + "".join(f'{i};"x\ny{i}"\n' for i in range(20_000))
    table = read(text).table
    assert table.shape == (20_000, 2)
    assert table["b"].iloc[-1] == "x\ny19999"


def test_columns_without_a_name(read, tmp_path):
    result = read(",a,,\n0,5,x,\n1,6,y,\n")
    assert result.table.to_dict("list") == {"a": [5, 6], "column 3": ["x", "y"]}
    assert notes(result, tmp_path) == [
        "t.csv: column 1 has no name and counts the rows; it was left out.",
        "t.csv: column 3 has no name; it is called 'column 3'.",
        "t.csv: column 4 has no name and no values; it was left out.",
    ]


def test_names_that_look_odd(read, tmp_path):
    assert notes(read("a, b\n1,2\n"), tmp_path) == [
        "t.csv: the name of column ' b' has spaces around it."
    ]
    assert notes(read("1,2.5\n3,4\n"), tmp_path) == [
        "t.csv: the first row holds numbers only, but was read as the header."
    ]


def test_chosen_columns(read):
    assert list(read("a,b,c\n1,2,3\n", columns=["c", "a"]).table) == ["c", "a"]


# Encodings

CHINESE = "学校,成绩\n第一中学,90\n第二中学,80\n"


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (CHINESE.encode(), "utf-8", []),
        (
            codecs.BOM_UTF8 + CHINESE.encode(),
            "utf-8-sig",
            ["t.csv starts with a byte order mark; it was read as UTF-8."],
        ),
        (CHINESE.encode("utf-16"), "utf-16", ["t.csv was read as UTF-16."]),
        (
            CHINESE.encode("gb18030"),
            "gb18030",
            ["t.csv is not UTF-8; it was read as GB18030."],
        ),
    ],
)
def test_encodings_are_found_and_said(read, tmp_path, data, encoding, said):
    result = read(data)
    assert result.table.to_dict("list") == {"学校": ["第一中学", "第二中学"], "成绩": [90, 80]}
    assert result.encoding == encoding
    assert notes(result, tmp_path) == said


def test_an_encoding_that_is_given(read):
    text = "Größe,n\nmüßig,1\n"
    assert list(read(text.encode("cp1252"), encoding="cp1252").table) == ["Größe", "n"]
    assert list(read(codecs.BOM_UTF8 + text.encode(), encoding="utf-8").table) == ["Größe", "n"]


def test_wrong_encodings(refused):
    data = "name,n\nab,1\nGröße café naïve,2\n".encode("cp1252")
    assert refused(data) == (
        "t.csv is neither UTF-8 nor GB18030 text (see line 3): name its encoding with encoding=, "
        "such as 'cp1252' for Western European files."
    )
    assert refused(data, encoding="utf-8") == "t.csv is not text in utf-8: see line 3."
    assert refused(data, error=ParameterError, encoding="utf8000") == (
        "encoding of read_table must be the name of an encoding; got 'utf8000'."
    )


# Refusals of text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "t.csv is empty."),
        (" \n\n", "t.csv is empty."),
        ("a,b\n", "t.csv has a header but no rows."),
        ("a,b", "t.csv has a header but no rows."),
        ("a,b,a\n1,2,3\n", "t.csv has 2 columns named 'a'; names must be unique."),
        (
            "a,b\n1,2\n3\n",
            "t.csv: row 3 (the header is row 1) has 1 field instead of 2, separated by commas: "
            "'3'.",
        ),
        (
            'a,b\n"1\n1",2\n3,4,5\n',
            "t.csv: row 3 (the header is row 1) has 3 fields instead of 2, separated by commas: "
            "'3,4,5'.",
        ),
        (
            'a,b\n1,2\n"3,4\n5,6\n',
            "t.csv: row 3 (the header is row 1) has 1 field instead of 2, separated by commas: "
            "'\"3,4'. A quote may have been left open.",
        ),
        (
            'a,b\n1,2\n3,"4\n5,6\n',
            "t.csv: a quote is opened but never closed, in the last row that could be read (row "
            "3, the header is row 1): '4'.",
        ),
        (b"a,b\n\x00\x01,2\n", "t.csv is not a text file: it holds zero bytes."),
        (
            b"PK\x03\x04\x00\x00",
            "t.csv is not a text file: it holds zero bytes. It looks like a workbook: give it "
            "the suffix .xlsx.",
        ),
        (",\n,\n", "t.csv has no column with a name and values."),
    ],
)
def test_text_that_is_no_table(refused, text, sentence):
    assert refused(text) == sentence


def test_random_bytes(refused):
    data = np.random.default_rng(0).integers(1, 256, 3000, dtype=np.uint8).tobytes()
    assert "t.csv is neither UTF-8 nor GB18030 text" in refused(data)


def test_options_that_are_not_allowed(refused):
    assert refused("a\n1\n", error=ParameterError, sep="::").endswith(
        "must be one character such as ',' or ';', or comma, semicolon, tab, pipe; got '::' "
        "(t.csv)."
    )
    assert refused("a\n1\n", error=ParameterError, decimal="'") == (
        "decimal of read_table must be one of '.', ','; got \"'\"."
    )
    assert refused("colour,b\n1,2\n", columns=["color"]) == (
        "t.csv has no column 'color'. Did you mean 'colour'?"
    )


# Files


def test_files_that_are_not_there(tmp_path):
    put(tmp_path, "scores.csv", "a\n1\n")
    wrong = tmp_path / "score.csv"
    assert refusal(read_table, wrong) == (f"There is no file {wrong}. Did you mean 'scores.csv'?")
    put(tmp_path, "inf_feat.csv", "a\n1\n")
    assert refusal(read_table, wrong) == (f"There is no file {wrong}. Did you mean 'scores.csv'?")
    unlike = tmp_path / "nope.csv"
    assert refusal(read_table, unlike) == f"There is no file {unlike}."
    nowhere = tmp_path / "no" / "x.csv"
    assert refusal(read_table, nowhere) == f"There is no file {nowhere}."
    assert refusal(read_table, tmp_path) == (
        f"{tmp_path} is a folder; name one file, or for one file per task a pattern such as "
        f"{tmp_path / '*.csv'}."
    )


def test_suffixes(refused):
    allowed = (
        " has no suffix of a table: allowed are .csv, .tsv, .tab and .txt (also with .gz), "
        ".xlsx, .xls, .parquet, .pq, .arrow, .feather and .ipc."
    )
    assert refused("a\n1\n", "t.dat") == "t.dat" + allowed
    assert refused("a\n1\n", "t") == "t" + allowed
    assert refused("a\n1\n", "t.parquet.gz") == "t.parquet.gz" + allowed
    assert refused("a\n1\n", "t.ods") == f"t.ods{allowed} Save the sheet as CSV first."


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = put(tmp_path, "t.csv", "a\n1\n")

    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)
    assert refusal(read_table, path) == f"{path} cannot be read: Permission denied."


@pytest.mark.parametrize("name", ["t.csv.gz", "t.xlsx"])
def test_small_files_that_unpack_to_gigabytes_are_refused(name, refused, monkeypatch):
    monkeypatch.setattr("polytask.data._csv_text._UNPACKED_BYTES", 1 << 20)
    rows, packed = b"a,b\n" + b"1,2\n" * (1 << 22), io.BytesIO()
    if name.endswith("gz"):
        packed.write(gzip.compress(rows))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("xl/worksheets/sheet1.xml", rows)
    tracemalloc.start()
    said = refused(packed.getvalue(), name)
    assert said.startswith(f"{name} unpacks to more than 100 times its size and more than 1 MB")
    assert tracemalloc.get_traced_memory()[1] < len(rows) / 2
    tracemalloc.stop()


def test_a_cell_far_from_all_others_is_refused(refused):
    openpyxl = pytest.importorskip("openpyxl")
    book, packed = openpyxl.Workbook(), io.BytesIO()
    book.active["XFD1048576"] = 1
    book.save(packed)
    assert "reaches over more than 20,000,000 cells" in refused(packed.getvalue(), "t.xlsx")


def test_gzip(read, refused):
    assert read(gzip.compress(b"a,b\n1,2\n"), "t.CSV.GZ").table.shape == (1, 2)
    assert refused(b"a,b\n1,2\n", "t.csv.gz") == "t.csv.gz is not a whole gzip file."
    assert refused(gzip.compress(b"a,b\n1,2\n")[:-9], "t.csv.gz") == (
        "t.csv.gz is not a whole gzip file."
    )


FRAME = pd.DataFrame(
    {
        "学校": ["第一", None],
        "x": [1.5, np.nan],
        "b": [True, False],
        "c": pd.Categorical(["u", "v"]),
    }
)


def test_parquet_and_arrow(tmp_path):
    arrow = pa.Table.from_pandas(FRAME, preserve_index=False)
    pq.write_table(arrow, tmp_path / "t.PARQUET")
    feather.write_feather(arrow, str(tmp_path / "t.feather"))
    with ipc.new_stream(tmp_path / "t.arrow", arrow.schema) as stream:
        stream.write_table(arrow)
    for name in ("t.PARQUET", "t.feather", "t.arrow"):
        result = read_table(tmp_path / name)
        pd.testing.assert_frame_equal(result.table, FRAME)
        assert (result.notes, result.encoding, result.separator) == ((), None, None)
        assert list(read_table(tmp_path / name, columns=["x"]).table) == ["x"]
        assert refusal(read_table, tmp_path / name, columns=["y"]) == (
            f"{tmp_path / name} has no column 'y'."
        )


def test_an_index_of_pandas_is_a_column_if_it_has_a_name(tmp_path):
    path = tmp_path / "t.parquet"
    FRAME.set_index("学校").to_parquet(path)
    assert set(read_table(path).table) == set(FRAME)
    FRAME.set_index(np.array(["r", "s"])).to_parquet(path)
    result = read_table(path)
    assert list(result.table) == list(FRAME)
    assert result.notes == (f"{path}: the row labels without a name were left out.",)


def test_decimals_of_databases_are_numbers(tmp_path):
    cents = pa.array([Decimal("1.50"), None], pa.decimal128(9, 2))
    whole = pa.array([Decimal(7), Decimal(8)], pa.decimal128(10, 0))
    long = pa.array([Decimal(10) ** 25, Decimal(1)], pa.decimal128(38, 0))
    pq.write_table(pa.table({"price": cents, "shop": whole, "n": long}), tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet").table
    assert [str(dtype) for dtype in frame.dtypes] == ["float64", "int64", "float64"]
    np.testing.assert_array_equal(frame["price"], [1.5, np.nan])
    assert frame["n"].tolist() == [1e25, 1.0]


def test_dates_and_missing_booleans_of_parquet(tmp_path):
    table = pa.table({"d": pa.array([0, None], pa.date32()), "b": pa.array([True, None])})
    pq.write_table(table, tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet").table
    assert frame["d"].dtype.kind == "M"
    assert str(frame["b"].dtype) == "boolean"


def test_parquet_and_arrow_that_cannot_be_read(refused, tmp_path):
    assert refused(b"garbage", "t.parquet") == "t.parquet is not a readable Parquet file."
    assert refused(b"garbage", "t.arrow") == "t.arrow is not a readable Arrow file."
    assert refused(b"", "t.parquet") == "t.parquet is empty."
    path = tmp_path / "t.feather"
    twice = pa.table([[1], [2]], names=["a", "a"])
    with ipc.new_file(path, twice.schema) as writer:
        writer.write_table(twice)
    assert refusal(read_table, path) == f"{path} has 2 columns named 'a'; names must be unique."
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "t.pq")
    assert "t.pq has a header but no rows." in refusal(read_table, tmp_path / "t.pq")


# One file per task


def test_one_file_per_task(tmp_path):
    put(tmp_path, "第二中学.csv", "code,x\n1,2\n")
    put(tmp_path, "07.csv", "code,x\nab,2.5\n")
    put(tmp_path, "a.b.tsv.gz", gzip.compress(b"x\ty\n1\t007\n"))
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "p.parquet")
    put(tmp_path, "notes.md", "nothing")
    result = read_tables(tmp_path / "*.[ctp][sa]*")
    assert list(result.tables) == ["07", "a.b", "p", "第二中学"]
    assert result.tables["第二中学"]["code"].tolist() == ["1"]
    assert result.tables["第二中学"]["x"].tolist() == [2.0]
    assert result.tables["第二中学"]["x"].dtype == np.float64
    assert result.notes == ("Column 'y' is kept as text: leading zeros as in '007'.",)


def test_patterns_that_cannot_be_used(tmp_path):
    pattern = tmp_path / "*.csv"
    assert refusal(read_tables, pattern) == f"No file matches {pattern}."
    assert refusal(read_tables, tmp_path) == (
        f"No file matches {tmp_path}. It is a folder: name the files in it, such as {pattern}."
    )
    a = put(tmp_path, "s.csv", "x\n1\n")
    b = put(tmp_path, "s.tsv", "x\n1\n")
    assert refusal(read_tables, tmp_path / "*") == (
        f"{a} and {b} would both be the task 's': rename one of them."
    )
    odd = put(tmp_path, "[1].csv", "x\n1\n")
    assert list(read_tables(odd).tables) == ["[1]"]


# Writing


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize(
    "name", ["t.csv", "t.TSV", "t.csv.gz", "t.parquet", "t.pq", "t.arrow", "t.feather", "t.ipc"]
)
def test_what_is_written_is_read_again(tmp_path, make, name):
    columns = {
        "学校": ["第一, 中学", 'say "hi"', "two\nlines"],
        "x": [0.1, None, 1e-300],
        "i": [1, 2, 3],
        "b": [True, False, True],
        "code": ["007", "7", None],
    }
    path = tmp_path / name
    write_table(make(columns), path)
    write_table(make(columns), path)
    table = read_table(path).table
    for key, values in columns.items():
        found = table[key].astype(object).where(table[key].notna(), None).tolist()
        assert found == values, key
    assert os.listdir(tmp_path) == [name]


def test_text_files_are_plain(tmp_path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "b": pd.array([None, True], dtype="boolean"),
            "d": pd.to_datetime(["2024-01-31", None]),
        },
        index=["r", "s"],
    )
    write_table(frame, path)
    assert path.read_bytes() == b"i,b,d\n1,,2024-01-31\n,True,\n"


def test_writing_leaves_nothing_half_done(tmp_path, monkeypatch):
    path = put(tmp_path, "t.csv", "old")
    frame = pd.DataFrame({"x": [1.0]})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("t.csv", "new.parquet", "new.arrow", "new.csv.gz"):
        assert refusal(write_table, frame, tmp_path / name) == (
            f"Cannot write {tmp_path / name}: No space left on device. Nothing was changed."
        )

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_table(frame, path)
    assert os.listdir(tmp_path) == ["t.csv"]
    assert path.read_text() == "old"


def test_a_link_is_followed(tmp_path):
    target = put(tmp_path, "target.csv", "old")
    link = tmp_path / "link.csv"
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("links are not allowed here")
    write_table(pd.DataFrame({"x": [1]}), link)
    assert link.is_symlink()
    assert target.read_text() == "x\n1\n"


def test_tables_that_cannot_be_written(tmp_path):
    frame = pd.DataFrame({"x": [1]})
    path = tmp_path / "t.xlsx"
    assert refusal(write_table, frame, path) == (
        f"Cannot write {path}: allowed are the suffixes .csv and .tsv (also with .gz), .parquet, "
        ".pq, .arrow, .feather and .ipc."
    )
    path = tmp_path / "no" / "t.csv"
    assert refusal(write_table, frame, path) == (
        f"Cannot write {path}: there is no folder {path.parent}."
    )
    folder = tmp_path / "f.csv"
    folder.mkdir()
    assert refusal(write_table, frame, folder) == f"Cannot write {folder}: it is a folder."
    path = tmp_path / "t.csv"
    mixed = pd.DataFrame({"x": [1, "a"]}, dtype=object)
    assert refusal(write_table, mixed, path).startswith(f"Cannot write {path}: ")
    assert refusal(write_table, np.zeros(2), path).startswith(f"Cannot write {path}: ")
    assert os.listdir(tmp_path) == ["f.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_words_that_mean_missing(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    table = pd.DataFrame(
        {"a": ["1.5", "n/a?", "2"], "b": [-999, 1, 2], "c": ["x", "n/a?", "None"]}
    )
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    result = read_table(path, missing_values=["n/a?", " -999"])
    gaps = result.table.isna()
    assert gaps.a.tolist() == gaps.c.tolist() == [False, True, False]
    assert gaps.b.tolist() == [True, False, False]
    # What is left decides what a column of a text file is.
    assert (result.table.a.dtype == float) is (suffix == ".csv")
    assert sum("read as missing" in line for line in result.notes) == 3


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1.234", "999", "12.500"], True),
        (["1.234", "2.345", "12.500"], False),
        (["1.234", "999", "1500"], False),
        (["1.234", "999", "0.5"], False),
        (["1", "2", "3"], False),
    ],
)
def test_full_stops_that_may_stand_between_thousands_are_told(tmp_path, cells, said):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"1,{cell}\n" for cell in cells))
    notes = read_table(tmp_path / "t.csv").notes
    expected = (
        "Column 'y': '1.234' is read as a number with three decimals, beside '999'. If full stops "
        "stand between thousands, say --decimal , (decimal=',')."
    )
    assert notes == ((expected,) if said else ())


@pytest.mark.parametrize(
    ("words", "values", "how"),
    [
        (["€ 8.47", "€ 9", ""], [8.47, 9.0, None], "'€' ('€ 8.47' is 8.47)"),
        (["340 g", "20 g", "NA"], [340.0, 20.0, None], "'g' ('340 g' is 340)"),
        (["$1.20M", "$300K", "$7"], [1.2e6, 3e5, 7.0], "'$' ('$1.20M' is 1200000)"),
        (["35%", "40 %", "0"], [35.0, 40.0, 0.0], "'%' ('40 %' is 40)"),
    ],
)
def test_numbers_with_one_unit_are_numbers(read, words, values, how):
    found = read("x,y\n" + "".join(f"{word},1\n" for word in words))
    assert [None if np.isnan(v) else v for v in found.table["x"]] == values
    assert f"Column 'x' is read as numbers, written with {how}." in found.notes


@pytest.mark.parametrize(
    "words",
    [["340 g", "1 kg"], ["€ 8.47", "$9"], ["$5", "7"], ["12A", "7B"], ["5 apples", "6 apples"]],
)
def test_numbers_with_several_units_stay_text(read, words):
    found = read("x,y\n" + "".join(f"{word},1\n" for word in words))
    assert found.table["x"].tolist() == words


def test_workbooks(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "empty"
    sheet = book.create_sheet("data")
    for row in (
        [None, None, None, None, None, None],
        [None, "size", "when", "ok", "name", "price"],
        [None, 1, datetime.datetime(2024, 1, 2), True, "x", "€ 2,50"],
        [None, 2.5, datetime.datetime(2024, 1, 3, 4, 5), False, None, "€ 3,10"],
    ):
        sheet.append(row)
    path = tmp_path / "t.xlsx"
    book.save(path)
    # Empty sheets are nothing to choose from.
    assert not any("sheets" in note for note in read_table(path, decimal=",").notes)
    book.create_sheet("more").append(["a"])
    book["more"].append([3])
    book.save(path)
    found = read_table(path, decimal=",")
    assert found.table.columns.tolist() == ["size", "when", "ok", "name", "price"]
    assert found.table["size"].tolist() == [1.0, 2.5]
    assert found.table["when"].dt.month.tolist() == [1, 1]
    assert found.table["ok"].tolist() == [True, False]
    assert found.table["price"].tolist() == [2.5, 3.1]
    assert found.notes[0] == (
        f"{path} has several sheets: 'data' was read, the first with cells. To read another one "
        "('more'), say sheet=NAME."
    )
    assert read_table(path, sheet="more").table["a"].tolist() == [3]
    assert read_tables(path, sheet="more").tables["t"]["a"].tolist() == [3]
    assert refusal(partial(read_table, sheet="dta"), path) == (
        f"{path} has no sheet 'dta'; it has 'empty', 'data', 'more'."
    )
    assert refusal(partial(read_table, sheet="empty"), path) == f"{path} has no cells."
    assert list(read_tables(tmp_path / "*.xlsx", decimal=",").tables) == ["t"]
    text = put(tmp_path, "u.csv", "a\n1\n")
    for read in (read_table, read_tables):
        with pytest.raises(ParameterError, match=r"u\.csv has no sheets, so that sheet='data'"):
            read(text, sheet="data")
    path.write_bytes(b"no workbook")
    assert f"{path} is not a readable workbook" in refusal(read_table, path)


def test_old_workbooks(tmp_path):
    pytest.importorskip("xlrd")
    # The data of a sheet with a number and a word, as Excel 97 wrote them.
    path = tmp_path / "t.xls"
    path.write_bytes((Path(__file__).parent / "old_workbook.xls").read_bytes())
    found = read_table(path)
    assert found.table["size"].tolist() == [1.5, 2.0]
    assert found.table["name"].tolist() == ["x", "y"]
    assert found.table["when"].dt.year.tolist() == [2024, 2024]


def test_what_is_odd_about_an_old_workbook_is_not_printed(tmp_path, capsys):
    pytest.importorskip("xlrd")
    path = tmp_path / "t.xls"
    content = bytearray((Path(__file__).parent / "old_workbook.xls").read_bytes())
    # A table of short sectors where there are none, as some programs write it.
    content[0x3C:0x44] = struct.pack("<ii", 0, 1)
    path.write_bytes(content)
    assert read_table(path).table["size"].tolist() == [1.5, 2.0]
    assert capsys.readouterr() == ("", "")


def test_a_workbook_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert refusal(read_table, path) == (
        f"{path} needs openpyxl, which is not installed: pip install 'polytask[excel]'."
    )
