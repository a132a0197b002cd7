"""Rows that are read in parts, wherever they are, are the rows of the whole table."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose
from pyarrow import dataset

from polytask import MultiTaskRegressor
from polytask.data import TableEncoder
from polytask.data import _csv_parts as csv_parts
from polytask.data.file_parts import file_parts
from polytask.data.readers import Style, read_table
from polytask.exceptions import DataError, ParameterError
from polytask.statistics import TaskStatistics, collect, collect_parts, fit_parts


def table(n: int = 240) -> pd.DataFrame:
    """Return rows of numbers, gaps, words and a truth value, with a task and a target."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(n, 3)).round(4), columns=list("pqr"))
    made.loc[5::17, "p"] = np.nan
    made["colour"] = rng.choice(["red", "green", "blue"], n)
    made["open"] = rng.integers(2, size=n).astype(bool)
    made["site"] = rng.choice(["north", "south"], n)
    return made.assign(y=rng.normal(size=n).round(4))


def assert_same(found: TaskStatistics, expected: TaskStatistics) -> None:
    """Compare the numbers of statistics."""
    assert (found.tasks, found.feature_names) == (expected.tasks, expected.feature_names)
    for one, other in zip(found.cells, expected.cells, strict=True):
        assert (one.key, one.n_rows) == (other.key, other.n_rows)
        assert_allclose(one.mean, other.mean, rtol=1e-12, atol=1e-12)
        assert_allclose(one.second, other.second, rtol=1e-12, atol=1e-12)


def whole(rows: pd.DataFrame, encoder: TableEncoder | None) -> TaskStatistics:
    """Return the statistics of a table in memory."""
    return collect(rows.drop(columns="y"), rows["y"], task_column="site", encoder=encoder)


class Relation:
    """What a relation of DuckDB shows of itself; it runs its query again for every reader."""

    def __init__(self, rows: pa.Table, *, once: bool = False, fails: bool = False) -> None:
        self.rows, self.once, self.fails, self.sizes = rows, once, fails, list[int]()

    def to_arrow_reader(self, batch_size: int = 1_000_000) -> pa.RecordBatchReader:
        """Return the rows as record batches."""
        if self.fails:
            raise RuntimeError("Binder Error: no such table\nLINE 1: ...")
        self.sizes.append(batch_size)
        rows = self.rows.slice(0, 0) if self.once and len(self.sizes) > 1 else self.rows
        return rows.to_reader(max_chunksize=batch_size)


class OldRelation:
    """The same before DuckDB 1.5."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def fetch_record_batch(self, rows_per_batch: int = 1_000_000) -> pa.RecordBatchReader:
        """Return the rows as record batches."""
        return self.rows.to_reader(max_chunksize=rows_per_batch)


def put_parquet(folder: Path, rows: pd.DataFrame) -> Path:
    """Write a folder of two files, one of them further down."""
    (folder / "more").mkdir()
    rows[:100].to_parquet(folder / "a.parquet")
    rows[100:].to_parquet(folder / "more" / "b.parquet")
    (folder / "_SUCCESS").touch()
    return folder


def put_csv(folder: Path, rows: pd.DataFrame) -> Path:
    """Write a folder of two text files, one of them packed."""
    rows[:100].to_csv(folder / "a.csv", index=False)
    rows[100:].to_csv(folder / "b.csv.gz", index=False)
    return folder


SOURCES: dict[str, Callable[[Path, pd.DataFrame], Any]] = {
    "csv": lambda folder, rows: rows.to_csv(folder / "t.csv", index=False) or folder / "t.csv",
    "gz": lambda folder, rows: (
        rows.to_csv(folder / "t.csv.gz", index=False) or folder / "t.csv.gz"
    ),
    "tsv": lambda folder, rows: (
        rows.to_csv(folder / "t.tsv", index=False, sep="\t") or folder / "t.tsv"
    ),
    "csv folder": put_csv,
    "parquet folder": put_parquet,
    "dataset": lambda folder, rows: dataset.dataset(put_parquet(folder, rows) / "more"),
    "lazy frame": lambda folder, rows: pl.from_pandas(rows).lazy(),
    "duckdb": lambda folder, rows: Relation(pa.Table.from_pandas(rows)),
    "duckdb before 1.5": lambda folder, rows: OldRelation(pa.Table.from_pandas(rows)),
    "batches": lambda folder, rows: pa.Table.from_pandas(rows).to_batches(max_chunksize=70),
    "tables": lambda folder, rows: [rows[:0], rows[:100], rows[100:]],
}


@pytest.mark.parametrize("name", SOURCES)
def test_parts_of_every_source_are_the_whole(name: str, tmp_path: Path) -> None:
    rows = table()
    source = SOURCES[name](tmp_path, rows)
    rows = rows[100:] if name == "dataset" else rows
    found = collect_parts(source, "y", task_column="site", part_rows=70)
    assert_same(found, whole(rows, found.encoder))
    # With an encoder of the whole table nothing differs from the whole table.
    own = whole(rows, None)
    once = collect_parts(source, "y", task_column="site", part_rows=70, encoder=own.encoder)
    assert_same(once, own)


def test_a_relation_gives_parts_of_the_size_that_was_asked_for() -> None:
    relation = Relation(pa.Table.from_pandas(table()))
    collect_parts(relation, "y", task_column="site", part_rows=70)
    assert relation.sizes == [70, 70]


def test_a_relation_of_duckdb() -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    rows = table()
    found = collect_parts(duckdb.from_df(rows), "y", task_column="site", part_rows=70)
    assert_same(found, whole(rows, found.encoder))


def test_what_can_be_read_once_needs_an_encoder() -> None:
    rows = table()
    parts = [rows[:100], rows[100:]]
    with pytest.raises(DataError, match="of type list_iterator, can be read only once"):
        collect_parts(iter(parts), "y", task_column="site")
    reader = pa.Table.from_pandas(rows).to_reader(max_chunksize=70)
    with pytest.raises(DataError, match="of type RecordBatchReader, can be read only once"):
        collect_parts(reader, "y", task_column="site")
    own = whole(rows, None)
    for source in (iter(parts), reader):
        found = collect_parts(source, "y", task_column="site", encoder=own.encoder)
        assert_same(found, own)


def test_rows_that_are_others_at_the_second_reading_are_refused() -> None:
    rows = table()
    again = iter([rows])
    with pytest.raises(DataError, match="had 240 rows when it was first read and 0 when"):
        collect_parts(lambda: again, "y", task_column="site")
    with pytest.raises(DataError, match="had 240 rows when it was first read and 0 when"):
        collect_parts(Relation(pa.Table.from_pandas(rows), once=True), "y", task_column="site")


def test_what_another_library_cannot_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The Relation .* cannot be read: Binder Error: no such"):
        collect_parts(Relation(pa.table({}), fails=True), "y")
    lazy = pl.scan_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="The LazyFrame that was given as the source cannot be"):
        collect_parts(lazy, "y")
    rows = table()
    rows.to_parquet(tmp_path / "whole.parquet")
    opened = dataset.dataset(tmp_path / "whole.parquet")
    (tmp_path / "whole.parquet").unlink()
    with pytest.raises(DataError, match="Dataset that was given as the source cannot be read"):
        collect_parts(opened, "y")


@pytest.mark.parametrize("source", [table(), pa.table({"y": [1]}), {"y": [1]}, 3, None])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(ParameterError, match="source of collect_parts must be a path, a list"):
        collect_parts(source, "y")


def test_parts_must_be_tables() -> None:
    with pytest.raises(DataError, match=r"a part of collect_parts must be a table .* got int"):
        collect_parts([3], "y")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read text in blocks of a few rows."""
    monkeypatch.setattr(csv_parts, "_BLOCK", 64)


def in_parts(path: Path, **given: Any) -> pd.DataFrame:
    """Read a file in parts and put them together."""
    missing = given.pop("missing_values", ())
    style = Style(given.get("sep"), given.get("decimal"), given.get("encoding"))
    parts = list(file_parts(path, 7, style, tuple(missing))())
    assert len({part.schema for part in parts}) == 1
    assert len(parts) > 1
    return pa.concat_tables(parts).to_pandas(date_as_object=False)


# Columns of which the first cells mean something else than all together.
COLUMNS = {
    "integers, then numbers": ["1"] * 20 + ["2.5"] * 20,
    "integers, then text": ["1"] * 20 + ["two"] * 20,
    "integers, then gaps": ["12"] * 20 + ["NA", ""] * 10,
    "gaps, then integers": ["NA", ""] * 10 + ["12"] * 20,
    "long integers, then gaps": ["1234567890123456"] * 20 + [""] * 20,
    "long integers": ["1234567890123456"] * 40,
    "truth, then words": ["true"] * 20 + ["maybe"] * 20,
    "truth": ["True", "false"] * 20,
    "truth, then numbers": ["true"] * 20 + ["1"] * 20,
    "dates, then words": ["2024-02-03"] * 20 + ["soon"] * 20,
    "dates": ["2024-02-03", "2024-02-03 10:11:12"] * 20,
    "dates that do not exist": ["2024-02-03"] * 20 + ["2024-02-31"] * 20,
    "zeros before": ["7"] * 20 + ["007"] * 20,
    "numbers, then a word that may be missing": ["NA"] * 20 + ["Namibia"] * 20,
    "only markers": ["NA"] * 40,
    "only gaps": [""] * 40,
    "text with null": ["a"] * 20 + ["NULL"] * 20,
    "signs": ["+1"] * 20 + ["-2e3"] * 20,
    "spaces": [" 1"] * 20 + ["2 "] * 20,
    "quoted lines": ['"a\nb"'] * 20 + ['"c ""d"" e"'] * 20,
    "infinite": ["1"] * 20 + ["inf"] * 20,
    "other marks": ["-99"] * 10 + ["3"] * 20 + ["unknown"] * 10,
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("cells", COLUMNS.values(), ids=COLUMNS)
def test_text_in_parts_is_read_as_the_whole_file(cells: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    for missing in ((), ("-99", "unknown")):
        found = in_parts(path, missing_values=missing)
        expected = read_table(path, missing_values=missing).table
        for name in expected:
            one, other = (side[name].dropna().tolist() for side in (found, expected))
            assert one == other
            assert set(map(type, one)) == set(map(type, other))
        assert found.isna().equals(expected.isna())


FILES = {
    "semicolons and commas": "a;b\n" + "1,5;x\n" * 30 + "2,25;y\n" * 30,
    "semicolons and full stops": "a;b\n" + "1.5;x\n" * 60,
    "a line that names the separator": "sep=|\na|b\n" + "1|2\n" * 60,
    "blank lines before": "\n\na,b\n" + "1,2\n" * 60,
    "windows": "a,b\r\n" + "1,2\r\n" * 60,
    "a mark": "\ufeffa,b\n" + "1,2\n" * 60,
    "row numbers": ",a,b\n" + "".join(f"{k},1,2\n" for k in range(60)),
    "row numbers from one": ",a,b\n" + "".join(f"{k},1,2\n" for k in range(1, 61)),
    "no row numbers": ",a,b\n" + "".join(f"{k // 59},1,2\n" for k in range(60)),
    "a separator at the end": "a,b,\n" + "1,2,\n" * 60,
    "not quite": "a,b,\n" + "1,2,\n" * 60 + "1,2,3\n",
    "no end of line": "a,b\n" + "1,2\n" * 60 + "3,4",
    "blank lines within": "a,b\n" + "1,2\n\n" * 60,
    "letters": "a,b\n" + "é,日本\n" * 60,
    "thousands that are none": "a,b\n" + "1.234,1\n" * 60,
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_files_are_laid_out_as_the_reader_of_whole_files_says(
    text: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    given = {"encoding": encoding} if encoding == "gb18030" else {}
    found, expected = in_parts(path, **given), read_table(path, **given).table
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.usefixtures("small_blocks")
def test_text_is_read_as_its_options_say(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("a|b\n".encode("cp1252") + "1,5|é\n".encode("cp1252") * 60)
    given = {"sep": "pipe", "decimal": ",", "encoding": "cp1252"}
    pd.testing.assert_frame_equal(in_parts(path, **given), read_table(path, **given).table)
    with pytest.raises(DataError, match="is not text in ascii: see line 2"):
        in_parts(path, encoding="ascii")


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "t.csv is empty"),
    "names only": (b"a,y\n", "The source of collect_parts has no rows"),
    "ragged": (
        b"a,y\n" + b"1,2\n" * 60 + b"1,2,3\n",
        r"row 62 \(the header is row 1\) has 3 fields instead of 2",
    ),
    "a quote": (b"a,y\n" + b"1,2\n" * 9 + b'1,"2\n' + b"1,2\n" * 60, "quote in it is opened but"),
    "a quote at the end": (b"a,y\n" + b"1,2\n" * 9 + b'1,"2\n', "a quote is opened but never"),
    "bytes": (b"a,y\n" + b"1,2\n" * 60 + b"\xe9,2\n", r"not UTF-8 text \(see line 62\)"),
    "zero bytes": (b"a,y\n" + b"1,2\n" * 60 + b"\0,2\n", "it holds zero bytes"),
    "units": (b"a;y\n" + "€ 8.47;2\n".encode() * 60, "'a' .* such as '€ 8.47'. Only in a file"),
    "thousands": (b"a;y\n" + b"1;2\n" * 60 + b"2,927,000;2\n", "such as '2,927,000'. Only in"),
    "twice": (b"a,a\n1,2\n", "has 2 columns named 'a'"),
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_text_that_cannot_be_read_in_parts_is_refused(
    content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        collect_parts(tmp_path / "t.csv", "y")


def test_a_packed_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(table().to_csv(index=False).encode())
    (tmp_path / "t.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"t.csv.gz is not a whole gzip file"):
        collect_parts(tmp_path / "t.csv.gz", "y", task_column="site")


def test_parts_with_other_columns_are_refused(tmp_path: Path) -> None:
    rows = table()
    for suffix in ("csv", "parquet"):
        folder = tmp_path / suffix
        folder.mkdir()

        def put(
            name: str, part: pd.DataFrame, folder: Path = folder, suffix: str = suffix
        ) -> None:
            path = folder / f"{name}.{suffix}"
            part.to_csv(path, index=False) if suffix == "csv" else part.to_parquet(path)

        put("a", rows[:100])
        put("b", rows[100:].drop(columns="q"))
        with pytest.raises(DataError, match=rf"b.{suffix} has no column 'q', which .*a.{suffix}"):
            collect_parts(folder, "y", task_column="site")
        put("b", rows[100:].assign(more=1))
        with pytest.raises(
            DataError, match=rf"b.{suffix} has a column 'more', which .*a.{suffix}"
        ):
            collect_parts(folder, "y", task_column="site")
        # The order of columns does not matter.
        put("b", rows[100:][rows.columns[::-1]])
        found = collect_parts(folder, "y", task_column="site")
        assert_same(found, whole(rows, found.encoder))


def test_parts_with_other_types_are_refused_unless_both_are_numbers(tmp_path: Path) -> None:
    rows = table()
    rows["p"] = np.arange(240.0)
    rows[:100].astype({"p": int}).to_parquet(tmp_path / "a.parquet")
    rows[100:].astype({"p": str}).to_parquet(tmp_path / "b.parquet")
    said = r"b.parquet: column 'p' has the type .*string; expected int64, as in .*a.parquet"
    with pytest.raises(DataError, match=said):
        collect_parts(tmp_path, "y", task_column="site")
    rows[100:].to_parquet(tmp_path / "b.parquet")
    found = collect_parts(tmp_path, "y", task_column="site")
    assert_same(found, whole(rows, found.encoder))
    # A part of which all cells of a column are missing has no type of its own.
    rows.loc[100:, "colour"] = None
    rows[100:].to_parquet(tmp_path / "b.parquet")
    found = collect_parts(tmp_path, "y", task_column="site")
    assert_same(found, whole(rows, found.encoder))


def test_a_part_that_is_cut_is_named(tmp_path: Path) -> None:
    put_parquet(tmp_path, table())
    content = (tmp_path / "more" / "b.parquet").read_bytes()
    (tmp_path / "more" / "b.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"b.parquet' cannot be read as Parquet"):
        collect_parts(tmp_path, "y", task_column="site")


def test_folders_that_are_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Folder .* holds no files"):
        collect_parts(tmp_path, "y")
    put_parquet(tmp_path, table())
    put_csv(tmp_path, table())
    with pytest.raises(DataError, match=r"different kinds, such as .*a.csv and .*a.parquet"):
        collect_parts(tmp_path, "y")


def test_text_with_integers_then_words_is_text_in_all_parts(tmp_path: Path) -> None:
    rows = table().assign(code=["1"] * 120 + ["x"] * 120)
    rows.to_csv(tmp_path / "t.csv", index=False)
    found = collect_parts(tmp_path / "t.csv", "y", task_column="site", part_rows=50)
    assert {"code=1", "code=x"} <= set(found.feature_names or ())
    assert_same(found, whole(read_table(tmp_path / "t.csv").table, found.encoder))


def test_cells_are_named_by_their_row_where_an_encoder_is_given() -> None:
    rows = table()
    encoder = whole(rows, None).encoder
    rows["q"] = rows["q"].astype(object)
    rows.loc[17, "q"] = "much"
    with pytest.raises(DataError, match="row 17 holds 'much'"):
        whole(rows, encoder)


def bad_tables() -> dict[str, pd.DataFrame]:
    """Return tables with one bad cell in row 130."""
    found = {}
    for name, value in {"p": np.inf, "y": np.nan, "site": None, "w": -1.0}.items():
        rows = table().assign(w=1.0)
        rows.loc[130, name] = value
        found[name] = rows
    return found


@pytest.mark.parametrize("reader", ["collect", "collect with encoder", "newton"])
@pytest.mark.parametrize("bad", ["p", "y", "site", "w"])
def test_a_bad_cell_is_named_by_its_row_in_the_source(
    tmp_path: Path, bad: str, reader: str
) -> None:
    rows = bad_tables()[bad]
    encoder = whole(table(), None).encoder
    given: dict[str, Any] = {"task_column": "site", "sample_weight": "w"}
    if reader == "newton":
        model = MultiTaskRegressor(loss="huber")
        read: Any = partial(fit_parts, model, encoder=encoder)
    else:
        read = partial(collect_parts, encoder=encoder if "encoder" in reader else None)

    def said(source: object, **more: Any) -> str:
        with pytest.raises(DataError) as refused:
            read(source, target="y", **given, **more)
        return str(refused.value)

    rows.to_csv(tmp_path / "t.csv", index=False)
    alone = said(tmp_path / "t.csv")
    assert re.search(r"row \(?130\b", alone), alone
    # A file is read in one part, or in three.
    assert said(tmp_path / "t.csv", part_rows=50) == alone
    of_function = said(lambda: (rows[k : k + 50] for k in range(0, 240, 50)))
    assert re.search(r"row \(?130\b", of_function), of_function
    (tmp_path / "rows").mkdir()
    for name, start in {"a": 0, "b": 100, "c": 200}.items():
        rows[start : start + 100].to_parquet(tmp_path / "rows" / f"{name}.parquet")
    in_folder = said(tmp_path / "rows", part_rows=20)
    assert in_folder.startswith(f"{tmp_path / 'rows' / 'b.parquet'}: ")
    assert re.search(r"row \(?30\b", in_folder), in_folder


def test_a_reader_that_takes_its_time_is_not_read_ahead_of(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(4_000_000.0)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=100_000)
    del table
    before = pa.total_allocated_bytes()
    parts = iter(file_parts(tmp_path / "rows.parquet", 100_000)())
    next(parts)
    time.sleep(0.5)
    # The file has 32 MB, a group of rows 0.8.
    assert pa.total_allocated_bytes() - before < 8e6
    assert sum(part.num_rows for part in parts) == 3_900_000


def test_a_wide_text_file_is_read_in_few_bytes_at_a_time(tmp_path: Path) -> None:
    # 14 MB, of which 10,000 rows tell the decimal mark.
    X = np.random.default_rng(0).uniform(size=(12_000, 150))
    pd.DataFrame(X).to_csv(tmp_path / "wide.csv", index=False, float_format="%.5f")
    program = """if True:
        import sys
        import pyarrow as pa
        from polytask.data.file_parts import file_parts
        parts = file_parts(sys.argv[1], 100_000, part_bytes=1e6)
        n_rows = sum(part.num_rows for part in parts())
        print(n_rows, pa.default_memory_pool().max_memory())
    """
    words = [sys.executable, "-c", program, str(tmp_path / "wide.csv")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    n_rows, most = map(int, done.stdout.split())
    assert n_rows == len(X)
    assert most < 16e6


def test_the_decimal_mark_is_told_by_rows_of_many_blocks(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(csv_parts, "_BLOCK", 64)
    lines = [*["1,234;2"] * 40, "1,2;2"]
    (tmp_path / "t.csv").write_text("\n".join(["a;b", *lines]), encoding="utf-8")
    parts = list(file_parts(tmp_path / "t.csv", 7)())
    assert parts[0].column("a")[0].as_py() == 1.234
    lines[-1] = "1,x;2"
    (tmp_path / "t.csv").write_text("\n".join(["a;b", *lines]), encoding="utf-8")
    parts = list(file_parts(tmp_path / "t.csv", 7)())
    assert parts[0].column("a")[0].as_py() == "1,234"
