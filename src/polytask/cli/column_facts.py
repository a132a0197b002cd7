"""What the columns of a table hold: those of a whole table, or of its parts together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from polytask.cli.columns import (
    MOST,
    NEARLY_ALL,
    LabelColumn,
    TargetTypeOverride,
    looks_like_identifier,
    may_be_labels,
)
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.cli.targets import ReadTarget, TargetOptions

# Cells that stand for a target of more.
_CELLS = 1_000_000
NUMBERS = ("numbers", "whole numbers")


def kind_of(column: pd.Series[Any]) -> str:
    """Return what cells are, in a word that the catalogues have."""
    types = pd.api.types
    if not column.notna().any():
        return "empty"
    checks = {
        "categories": isinstance(column.dtype, pd.CategoricalDtype),
        "true/false": types.is_bool_dtype(column),
        "dates": types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column),
        "whole numbers": types.is_integer_dtype(column),
        "numbers": types.is_numeric_dtype(column),
        "lists": isinstance(column.dropna().iloc[0], list | dict | np.ndarray),
    }
    return next((kind for kind, holds in checks.items() if holds), "text")


@dataclass
class _Seen:
    """In how many rows a value stands, and in which first."""

    rows: int
    first: int


@dataclass(eq=False)
class ColumnSummary:
    """A column, or the parts of it that were read until now."""

    # `n_values` is None where parts have too many values to tell which are the same, and `values`
    # is None where there are too many; `ends` are the least and the greatest.

    name: str
    n_rows: int
    missing: int
    kinds: frozenset[str]
    n_values: int | None
    values: dict[Any, _Seen] | None
    ends: tuple[Any, Any] | None
    most_frequent: tuple[Any, int] | None
    digest: bytes
    may_be_labels: bool
    looks_like_id: bool
    runs: int
    edges: tuple[Any, Any]
    whole: bool = True

    @classmethod
    def of(cls, column: pd.Series[Any], start: int, *, dated: bool, most: float) -> ColumnSummary:
        """Look at the rows of a part, which begins with row `start`."""
        kind = "dates" if dated else kind_of(column)
        missing, kinds = int(column.isna().sum()), frozenset({kind} - {"empty"})
        cells = (column.iloc[0], column.iloc[-1])
        if kind == "lists":
            return cls(str(column.name), len(column), missing, kinds, n_values=None, values=None,
                       ends=None, most_frequent=None, digest=b"", may_be_labels=False,
                       looks_like_id=False, runs=0, edges=cells)  # fmt: skip
        codes, found = pd.factorize(column)
        n_values, values, ends, top = len(found), None, None, None
        sizes = np.bincount(codes[codes >= 0], minlength=n_values)
        if n_values and not isinstance(found[0], str) and kind in (*NUMBERS, "dates"):
            ends = column.min(), column.max()
        if n_values:
            top = found[int(sizes.argmax())], int(sizes.max())
        if n_values <= most:
            firsts = start + np.unique(codes[codes >= 0], return_index=True)[1]
            if missing:
                firsts = start + np.flatnonzero(codes >= 0)[firsts - start]
            pairs = zip(sizes.tolist(), firsts.tolist(), strict=True)
            values = dict(zip(found.tolist(), map(_Seen, *zip(*pairs, strict=True)), strict=True)
                          ) if n_values else {}  # fmt: skip
        hashes = pd.util.hash_pandas_object(column, index=False).to_numpy()
        digest = hashlib.blake2b(f"{column.dtype}".encode() + hashes.tobytes()).digest()
        return cls(
            str(column.name), len(column), missing, kinds, n_values=n_values, values=values,
            ends=ends, most_frequent=top, digest=digest, may_be_labels=may_be_labels(column),
            looks_like_id=looks_like_identifier(column, n_values),
            runs=int((column != column.shift()).sum()), edges=cells,
        )  # fmt: skip

    def with_next(self, other: ColumnSummary, most: float) -> ColumnSummary:
        """Return this column with the rows of the next part below it."""
        values = None
        if self.values is not None and other.values is not None:
            values = self.values
            for value, seen in other.values.items():
                values.setdefault(value, _Seen(0, seen.first)).rows += seen.rows
            values = values if len(values) <= most else None
        ends = self.ends or other.ends
        if self.ends is not None and other.ends is not None:
            ends = min(self.ends[0], other.ends[0]), max(self.ends[1], other.ends[1])
        top = None
        if values:
            top = max(((v, seen.rows) for v, seen in values.items()), key=lambda pair: pair[1])
        joined = bool(self.may_be_labels and self.edges[1] == other.edges[0])
        return ColumnSummary(
            self.name, self.n_rows + other.n_rows, self.missing + other.missing,
            self.kinds | other.kinds, None if values is None else len(values), values, ends, top,
            hashlib.blake2b(self.digest + other.digest).digest(),
            self.may_be_labels and other.may_be_labels, self.looks_like_id and other.looks_like_id,
            self.runs + other.runs - joined, (self.edges[0], other.edges[1]), whole=False,
        )  # fmt: skip

    @property
    def kind(self) -> str:
        """What the cells are."""
        if self.kinds <= {*NUMBERS}:
            return "numbers" if len(self.kinds) == 2 else next(iter(self.kinds), "empty")
        return next(iter(self.kinds)) if len(self.kinds) == 1 else "text"

    @property
    def is_identifier(self) -> bool:
        """Whether it names its rows, as far as can be told."""
        if self.whole or self.values is None:
            return self.looks_like_id
        present = self.n_rows - self.missing
        if self.kind not in NUMBERS and not self.may_be_labels:
            return False
        few = len(self.values) <= NEARLY_ALL * present
        return not few and looks_like_identifier(self.cells(), len(self.values))

    def cells(self) -> pd.Series[Any]:
        """Return each value, and then values as often again as they occur, but for very many."""
        assert self.values is not None
        rows = np.array([seen.rows for seen in self.values.values()])
        share = min(1.0, _CELLS / max(int(rows.sum()), 1))
        known = pd.Series([*self.values], name=self.name)
        again = known.repeat(np.floor((rows - 1) * share).astype(int).tolist())
        cells = pd.concat([known, again], ignore_index=True)
        return cells.astype("category") if self.kind == "categories" else cells


@dataclass(eq=False)
class TableSummary:
    """The columns of a table, and its first rows: all of them where it was read whole."""

    first: pd.DataFrame
    # Values of a column that are counted one by one.
    most_values: int
    columns: dict[str, ColumnSummary] = field(default_factory=dict)

    @classmethod
    def of_whole(cls, table: pd.DataFrame, task: str | None) -> TableSummary:
        """Look at a table in memory, whose values are counted where they may be labels."""
        return cls.of([table], task, 0, MOST)

    @classmethod
    def of(
        cls, parts: Iterable[pd.DataFrame], task: str | None, first_rows: int, most_values: int
    ) -> TableSummary:
        """Read the parts, each of which has rows, and keep the first; tasks are all counted."""
        from polytask.data.dates import date_columns

        found, start, first = cls(pd.DataFrame(), most_values), 0, list[pd.DataFrame]()
        for part in parts:
            if not start or start < first_rows:
                first.append(part)
            nested = [name for name in part.columns if kind_of(part[name]) == "lists"]
            dates = date_columns(part.drop(columns=nested))
            for name in part.columns:
                most = float("inf") if name == task else most_values
                own = ColumnSummary.of(part[name], start, dated=name in dates, most=most)
                known = found.columns.get(own.name)
                found.columns[own.name] = own if known is None else known.with_next(own, most)
            start += len(part)
        if len(first) == 1 and found.whole:
            found.first = first[0]
        elif first:
            found.first = pd.concat(first, ignore_index=True).head(first_rows)
        return found

    @property
    def whole(self) -> bool:
        """Whether all rows are in memory."""
        return all(column.whole for column in self.columns.values())

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return next(iter(self.columns.values())).n_rows

    @cached_property
    def twins(self) -> dict[str, str]:
        """For each column that repeats an earlier one, that column."""
        seen: dict[bytes, str] = {}
        twins: dict[str, str] = {}
        for name, column in self.columns.items():
            if column.kind not in ("lists", "empty"):
                earlier = seen.setdefault(column.digest, name)
                twins |= {name: earlier} if earlier != name else {}
        return twins

    def label_columns(self, without: Iterable[str]) -> list[LabelColumn]:
        """Return the columns that may hold labels."""
        return [
            LabelColumn(c.name, c.n_rows, c.n_values, c.kind in NUMBERS, c.runs == c.n_values)
            for c in self.columns.values()
            if c.may_be_labels and c.n_values is not None and c.name not in set(without)
        ]

    def target(
        self, name: str, path: str, override: TargetTypeOverride, reading: TargetOptions
    ) -> tuple[ReadTarget, int]:
        """Return what a target is, and how many of its cells are missing."""
        from polytask.cli.targets import target_of

        column, first = self.columns[name], self.first[name]
        if self.whole or column.values is None or first.notna().any():
            # Rows are named where they are at hand.
            found = target_of(first, name, path, override, reading)
            first = found.column
            if self.whole or column.values is None:
                return found, int(first.isna().sum()) if self.whole else column.missing
        seen = [*column.values.values()]

        def place(row: int) -> LazyMessage:
            if row >= len(seen):
                return LazyMessage("place.later")
            return LazyMessage("place.row", {"row": str(seen[row].first)})

        reading = replace(reading, place=place)
        all_of_it = target_of(column.cells(), name, path, override, reading)
        gaps = all_of_it.column.iloc[: len(seen)].isna()
        more = sum(one.rows for one, gap in zip(seen, gaps, strict=True) if gap)
        return replace(all_of_it, column=first), column.missing + more
