"""What the text in a column of a file means: numbers, true and false, dates, or text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polytask._checks import one_of
from polytask.data._csv_text import RawTable
from polytask.data.text_hints import (
    MISSING_MARKERS,
    counted_words,
    missing_option,
    numeric_hint,
)
from polytask.data.written_numbers import WrittenColumn, read_words
from polytask.messages import LazyMessage

# In a column of text only these mean "missing": "NA" is Namibia, "None" and "?" may be answers.
TEXT_MARKERS = ("NaN", "nan", "NULL", "null", "<NA>", "#N/A")
SAMPLE = 10_000
# Of the sample: above this share of distinct words, listing them costs more than it saves.
MANY_DISTINCT = 0.95
# Columns read at the same time, each with copies of its words.
WORKERS = 4

LEADING_ZEROS = r"^[+-]?0[0-9]+$"
DIGITS = r"^[+-]?[0-9]+$"
INTEGER = r"^[+-]?(0|[1-9][0-9]{0,17})$"
# As a float, an integer of more than 15 digits would not come out as it went in.
SHORT_INTEGER = r"^[+-]?(0|[1-9][0-9]{0,14})$"
FLOAT = (
    r"^[+-]?((0|[1-9][0-9]{0,14})([eE][+-]?[0-9]+)?"
    r"|((0|[1-9][0-9]*)[.][0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?|(?i:inf(inity)?))$"
)
# A decimal comma: up to three digits before it and three behind may be thousands.
DECIMALS = r"^[+-]?(0?|[0-9]{4,}),|,([0-9]{1,2}|[0-9]{4,})$"
# Numbers with full stops that may stand between thousands.
THOUSANDS = r"^[+-]?([1-9][0-9]{0,2}([.][0-9]{3})?|0)$"
BOOLEAN = r"^(?i:true|false)$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?$"

Column = Any  # a column of pyarrow, which has no types
Notes = tuple[LazyMessage, ...]


@dataclass(frozen=True)
class Meaning:
    """How the words of a column are read."""

    pattern: str
    kind: Any  # a type of pyarrow

    def read(self, words: Column, decimal: str) -> Column | None:
        """Return the values, null where words are null; None if some cannot be read this way."""
        if not (self._fits(words.slice(0, SAMPLE)) and self._fits(words)):
            return None
        return self.values(words, decimal)

    def values(self, words: Column, decimal: str) -> Column | None:
        """Return the values of words that look like this; None if some do not exist."""
        if pa.types.is_boolean(self.kind):
            return pc.equal(pc.utf8_lower(words), "true")
        if pc.any(pc.starts_with(words, "+")).as_py():
            words = pc.replace_substring_regex(words, r"^[+]", "")
        if decimal == ",":
            words = pc.replace_substring(words, ",", ".")
        try:
            return pc.cast(words, self.kind)
        except pa.ArrowInvalid:  # such as 31 February
            return None

    def _fits(self, words: Column) -> bool:
        fits: bool = pc.all(pc.match_substring_regex(words, self.pattern), min_count=0).as_py()
        return fits


def _meanings(mark: str) -> tuple[Meaning, ...]:
    """Return what words can mean, the first that fits all of them first."""
    return (
        Meaning(BOOLEAN, pa.bool_()),
        Meaning(INTEGER, pa.int64()),
        Meaning(SHORT_INTEGER, pa.int64()),
        Meaning(FLOAT.replace("[.]", "[,]") if mark == "," else FLOAT, pa.float64()),
        Meaning(DATE, pa.timestamp("us")),
    )


@dataclass(frozen=True)
class DecimalMark:
    """The decimal mark of a file: whether the user gave it, and whether its numbers show it."""

    mark: str
    given: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Words:
    """The words of a column in all files that have it."""

    cells: Column
    trimmed: Column
    codes: Column | None

    def among(self, markers: Iterable[str]) -> Column:
        """Tell for each of `trimmed` whether it is blank or one of the markers."""
        return pc.is_in(self.trimmed, pa.array(["", *markers]))

    def spread(self, values: Column) -> Column:
        """Return a value for each cell from one for each of `trimmed`."""
        return values if self.codes is None else values.take(self.codes)

    def text(self, gaps: Iterable[str]) -> Column:
        """Return the cells as text, missing where they are blank or one of the words."""
        return _where(pc.invert(self.spread(self.among(gaps))), self.cells)

    def count(self, marked: Column) -> dict[str, int]:
        """Return how many cells hold each marked word."""
        if not pc.any(marked).as_py():
            return {}
        found = pc.value_counts(self.spread(_where(marked, self.trimmed)).drop_null())
        return {row["values"]: row["counts"] for row in found.to_pylist()}


def words_of(columns: Sequence[Column]) -> Words:
    """Collect the words of a column; where they repeat, each is looked at once."""
    cells = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    head = cells.slice(0, SAMPLE)
    if len(pc.unique(head)) > MANY_DISTINCT * len(head):
        return Words(cells, pc.utf8_trim_whitespace(cells), None)
    encoded = cells.dictionary_encode()  # all chunks have the dictionary of the whole
    codes = pa.chunked_array([chunk.indices for chunk in encoded.chunks])
    return Words(cells, pc.utf8_trim_whitespace(encoded.chunk(0).dictionary), codes)


def _where(kept: Column, words: Column) -> Column:
    """Return the words that are kept, null for the others."""
    return pc.if_else(kept, words, pa.scalar(None, pa.string()))


def read_column(
    name: str, columns: Sequence[Column], decimal: DecimalMark, missing: tuple[str, ...] = ()
) -> tuple[list[Column], Notes]:
    """Read a column of one file or several; all its words but `missing` decide what it means."""
    words = words_of(columns)
    marked = words.among((*MISSING_MARKERS, *missing))
    met = words.count(marked)
    known = _where(pc.invert(marked), words.trimmed) if met else words.trimmed
    blank = known.null_count == len(known)
    split = partial(_split, columns=columns)
    if blank and not any(met):
        return split(words.spread(pc.cast(known, pa.float64()))), ()
    # Integers with missing cells become floats in a data frame.
    unused = INTEGER if met else SHORT_INTEGER
    for meaning in () if blank else _meanings(decimal.mark):
        values = None if meaning.pattern == unused else meaning.read(known, decimal.mark)
        if values is not None:
            dates = (LazyMessage("read.dates", {"column": name}),)
            dated = dates if meaning.pattern == DATE else ()
            unclear = _unclear(name, known) if meaning.pattern == FLOAT else ()
            return split(words.spread(values)), (*dated, *unclear, *_lost(name, met))
    written = None if blank else _written(name, known, decimal)
    if written is not None:
        return split(words.spread(written[0])), (written[1], *_lost(name, met))
    gaps = (*TEXT_MARKERS, *missing)
    cells = words.text(gaps) if met else words.cells
    notes = _text_notes(name, pc.unique(known).drop_null(), decimal)
    lost = _lost(name, {word: n for word, n in met.items() if word in gaps})
    if notes:
        return split(cells), (*lost, *notes)
    return split(cells), (*_kept(name, {w: n for w, n in met.items() if w not in gaps}), *lost)


@dataclass
class ColumnSurvey:
    """What a column means of which only a part is known at a time."""

    name: str
    decimal: DecimalMark
    missing: tuple[str, ...]
    meanings: tuple[Meaning, ...] = ()
    gaps: bool = False
    markers: bool = False
    known: bool = False
    written: str = ""

    def __post_init__(self) -> None:
        """Begin with all that words can mean."""
        self.meanings = _meanings(self.decimal.mark)

    def add(self, column: Column) -> None:
        """Look at one more part."""
        words = words_of([column])
        marked = words.among((*MISSING_MARKERS, *self.missing))
        met = words.count(marked)
        self.gaps, self.markers = self.gaps or bool(met), self.markers or any(met)
        known = _where(pc.invert(marked), words.trimmed) if met else words.trimmed
        if known.null_count == len(known):
            return
        self.known, mark = True, self.decimal.mark
        self.meanings = tuple(m for m in self.meanings if m.read(known, mark) is not None)
        if self.meanings or self.written:
            return
        plain = (m.read(known, mark) is not None for m in _meanings(mark))
        if not any(plain) and _written(self.name, known, self.decimal) is not None:
            odd = pc.invert(pc.match_substring_regex(known, FLOAT))
            self.written = known.filter(odd).drop_null()[0].as_py()

    @property
    def meaning(self) -> Meaning | None:
        """What the words of all parts mean; None where they are text."""
        if not self.known:
            return None if self.markers else Meaning("", pa.float64())
        unused = INTEGER if self.gaps else SHORT_INTEGER
        return next((m for m in self.meanings if m.pattern != unused), None)

    def read(self, column: Column) -> Column | None:
        """Return the values of a part; None if it is not as it was when it was looked at."""
        words, meaning = words_of([column]), self.meaning
        if meaning is None:
            return words.text((*TEXT_MARKERS, *self.missing)) if self.gaps else words.cells
        marked = words.among((*MISSING_MARKERS, *self.missing))
        known = _where(pc.invert(marked), words.trimmed)
        values = meaning.values(known, self.decimal.mark)
        if self.gaps and values is not None and pa.types.is_integer(values.type):
            # As integers with missing cells become floats in a data frame.
            values = pc.cast(values, pa.float64())
        return None if values is None else words.spread(values)


def _split(column: Column, columns: Sequence[Column]) -> list[Column]:
    """Cut a column into parts as long as the columns."""
    starts = accumulate((len(part) for part in columns), initial=0)
    return [column.slice(start, len(part)) for start, part in zip(starts, columns, strict=False)]


def _unclear(name: str, words: Column) -> Notes:
    """Say where full stops may stand between thousands: all before three digits, or absent."""
    for part in (words.slice(0, SAMPLE), words):
        if not pc.all(pc.match_substring_regex(part, THOUSANDS), min_count=0).as_py():
            return ()
    seen = words.drop_null()
    dotted = pc.match_substring(seen, ".")
    if not pc.any(pc.invert(dotted)).as_py():
        return ()
    example, whole = (seen.filter(mask)[0].as_py() for mask in (dotted, pc.invert(dotted)))
    fields = {"column": name, "example": repr(example), "whole": repr(whole)}
    return (LazyMessage("read.three_decimals", fields),)


def _lost(name: str, met: dict[str, int]) -> Notes:
    cells = counted_words(met)
    return (LazyMessage("read.missing", {"column": name, "cells": cells}),) if cells else ()


def _kept(name: str, met: dict[str, int]) -> Notes:
    cells, words = counted_words(met), sorted(filter(None, met))
    fields = {
        "column": name,
        "cells": cells,
        "option": missing_option(words),
        "words": repr(words),
    }
    return (LazyMessage("read.kept", fields),) if cells else ()


def _text_notes(name: str, words: Column, decimal: DecimalMark) -> Notes:
    if len(words) and pc.all(pc.match_substring_regex(words, DIGITS)).as_py():
        zeros = words.filter(pc.match_substring_regex(words, LEADING_ZEROS))
        if len(zeros):
            word = repr(zeros[0].as_py())
            return (LazyMessage("read.leading_zeros", {"column": name, "word": word}),)
        word = repr(max(words.to_pylist(), key=len))
        return (LazyMessage("read.many_digits", {"column": name, "word": word}),)
    known = decimal.mark if decimal.given or decimal.shown else None
    hint = numeric_hint(name, words.slice(0, SAMPLE).to_pylist(), known)
    return () if hint is None else (hint,)


# The rows of a table as columns of text, a part at a time.
Blocks = Iterable[Mapping[str, Column]]


@dataclass
class _WordMarks:
    """Whether all words of a column are numbers, with which marks, and one with a comma."""

    full_stops: bool = True
    commas: bool = True
    thousands: bool = True
    known: bool = False
    example: str = ""

    def add(self, column: Column) -> None:
        """Look at one more part."""
        words = pc.utf8_trim_whitespace(column)
        words = words.filter(pc.invert(pc.is_in(words, pa.array(["", *MISSING_MARKERS]))))
        if not len(words):
            return
        self.known = True
        self.full_stops = self.full_stops and _all(words, FLOAT)
        self.commas = self.commas and _all(words, FLOAT.replace("[.]", "[,]"))
        self.thousands = self.thousands and _all(words, THOUSANDS)
        if self.commas and not self.example:
            found = words.filter(pc.match_substring_regex(words, DECIMALS))
            self.example = found[0].as_py() if len(found) else ""


def _all(words: Column, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(words, pattern)).as_py())


def _word_marks(blocks: Blocks) -> Iterable[_WordMarks]:
    """Return what the first rows tell of every column with words."""
    found: dict[str, _WordMarks] = {}
    left = SAMPLE
    for columns in blocks:
        for name, column in columns.items():
            found.setdefault(name, _WordMarks()).add(column.slice(0, left))
        left -= max(map(len, columns.values()), default=0)
        if left <= 0:
            break
    return [marks for marks in found.values() if marks.known]


def decimal_of(tables: Iterable[tuple[str | None, Blocks]]) -> tuple[DecimalMark, Notes]:
    """Find the decimal mark: a comma if semicolons separate columns and numbers have commas."""
    example, shown = "", False
    for separator, blocks in tables:
        for marks in _word_marks(blocks):
            if marks.full_stops and not marks.commas:
                if marks.thousands:
                    continue
                if separator == ";":
                    return DecimalMark(".", shown=True), ()  # numbers with full stops
                shown = True
            elif marks.commas and not marks.full_stops and separator == ";":
                example = example or marks.example
    if not example:
        return DecimalMark(".", shown=shown), ()
    mark = DecimalMark(",", shown=True)
    return mark, (LazyMessage("read.decimal_commas", {"example": repr(example)}),)


def _written(name: str, known: Column, decimal: DecimalMark) -> tuple[Column, LazyMessage] | None:
    """Read words that are numbers with one unit, or with marks between thousands, else None."""
    words = pc.unique(known).drop_null().to_pylist()
    marks = [decimal.mark] * (decimal.given or decimal.shown) + [None] * (not decimal.given)
    found = next(filter(None, (_all_numbers(words, mark) for mark in marks)), None)
    if found is None:
        return None
    numbers = found.numbers.values()
    units = {number.sign for number in numbers if number.sign}
    plain = [number for number in numbers if not number.sign and number.value]
    grouped = any(number.group or number.brackets for number in numbers)
    if not (len(units) == 1 and not plain) and (units or not grouped):
        return None
    read = {word: number.value for word, number in found.numbers.items()}
    values = pa.array([read.get(word) for word in known.to_pylist()], pa.float64())
    return values, LazyMessage("read.written", {"column": name, "how": found.how().node})


def _all_numbers(words: Sequence[str], mark: str | None) -> WrittenColumn | None:
    found = None
    for part in (words[:100], words):
        found = read_words(Counter(part), mark)
        if not part or found.unsettled or len(found.numbers) < len(part):
            return None
    return found


def type_columns(
    raws: Sequence[RawTable], decimal: str | None, missing: tuple[str, ...] = ()
) -> tuple[list[pa.Table], Notes]:
    """Read the columns of text tables; a column of several tables means the same in all."""
    if decimal is not None:
        one_of(decimal, "decimal", "read_table", (".", ","))
    mark, said = DecimalMark(decimal or ".", given=decimal is not None), Notes()
    if decimal is None:
        mark, said = decimal_of((raw.separator, [raw.columns]) for raw in raws)
    holders: dict[str, list[int]] = {}
    for k, raw in enumerate(raws):
        for name in raw.columns:
            holders.setdefault(name, []).append(k)

    def read(name: str) -> tuple[list[Column], Notes]:
        return read_column(name, [raws[k].columns[name] for k in holders[name]], mark, missing)

    # pyarrow works without the interpreter's lock; map keeps the order of the notes.
    with ThreadPoolExecutor(max(1, min(WORKERS, pa.cpu_count(), len(holders)))) as pool:
        found = dict(zip(holders, pool.map(read, holders), strict=True))
    parts = {
        (k, name): part
        for name, (columns, _) in found.items()
        for k, part in zip(holders[name], columns, strict=True)
    }
    tables = [
        pa.table({name: parts[k, name] for name in raw.columns}) for k, raw in enumerate(raws)
    ]
    return tables, (*said, *(note for _, notes in found.values() for note in notes))
