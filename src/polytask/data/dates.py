"""Dates as people write them, and what of a date becomes features."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.data import tables
from polytask.data.missing import missing_mask, rows_text
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text, with_and

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

__all__ = [
    "DATE_PARTS",
    "add_date_features",
    "date_columns",
    "day_comes_first",
    "looks_like_dates",
    "read_dates",
]

Table = TypeVar("Table", bound="IntoDataFrame")
Moment = datetime.datetime

#: What :func:`add_date_features` makes of a date: "day=year" and so on.
DATE_PARTS = ("year", "month", "week", "weekday", "days")

#: Those of them that may be names instead of numbers, and the name of each number. They are
#: written out because those of :mod:`calendar` depend on the language that Python is set to.
PART_NAMES = {
    "month": (
        "",
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}

# Months that came once cannot be told from a trend.
_MONTHS_OF_SEASONS = 24

#: What the name of the feature of elapsed days ends with.
ELAPSED = "=days"

_WAYS = "2024-01-31, 31/12/2024, 31.12.2024, 2024-01, Jan 2022, 31 Jan 2022, 2024-W05 or 2024-Q1"
# So much of a text column must be written like dates to be one.
_MOSTLY = 0.9
_LOOKED_AT = 1000

_MONTHS = {name.lower(): k for k, name in enumerate(calendar.month_abbr) if name}
_FULL_MONTHS = {name.lower() for name in calendar.month_name if name} | {"sept"}
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_YEAR, _DAY = r"(?P<year>(?:1[5-9]|2[01])\d\d)", r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_MONTH = r"(?P<month>0?[1-9]|1[0-2])"
# Written without marks: 20240131.
_TWO_OF_MONTH, _TWO_OF_DAY = r"(?P<month>0[1-9]|1[0-2])", r"(?P<day>0[1-9]|[12]\d|3[01])"
_CLOCK = (
    r"(?:[T ]\s?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d+))?)?"
    r"\s?(?P<half>[AaPp]\.?[Mm]\.?)?\s?(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_YEAR}(?P<mark>[-/.]){_MONTH}(?P=mark){_DAY}{_CLOCK}",
        rf"{_YEAR}年{_MONTH}月(?:{_DAY}日?)?",
        rf"{_YEAR}[-/]{_MONTH}",
        rf"{_YEAR}-?W(?P<week>\d{{2}})(?:-?(?P<weekday>[1-7]))?",
        rf"{_YEAR}[- ]?Q(?P<quarter>[1-4])",
        rf"Q(?P<quarter>[1-4])[- /]?{_YEAR}",
        rf"{_YEAR}{_TWO_OF_MONTH}{_TWO_OF_DAY}{_CLOCK}",
        rf"{_MONTH}/{_YEAR}",
        rf"{_NAME}[ -]{_YEAR}",
        rf"{_DAY}[ -]{_NAME}[ -]{_YEAR}{_CLOCK}",
        rf"{_NAME} {_DAY},? {_YEAR}{_CLOCK}",
        rf"(?P<first>\d{{1,2}})(?P<mark>[/.-])(?P<other>\d{{1,2}})(?P=mark){_YEAR}{_CLOCK}",
    )
)


def looks_like_dates(words: Sequence[str]) -> bool:
    """Tell whether nearly all words are written like dates."""
    found = [is_date(word) for word in words[:: len(words) // _LOOKED_AT + 1]]
    return bool(found) and sum(found) >= _MOSTLY * len(found)


def is_date(word: str) -> bool:
    """Tell whether a word is written like a date."""
    return _matched(word) is not None


_TABLE = LazyMessage("what.table")


def read_dates(
    values: Any,  # noqa: ANN401 - array, column or list
    day_first: bool | None = None,
    parameter: Text = "values",
    owner: Text = "read_dates",
) -> NDArray[np.datetime64]:
    """Read dates and times in the usual ways of writing them.

    Parameters
    ----------
    values : array-like of shape (n,)
        Dates, or text such as "2024-01-31", "31/12/2024", "2024-01", "Jan 2022", "2024-W05"
        and timestamps with or without a zone. A month, week or quarter is its first day; times
        with a zone are those of UTC.
    day_first : bool or None, default=None
        Whether 03/04/2024 is 3 April. None finds it from dates that can be read in one way only;
        31.12.2024, with full stops, always begins with the day.
    parameter, owner : str
        Names for messages.

    Returns
    -------
    ndarray of shape (n,)
        datetime64[us], NaT where a value is missing.

    Raises
    ------
    DataError
        If a word is no date, day and month cannot be told apart, or only some have a zone.

    Examples
    --------
    >>> from polytask.data.dates import read_dates
    >>> read_dates(["31/12/2024", "Jan 2025", "2025-W03"]).astype("datetime64[D]")
    array(['2024-12-31', '2025-01-01', '2025-01-13'], dtype='datetime64[D]')
    """
    cells = tables.column_values(values) if tables.is_column(values) else np.asarray(values)
    if cells.dtype.kind == "M":
        return cells.astype("datetime64[us]")
    missing = missing_mask(cells) | np.array([cell == "" for cell in cells], dtype=bool)
    read: dict[Any, Moment] = {}
    first = _day_first(cells, parameter, owner) if day_first is None else day_first
    for cell in dict.fromkeys(cells[~missing].tolist()):
        moment = _moment(cell, first is not False)
        if moment is None:
            row = next(k for k in np.flatnonzero(~missing) if cells[k] == cell)
            got = LazyMessage("got.cell", {"cell": repr(cell), "row": row})
            if day_first is not None and _moment(cell, not day_first) is not None:
                key = f"dates.refusal.{'day' if day_first else 'month'}_first"
                fields = {"parameter": parameter, "owner": owner, "got": got}
                raise DataError(LazyMessage(key, fields))
            raise DataError(
                sentence(parameter, owner, LazyMessage("allowed.dates", {"ways": _WAYS}), got)
            )
        read[cell] = moment
    zoned = {moment.tzinfo is not None: cell for cell, moment in read.items()}
    if len(zoned) > 1:
        got = LazyMessage("got.zones", {"zoned": repr(zoned[True]), "zoned2": repr(zoned[False])})
        raise DataError(sentence(parameter, owner, LazyMessage("allowed.one_zone"), got))
    if True in zoned:
        utc = datetime.UTC
        read = {cell: moment.astimezone(utc).replace(tzinfo=None) for cell, moment in read.items()}
    out = np.full(len(cells), np.datetime64("NaT"), dtype="datetime64[us]")
    for row in np.flatnonzero(~missing):
        out[row] = read[cells[row]]
    return out


def day_comes_first(values: Any, parameter: Text = "values") -> bool | None:  # noqa: ANN401
    """Tell whether dates such as 31/12/2024 begin with the day; None if there are none."""
    cells = tables.column_values(values) if tables.is_column(values) else np.asarray(values)
    return None if cells.dtype.kind == "M" else _day_first(cells, parameter, _TABLE)


def _matched(word: str) -> re.Match[str] | None:
    text = word.strip()
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None and _moment_of(found, True, False) is not None:
            return found
    return None


def _day_first(cells: NDArray[Any], parameter: Text, owner: Text) -> bool | None:
    """Tell whether the day stands before the month; ask where nothing in the column tells."""
    words = dict.fromkeys(cell for cell in cells.tolist() if isinstance(cell, str))
    seen = [found for found in map(_matched, words) if found is not None]
    open_ones = [f for f in seen if f.groupdict().get("first") and f["mark"] != "."]
    # 01/01/2024 is the same either way.
    open_ones = [f for f in open_ones if int(f["first"]) != int(f["other"])]
    if not open_ones:
        return None
    day = [f for f in open_ones if int(f["first"]) > 12]
    month = [f for f in open_ones if int(f["other"]) > 12]
    if bool(day) != bool(month):
        return bool(day)
    if day:
        got = LazyMessage("list.and", {"before": repr(day[0][0]), "after": repr(month[0][0])})
        allowed = LazyMessage("allowed.one_order")
        raise DataError(sentence(parameter, owner, allowed, got))
    word = open_ones[0][0]
    rows = rows_text(np.array([isinstance(c, str) and c.strip() == word for c in cells]))
    first, other = (int(open_ones[0][name]) for name in ("first", "other"))
    # Neither is above 12 here, so that both can be the month.
    ways = [
        LazyMessage("date.of_month", {"day": day, "month": LazyMessage(f"month.{month}").node})
        for day, month in ((first, other), (other, first))
    ]
    read = with_and(ways, "or")
    raise DataError(
        LazyMessage(
            "dates.refusal.two_ways",
            {
                "parameter": parameter,
                "owner": owner,
                "word": repr(word),
                "rows": rows,
                "read": read,
            },
        )
    )


def _moment(cell: Any, day_first: bool) -> Moment | None:  # noqa: ANN401 - a cell
    """Return the moment that a cell says, None if it says none."""
    if isinstance(cell, Moment):
        return cell
    if isinstance(cell, datetime.date):
        return Moment(cell.year, cell.month, cell.day)
    if isinstance(cell, np.datetime64):
        return cell.astype("datetime64[us]").item()  # type: ignore[no-any-return]
    found = _matched(cell) if isinstance(cell, str) else None
    return None if found is None else _moment_of(found, day_first, True)


def _moment_of(found: re.Match[str], day_first: bool, strict: bool) -> Moment | None:
    part = {name: value for name, value in found.groupdict().items() if value is not None}
    year, month, day = int(part["year"]), part.get("month", "1"), part.get("day", "1")
    try:
        if "week" in part:
            return Moment.fromisocalendar(year, int(part["week"]), int(part.get("weekday", 1)))
        if "quarter" in part:
            month = str(3 * int(part["quarter"]) - 2)
        if "name" in part:
            name = part["name"].lower()
            month = str(_MONTHS[name[:3]])
            if len(name) > 3 and name not in _FULL_MONTHS:
                return None
        if "first" in part:
            swap = not (day_first or part["mark"] == ".")
            day, month = (part["other"], part["first"])[:: 1 if swap else -1]
            if not strict and int(month) > 12:
                day, month = month, day
        hour, minute, second = (int(part.get(name, 0)) for name in ("hour", "minute", "second"))
        if "half" in part:
            hour = hour % 12 + (12 if part["half"][0] in "pP" else 0)
        micro = int(part.get("part", "0")[:6].ljust(6, "0"))
        zone = _zone(part.get("zone"))
        return Moment(year, int(month), int(day), hour, minute, second, micro, zone)
    except (ValueError, KeyError):
        return None  # such as 31 February


def _zone(text: str | None) -> datetime.tzinfo | None:
    if text is None:
        return None
    if text in ("Z", "UTC"):
        return datetime.UTC
    sign, digits = (-1 if text[0] == "-" else 1), text[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    return datetime.timezone(sign * datetime.timedelta(hours=hours, minutes=minutes))


def date_columns(table: IntoDataFrame) -> tuple[str, ...]:
    """Return the names of the columns of a table that hold dates, as dates or as text."""
    frame = tables.open_frame(table)
    columns = ((str(name), frame[:, j]) for j, name in enumerate(frame.columns))
    return tuple(name for name, column in columns if _holds_dates(column))


def _holds_dates(column: nw.Series[Any]) -> bool:
    if column.dtype in (nw.Date, nw.Datetime):
        return True
    if column.dtype not in (nw.String, nw.Object, nw.Categorical, nw.Enum):
        return False
    cells = column.drop_nulls().head(_LOOKED_AT).to_list()
    if not cells or not all(isinstance(cell, str) for cell in cells):
        return bool(cells) and all(isinstance(cell, datetime.date) for cell in cells)
    return looks_like_dates(list(dict.fromkeys(cells)))


def add_date_features(
    table: Table,
    columns: Sequence[str] | None = None,
    day_first: bool | None = None,
    *,
    names: Collection[str] | None = None,
    keep: bool = False,
) -> Table:
    """Replace columns of dates by year, month, week, weekday and elapsed days.

    Parameters
    ----------
    table : data frame of shape (n_rows, n_columns)
        A table of pandas, polars or pyarrow.
    columns : sequence of str, default=None
        The columns of dates; None takes all that hold dates, as dates or as text.
    day_first : bool or None, default=None
        As in :func:`read_dates`.
    names : collection of {"month", "weekday"} or None, default=None
        Which of these are names ("January", "Monday"), which a model takes as categories, and
        not numbers (1 is January, 0 is Monday). None makes names of the weekdays, and of the
        months where the dates of the column reach over 24 months or more: a month that came
        only once cannot be told from a trend.
    keep : bool, default=False
        Whether the columns of dates stay in the table.

    Returns
    -------
    data frame
        With the columns "day=year", "day=month", "day=week" (of ISO 8601), "day=weekday" and
        "day=days" (since 1970-01-01) for a column "day"; missing where the date is.

    Raises
    ------
    DataError
        If a column cannot be read as dates.
    """
    frame = tables.open_frame(table)
    chosen = date_columns(table) if columns is None else tuple(columns)
    for name in chosen:
        moments = read_date_column(table, name, day_first)
        named = named_parts([moments]) if names is None else names
        parts = {f"{name}={part}": values for part, values in _parts(moments, named).items()}
        extra = tables.open_frame(tables.table_like(table, parts))
        frame = frame.with_columns(*(extra[label] for label in parts))
    return (frame if keep else frame.drop(list(chosen))).to_native()  # type: ignore[no-any-return]


def read_date_column(
    table: IntoDataFrame, name: str, day_first: bool | None
) -> NDArray[np.datetime64]:
    """Read a column of dates."""
    column = LazyMessage("what.column", {"column": repr(name)})
    return read_dates(tables.get_column(table, name), day_first, column, _TABLE)


def named_parts(dates: Iterable[NDArray[np.datetime64]]) -> tuple[str, ...]:
    """Return which parts of dates are names by default, in the order of :data:`PART_NAMES`."""
    months = np.concatenate([part.astype("datetime64[M]") for part in dates])
    months = months[~np.isnat(months)].astype(np.int64)
    seasons = len(months) > 0 and np.ptp(months) + 1 >= _MONTHS_OF_SEASONS
    return tuple(PART_NAMES) if seasons else ("weekday",)


def n_given_columns(names: Sequence[object]) -> int:
    """Return how many columns there were before dates were replaced by their five features."""
    known = set(map(str, names))
    dates = [name.removesuffix(ELAPSED) for name in known if name.endswith(ELAPSED)]
    made = sum(all(f"{date}={part}" in known for part in DATE_PARTS) for date in dates)
    return len(names) - made * (len(DATE_PARTS) - 1)


def _parts(moments: NDArray[np.datetime64], named: Collection[str]) -> dict[str, NDArray[Any]]:
    missing = np.isnat(moments)
    days = np.where(missing, np.datetime64(0, "D"), moments.astype("datetime64[D]"))
    year = days.astype("datetime64[Y]")
    # Days since Monday; the week of ISO 8601 is that of the Thursday.
    weekday = (days.astype(np.int64) + 3) % 7
    thursday = days - weekday + 3
    week = (thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7 + 1
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    elapsed = (moments - np.datetime64(0, "us")) / np.timedelta64(1, "D")
    numbers = (year.astype(np.int64) + 1970, month, week, weekday, elapsed)
    found: dict[str, NDArray[Any]] = {}
    for part, values in zip(DATE_PARTS, numbers, strict=True):
        if part in named:
            found[part] = np.array(PART_NAMES[part], dtype=object)[values]
            found[part][missing] = None
        else:
            found[part] = np.where(missing, np.nan, values)
    return found
