"""Workbooks of Excel as columns of text: the one place that knows openpyxl and xlrd."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from polytask.data._csv_text import RawTable, raw_table, refuse_bomb
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

EXCEL_SUFFIXES = (".xlsx", ".xlsm", ".xls")
_MOST_CELLS = 20_000_000
Sheets = Iterator[tuple[str, list[list[Any]]]]


def read_workbook(data: bytes, source: str, suffix: str, sheet: str | None, mark: str) -> RawTable:
    """Return a sheet as columns of text; numbers have the decimal mark `mark`."""
    reader, needed = (_xls, "xlrd") if suffix == ".xls" else (_xlsx, "openpyxl")
    try:
        sheets = dict(reader(data, source))
    except DataError:
        raise
    except ImportError:
        raise DataError(
            LazyMessage("read.refusal.needs_package", {"source": source, "needed": needed})
        ) from None
    except Exception as error:  # both libraries raise whatever their parsers meet
        raise DataError(
            LazyMessage("read.refusal.workbook", {"source": source, "error": str(error)})
        ) from None
    filled = {name: _trimmed(rows) for name, rows in sheets.items()}
    name = next((name for name, rows in filled.items() if rows), "") if sheet is None else sheet
    if sheet is not None and sheet not in sheets:
        raise DataError(
            LazyMessage(
                "read.refusal.no_sheet",
                {"source": source, "sheet": repr(sheet), "names": [*map(repr, sheets)]},
            )
        )
    rows = filled.get(name, [])
    if len(rows) < 2:
        key = "no_rows" if rows else "no_cells"
        raise DataError(LazyMessage(f"read.refusal.{key}", {"source": source}))
    notes = []
    others = [repr(other) for other, cells in filled.items() if cells and other != name]
    if sheet is None and others:
        fields = {"file": source, "name": repr(name), "others": others}
        notes.append(LazyMessage("read.sheet", fields))
    text = [[_text(cell, mark) for cell in row] for row in rows]
    return raw_table(source, text[0], text[1:], notes)


def _xlsx(data: bytes, source: str) -> Sheets:
    import openpyxl

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        refuse_bomb(source, len(data), sum(part.file_size for part in archive.infolist()))
    # The values that Excel saved, not the formulas.
    book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    for sheet in book.worksheets:
        # One cell far away makes a small file a sheet of 17 thousand million cells.
        if sheet.max_row * sheet.max_column > _MOST_CELLS:
            fields = {"source": source, "sheet": repr(sheet.title), "most": _MOST_CELLS}
            raise DataError(LazyMessage("read.refusal.large_sheet", fields))
        yield sheet.title, [list(row) for row in sheet.iter_rows(values_only=True)]


def _xls(data: bytes, source: str) -> Sheets:
    import xlrd

    # What it finds odd about a file it would print among the results.
    book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO())
    values: dict[int, Callable[[Any], Any]] = {
        xlrd.XL_CELL_EMPTY: lambda _: None,
        xlrd.XL_CELL_BLANK: lambda _: None,
        xlrd.XL_CELL_BOOLEAN: bool,
        xlrd.XL_CELL_DATE: lambda value: xlrd.xldate_as_datetime(value, book.datemode),
        xlrd.XL_CELL_ERROR: lambda value: xlrd.error_text_from_code[value],
    }

    def read(cell: Any) -> Any:  # noqa: ANN401 - a cell and what it holds
        return values[cell.ctype](cell.value) if cell.ctype in values else cell.value

    for sheet in book.sheets():
        yield sheet.name, [[read(cell) for cell in row] for row in sheet.get_rows()]


def _trimmed(rows: list[list[Any]]) -> list[list[Any]]:
    """Leave out empty rows, and columns that are empty in all rows."""
    kept = [row for row in rows if any(cell not in (None, "") for cell in row)]
    width = max((len(row) for row in kept), default=0)
    full = [row + [None] * (width - len(row)) for row in kept]
    used = [j for j in range(width) if any(row[j] not in (None, "") for row in full)]
    return [[row[j] for j in used] for row in full]


def _text(cell: Any, mark: str) -> str:  # noqa: ANN401 - a number, a date, text, or nothing
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        text = str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
        return text.replace(".", mark)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ")
    return str(cell)
