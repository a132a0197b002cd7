"""Whether a target is a number or a class, and why: one rule for Python and the command line."""

from __future__ import annotations

import contextlib
import decimal as decimals
import numbers
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polytask._checks import got_shape, one_of, sentence
from polytask.data.dates import looks_like_dates
from polytask.data.missing import missing_mask, row_of_table
from polytask.data.text_hints import MISSING_MARKERS
from polytask.data.written_numbers import SETTLING, UNITS, WrittenColumn, parse_number, read_words
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text, with_and

# More classes than these need this many rows each, on average, unless classes are asked for.
MANY_CLASSES = 20
ROWS_PER_CLASS = 10
SHOWN = 3

# Distinct values of amounts and larger counts at least, and their skewness: gamma variables of
# shape 2 have 1.4.
_LEAST_AMOUNTS, _SKEWED = 20, 1.25
# Of larger counts that are alike the noise is near enough to one of equal size.
_MEAN_OF_COUNTS = 10.0
_CODE = re.compile(r"[+-]?0[0-9]+")
Wanted = Literal["auto", "numbers", "classes"]


@dataclass(frozen=True)
class TargetWords:
    """How messages name a target, and what they advise."""

    name: Text
    asked: Text
    classes: str
    numbers: Text
    missing: Callable[[Sequence[str]], Text]
    mark: Callable[[str], str]
    place: Callable[[int], LazyMessage] = row_of_table

    def cell(self, value: Any, row: int) -> LazyMessage:  # noqa: ANN401 - any label
        """Name a cell and where it stands."""
        return LazyMessage("target.cell", {"value": repr(_plain(value)), "place": self.place(row)})


@dataclass(frozen=True, eq=False)
class TargetReading:
    """What a target is. Shapes: values (n,)."""

    is_class: bool
    reason: LazyMessage
    n_values: int
    values: NDArray[Any]
    written: LazyMessage | None = None
    missing: dict[str, int] | None = None


def read_target(
    values: NDArray[Any],
    words: TargetWords,
    wanted: Wanted = "auto",
    decimal: str | None = None,
    *,
    declared: bool = False,
) -> TargetReading:
    """Tell whether a target is a number or a class, and read numbers that are written as text."""
    # Shapes: values (n,).
    # Text, true/false, categories and whole numbers with exactly two distinct values are
    # classes; all other numbers are numbers, also those written with signs of money, percent
    # signs, marks between thousands, or brackets around negative ones.
    seen = values[~missing_mask(values)]
    if seen.dtype.kind in "iuf":
        return _of_numbers(values, np.unique(seen), wanted)
    cells = seen.tolist()
    kinds = {type(cell) for cell in cells}
    if kinds and all(issubclass(kind, bool | np.bool_) for kind in kinds):
        reason = LazyMessage("cli.reason.truth")
        return TargetReading(wanted != "numbers", reason, len(set(cells)), values)
    declared = declared and wanted != "numbers"
    real = all(issubclass(kind, numbers.Real | decimals.Decimal) for kind in kinds)
    if real and not declared and bool not in kinds:
        return _of_numbers(values, np.unique(np.asarray(cells, dtype=float)), wanted)
    distinct = _counted(cells, words)
    if wanted != "classes" and not declared:
        found = _written(values, distinct, words, wanted, decimal)
        if found is not None:
            return found
    if wanted == "auto":
        if not declared:
            _refuse_dates(values, distinct, words)
        _refuse_many(distinct, words, declared)
    kind = "categories" if declared else "text"
    reason = LazyMessage(f"cli.reason.{kind}", {"values": shown(distinct)})
    return TargetReading(True, reason, len(distinct), values)


def _counted(cells: list[Any], words: TargetWords) -> Counter[Hashable]:
    try:
        return Counter(cells)
    except TypeError as error:
        raise DataError(
            LazyMessage("target.refusal.unhashable", {"what": words.name, "error": str(error)})
        ) from None


def _of_numbers(values: NDArray[Any], distinct: NDArray[Any], wanted: Wanted) -> TargetReading:
    # Labels of classes have no fractions.
    whole = bool(np.all(np.isfinite(distinct) & (distinct == np.rint(distinct))))
    two = len(distinct) == 2 and whole
    few = "cli.reason.one" if len(distinct) == 1 else "cli.reason.two" if two else None
    kind = "numbers"
    if _are_amounts(values, distinct):
        kind = "whole_amounts" if whole else "amounts"
    elif whole and len(distinct) > 2 and distinct[0] == 0:
        counts = np.asarray(values, dtype=np.float64)
        counts = counts[~np.isnan(counts)]
        uneven = len(distinct) >= _LEAST_AMOUNTS and _skewness(counts) > _SKEWED
        kind = "counts" if uneven or counts.mean() < _MEAN_OF_COUNTS else kind
    reason = LazyMessage(f"cli.reason.{kind}")
    if few is not None:
        reason = LazyMessage(few, {"values": shown(distinct.tolist())})
    is_class = wanted == "classes" or (wanted == "auto" and two)
    return TargetReading(is_class, reason, len(distinct), values)


def _are_amounts(values: NDArray[Any], distinct: NDArray[Any]) -> bool:
    """Say whether numbers are positive and skewed, and their logarithms clearly less."""
    if len(distinct) < _LEAST_AMOUNTS or not 0 < distinct[0] <= distinct[-1] < np.inf:
        return False
    amounts = np.asarray(values, dtype=np.float64)
    amounts = amounts[~np.isnan(amounts)]
    skewed = _skewness(amounts)
    return skewed > _SKEWED and abs(_skewness(np.log(amounts))) < min(1.5, 0.9 * skewed)


def _skewness(values: NDArray[np.float64]) -> float:
    # The scale changes no skewness, and cubes of large numbers would overflow.
    away = values / (float(np.abs(values).max(initial=0.0)) or 1.0)
    away = away - away.mean()
    size = float(np.sqrt((away**2).mean()))
    return float((away**3).mean()) / size**3 if size > 0 else 0.0


def _written(
    values: NDArray[Any],
    distinct: Counter[Any],
    words: TargetWords,
    wanted: Wanted,
    decimal: str | None,
) -> TargetReading | None:
    """Read text as numbers; None if it is to be taken as classes."""
    text = Counter({word: n for word, n in distinct.items() if isinstance(word, str)})
    markers = {w: n for w, n in text.items() if w.strip() in (*MISSING_MARKERS, "")}
    column = read_words({w: n for w, n in text.items() if w not in markers}, decimal)
    with_unit = {word for word, number in column.numbers.items() if number.sign in UNITS}
    if 0 < len(with_unit) < len(column.numbers):
        # "12 kg" among plain numbers is a slip.
        kept = {word: n for word, n in column.numbers.items() if word not in with_unit}
        column = replace(column, numbers=kept)
    plain = {v for v in distinct if not isinstance(v, bool) and isinstance(v, numbers.Real)}
    odd = [v for v in distinct if v not in column.numbers and v not in markers and v not in plain]
    n_odd = sum(distinct[value] for value in odd)
    if n_odd > SETTLING * text.total():
        _refuse_two_marks(values, column, odd, words)
    mostly = 2 * n_odd < distinct.total() - sum(markers.values())
    if not mostly and wanted == "auto":
        return None
    labels = [word for word in text if word not in markers]
    if wanted == "auto" and any(_CODE.fullmatch(word.strip()) for word in labels):
        return None
    if odd or (plain and wanted == "auto"):
        # Text beside values of a numeric type does not belong there, whatever it says.
        odd = odd or list(text)
        raise DataError(_but_for(values, odd, words, mostly=mostly, asked=wanted != "auto"))
    if wanted == "auto" and not markers:
        # Two words, or few whole numbers, are classes.
        values_of = {number.value for number in column.numbers.values()}
        whole = all(word.strip().isdecimal() for word in labels)
        few = whole and len(labels) > 1 and not _too_many(len(labels), text.total())
        if len(values_of) == 2 if len(labels) == 2 else few:
            return None
    _refuse_unclear(values, column, words)
    read = np.full(len(values), np.nan)
    for row in np.flatnonzero(~missing_mask(values)):
        word = values[row]
        number = column.numbers.get(word)
        read[row] = number.value if number else np.nan if word in markers else float(word)
    found = _of_numbers(read, np.unique(read[~np.isnan(read)]), wanted)
    missing = {word: n for word, n in markers.items() if word.strip()}
    how = column.how()
    written = LazyMessage("cli.reason.written", {"how": how.node})
    reason = found.reason if found.is_class else written
    return TargetReading(found.is_class, reason, found.n_values, read, how, missing)


def _but_for(
    values: NDArray[Any],
    odd: Sequence[Hashable],
    words: TargetWords,
    *,
    mostly: bool,
    asked: bool,
) -> LazyMessage:
    """Name the cells that are no numbers, and say what can be done about them."""
    among = set(odd)
    rows = [k for k in np.flatnonzero(~missing_mask(values)) if values[k] in among]
    cells = [words.cell(values[k], int(k)) for k in rows[:SHOWN]]
    more: Text = ""
    if len(rows) > SHOWN:
        more = LazyMessage("target.refusal.more_cells", {"n": len(rows) - SHOWN})
    fields = {"what": words.name, "cells": with_and(cells), "more": more}
    if not mostly:
        purpose = (
            LazyMessage("target.refusal.purpose", {"asked": words.asked}) if words.asked else ""
        )
        return LazyMessage("target.refusal.not_numbers", fields | {"purpose": purpose})
    advice = words.missing(list(dict.fromkeys(str(values[k]) for k in rows)))
    told = LazyMessage("target.refusal.but_for", fields | {"n": len(rows), "advice": advice})
    classes = LazyMessage("target.refusal.if_classes", {"classes": words.classes})
    return told + ("" if asked else classes)


def _refuse_two_marks(
    values: NDArray[Any], column: WrittenColumn, odd: Sequence[Any], words: TargetWords
) -> None:
    """Refuse words that are all numbers, some with decimal commas and some with full stops."""
    mark = "." if column.decimal == "," else ","
    other = bool(odd) and all(isinstance(w, str) and parse_number(w, mark) for w in odd)
    own = next((word for word in column.numbers if column.decimal in word), None)
    if other and own is not None:
        cells = [words.cell(w, int(np.flatnonzero(values == w)[0])) for w in (own, odd[0])]
        fields = {"what": words.name, "cells": with_and(cells)}
        raise DataError(LazyMessage("target.refusal.two_marks", fields))


def _refuse_dates(values: NDArray[Any], distinct: Counter[Hashable], words: TargetWords) -> None:
    labels = [word for word in distinct if isinstance(word, str)]
    if len(labels) < len(distinct) or not looks_like_dates(labels):
        return
    row = int(np.flatnonzero(values == labels[0])[0])
    cell = {"value": repr(labels[0]), "place": words.place(row), "classes": words.classes}
    raise DataError(LazyMessage("target.refusal.dates", {"what": words.name} | cell))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any label
    return value.item() if isinstance(value, np.generic) else value


def _refuse_unclear(values: NDArray[Any], column: WrittenColumn, words: TargetWords) -> None:
    """Refuse two currencies, percent beside plain numbers, and an unclear decimal mark."""
    signs = column.signs()
    money = [sign for sign in signs if sign not in ("", "%")]
    mixed = [*money, "%"] if "%" in signs else money
    pair = [signs[sign] for sign in mixed][:2]
    if "%" in signs and "" in signs and len(pair) < 2:
        pair = [signs["%"], signs[""]]
    if len(pair) > 1:
        rows = sorted(int(np.flatnonzero(values == word)[0]) for word in pair)
        cells = [words.cell(values[row], row) for row in rows]
        raise DataError(
            LazyMessage(
                "target.refusal.units", {"what": words.name, "cells": cells[0], "cells2": cells[1]}
            )
        )
    if column.unsettled:
        both = {mark: parse_number(column.unsettled, mark) for mark in (".", ",")}
        ways = [
            f"{words.mark(mark)} ({number.value:.15g})"
            for mark, number in both.items()
            if number is not None
        ]
        raise DataError(
            LazyMessage(
                "target.refusal.two_ways",
                {
                    "what": words.name,
                    "unsettled": repr(column.unsettled),
                    "place": words.place(int(np.flatnonzero(values == column.unsettled)[0])),
                    "ways": with_and(ways, "or"),
                },
            )
        )


def _too_many(n_classes: int, n_rows: int) -> bool:
    return n_classes > MANY_CLASSES and n_rows < ROWS_PER_CLASS * n_classes


def _refuse_many(distinct: Counter[Hashable], words: TargetWords, declared: bool) -> None:
    n_rows = distinct.total()
    if not _too_many(len(distinct), n_rows):
        return
    kind = "categories" if declared else "text"
    fields = {
        "what": words.name,
        "n": len(distinct),
        "rows": n_rows,
        "shown": shown(distinct),
        "most": MANY_CLASSES,
        "least": ROWS_PER_CLASS,
        "classes": words.classes,
        "numbers": words.numbers,
    }
    raise DataError(LazyMessage(f"target.refusal.many_{kind}", fields))


def shown(distinct: Any) -> str:  # noqa: ANN401 - any collection of labels
    """Return the first few of the values, in order."""
    labels = list(distinct)
    with contextlib.suppress(TypeError):
        labels = sorted(labels[:1000])
    return ", ".join(map(str, labels[:4])) + (", ..." if len(labels) > 4 else "")


def python_words(
    name: Text, place: Callable[[int], LazyMessage] = row_of_table, *, gaps: bool = True
) -> TargetWords:
    """Return what messages in Python advise about a target of this name; `gaps` may be in it."""
    return TargetWords(
        name=name,
        asked="",
        classes="loss='multinomial'",
        numbers=LazyMessage("target.as_numbers"),
        missing=lambda _: (
            LazyMessage("target.put_none") if gaps else LazyMessage("target.leave_out")
        ),
        mark=lambda mark: f"read_numbers(..., decimal={mark!r})",
        place=place,
    )


def read_numbers(values: object, decimal: str | None = None) -> NDArray[np.float64]:
    """Read text such as "$1,234.50" as numbers.

    Signs of money and percent are left out (35% is 35), and so are marks between thousands
    (commas, full stops, apostrophes, spaces); brackets mean a negative number. What can be read
    in two ways is refused. Blank cells and words such as "NA" are NaN.

    Parameters
    ----------
    values : array-like of shape (n,)
        Text or numbers.
    decimal : {".", ","} or None, default=None
        The decimal mark. None finds it from numbers that can be read in one way only.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    DataError
        If a cell is no number, the numbers have different units, or the decimal mark is unclear.

    Examples
    --------
    >>> from polytask.data import read_numbers
    >>> read_numbers(["$1,234.50", "($69.00)", None])
    array([1234.5,  -69. ,     nan])
    """
    from polytask.data.outcomes import outcome_values

    if decimal is not None:
        one_of(decimal, "decimal", "read_numbers", (".", ","))
    cells = outcome_values(values, "values", "read_numbers")
    if cells.ndim != 1:
        got = got_shape(cells.shape)
        raise DataError(sentence("values", "read_numbers", LazyMessage("allowed.one_column"), got))
    found = read_target(cells, python_words(LazyMessage("target.input")), "numbers", decimal)
    return found.values.astype(np.float64)
