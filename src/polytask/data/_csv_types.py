"""What the text in a column of a file means: numbers, true and false, dates, or text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask._checks import one_of
from polytask.data._csv_text import RawTable
from polytask.data._text_hints import MISSING_MARKERS, numeric_hint

if TYPE_CHECKING:
    import pyarrow as pa

# In a column of text only these mean "missing": "NA" is Namibia, "None" and "?" may be answers.
TEXT_MARKERS = ("NaN", "nan", "NULL", "null", "<NA>", "#N/A")
SAMPLE = 10_000

LEADING_ZEROS = r"^[+-]?0[0-9]+$"
DIGITS = r"^[+-]?[0-9]+$"
INTEGER = r"^[+-]?(0|[1-9][0-9]{0,17})$"
# As a float, an integer of more than 15 digits would not come out as it went in.
SHORT_INTEGER = r"^[+-]?(0|[1-9][0-9]{0,14})$"
FLOAT = (
    r"^[+-]?((0|[1-9][0-9]{0,14})([eE][+-]?[0-9]+)?"
    r"|((0|[1-9][0-9]*)[.][0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?|(?i:inf(inity)?))$"
)
BOOLEAN = r"^(?i:true|false)$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?$"

Column = Any  # a column of pyarrow, which has no types


@dataclass(frozen=True)
class Meaning:
    """How the words of a column are read.

    Attributes
    ----------
    pattern : str
        What every word that is not a missing marker looks like.
    convert : callable
        From trimmed words, null where missing, to values.
    """

    pattern: str
    convert: Callable[[Column], Column]

    def accepts(self, words: Column) -> bool:
        """Tell whether all words can be read this way."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pc.all(pc.match_substring_regex(words, self.pattern)).as_py():
            return False
        try:
            self.convert(words)
        except pa.ArrowInvalid:  # such as 31 February
            return False
        return True


def _to(kind: str) -> Callable[[Column], Column]:
    def convert(words: Column) -> Column:
        import pyarrow as pa
        import pyarrow.compute as pc

        types = {"int": pa.int64(), "float": pa.float64(), "date": pa.timestamp("us")}
        return pc.cast(pc.replace_substring_regex(words, r"^[+]", ""), types[kind])

    return convert


def _decimal_comma(words: Column) -> Column:
    import pyarrow.compute as pc

    return _to("float")(pc.replace_substring(words, ",", "."))


def _truth(words: Column) -> Column:
    import pyarrow.compute as pc

    return pc.equal(pc.utf8_lower(words), "true")


@dataclass(frozen=True)
class Reading:
    """The reading of one column, the same for all files that have it."""

    name: str
    meaning: Meaning | None
    markers: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def apply(self, column: Column) -> Column:
        """Return the values of a column, null where missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(trimmed, pa.array(["", *self.markers]))
        if self.meaning is None:
            return pc.if_else(missing, pa.scalar(None, pa.string()), column)
        return self.meaning.convert(pc.if_else(missing, pa.scalar(None, pa.string()), trimmed))


def _meanings(decimal: str, has_missing: bool) -> tuple[Meaning, ...]:
    fractions = FLOAT.replace("[.]", "[,]") if decimal == "," else FLOAT
    return (
        Meaning(BOOLEAN, _truth),
        # Integers with missing cells become floats in a data frame.
        Meaning(SHORT_INTEGER if has_missing else INTEGER, _to("int")),
        Meaning(fractions, _decimal_comma if decimal == "," else _to("float")),
        Meaning(DATE, _to("date")),
    )


def infer(name: str, columns: Sequence[Column], decimal: str) -> Reading:
    """Find what a column means from all its words, in one file or several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [chunk for column in columns for chunk in column.chunks]
    trimmed = pc.utf8_trim_whitespace(pa.chunked_array(chunks, pa.string()))
    counts = pc.value_counts(trimmed)
    distinct = counts.field("values")
    marked = pc.is_in(distinct, pa.array(["", *MISSING_MARKERS]))
    words = distinct.filter(pc.invert(marked))
    met = {row["values"]: row["counts"] for row in counts.filter(marked).to_pylist()}
    if not any(met) and not len(words):
        return Reading(name, Meaning("", _to("float")), ())
    for meaning in _meanings(decimal, bool(met)) if len(words) else ():
        if meaning.accepts(words):
            notes = (*_dated(name, meaning), *_lost(name, met))
            return Reading(name, meaning, MISSING_MARKERS, notes)
    return Reading(name, None, TEXT_MARKERS, (*_kept(name, met), *_text_notes(name, words)))


def _dated(name: str, meaning: Meaning) -> tuple[str, ...]:
    return (f"Column {name!r} holds dates.",) if meaning.pattern == DATE else ()


def _lost(name: str, met: dict[str, int]) -> tuple[str, ...]:
    shown = ", ".join(f"{word!r} ({count}x)" for word, count in sorted(met.items()) if word)
    return (f"Column {name!r}: {shown} read as missing.",) if shown else ()


def _kept(name: str, met: dict[str, int]) -> tuple[str, ...]:
    kept = {word: count for word, count in met.items() if word and word not in TEXT_MARKERS}
    lost = {word: count for word, count in met.items() if word in TEXT_MARKERS}
    shown = ", ".join(f"{word!r} ({count}x)" for word, count in sorted(kept.items()))
    notes = (f"Column {name!r} is text: {shown} kept as text.",) if shown else ()
    return (*notes, *_lost(name, lost))


def _text_notes(name: str, words: Column) -> tuple[str, ...]:
    import pyarrow.compute as pc

    if len(words) and pc.all(pc.match_substring_regex(words, DIGITS)).as_py():
        zeros = words.filter(pc.match_substring_regex(words, LEADING_ZEROS))
        if len(zeros):
            return (f"Column {name!r} is kept as text: leading zeros as in {zeros[0].as_py()!r}.",)
        longest = max(words.to_pylist(), key=len)
        return (f"Column {name!r} is kept as text: {longest!r} has too many digits.",)
    hint = numeric_hint(name, words.slice(0, SAMPLE).to_pylist())
    return () if hint is None else (hint,)


def type_columns(raws: Sequence[RawTable], decimal: str) -> tuple[list[pa.Table], tuple[str, ...]]:
    """Read the columns of text tables; a column of several tables means the same in all.

    Returns
    -------
    list of pyarrow.Table
        One per text table.
    tuple of str
        What deserves to be said about the columns.
    """
    import pyarrow as pa

    one_of(decimal, "decimal", "read_table", (".", ","))
    names = list(dict.fromkeys(name for raw in raws for name in raw.columns))
    readings = {
        name: infer(name, [raw.columns[name] for raw in raws if name in raw.columns], decimal)
        for name in names
    }
    tables = [
        pa.table({name: readings[name].apply(column) for name, column in raw.columns.items()})
        for raw in raws
    ]
    return tables, tuple(note for name in names for note in readings[name].notes)
