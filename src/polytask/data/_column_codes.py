"""How one column becomes features: learned once, applied to any table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from polytask.data._cells import (
    Kind,
    Levels,
    Mask,
    Reals,
    Series,
    as_levels,
    as_numbers,
    kind_of,
    missing_cells,
)
from polytask.data._encoding_report import FarCells, UnknownLevels
from polytask.data.cell_errors import CellError
from polytask.data.text_hints import MISSING_MARKERS
from polytask.exceptions import DataError

N_EXAMPLES = 5

# How many times the range of the training column a cell may lie outside of it, unremarked.
_FAR = 5


@dataclass(frozen=True)
class Met:
    """What a column held when it was encoded: missing cells, new levels, far numbers if any."""

    missing: Mask
    expected: bool
    levels: Levels | None = None
    new: Mask | None = None
    outside: FarCells | None = None

    def unknown(self, counted: Mask | None) -> UnknownLevels | None:
        """Return the new levels among the counted rows, None if there are none."""
        if self.levels is None or self.new is None or not self.new.any():
            return None
        known = np.append(self.new, False)
        rows = known[self.levels.codes]
        rows = rows if counted is None else rows & counted
        if not rows.any():
            return None
        labels = np.array(self.levels.labels, dtype=object)
        found = labels[self.levels.codes[rows]]
        examples = tuple(sorted(set(found.tolist()))[:N_EXAMPLES])
        return UnknownLevels(int(rows.sum()), examples, rows, found)

    def far(self, counted: Mask | None) -> FarCells | None:
        """Return the far numbers among the counted rows, None if there are none."""
        if self.outside is None or counted is None:
            return self.outside
        return self.outside.among(counted)


class ColumnCode(Protocol):
    """Turns one column into features."""

    tag: ClassVar[str]

    @property
    def name(self) -> str:
        """The column."""
        ...

    @property
    def is_real(self) -> bool:
        """Whether the feature is a measured number, which decides the float type."""
        ...

    def features(self) -> tuple[str, ...]:
        """Return the labels of the features."""
        ...

    def encode(self, series: Series, out: npt.NDArray[Any]) -> Met:
        """Write the features into `out`, zeros of shape (n, number of features)."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Return JSON values."""
        ...


def weighted_median(values: Reals, weight: npt.NDArray[np.float64] | None) -> float:
    """Return the median; with weights, where half of the weight lies on either side."""
    if weight is None:
        middle = (len(values) - 1) // 2, len(values) // 2
        low, high = np.partition(values, middle)[list(middle)]
        return _between(float(low), float(high))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    # The order of the rows moves the sums in their last digits; it must not move the median.
    slack = 1e-12 * reached[-1]
    low = values[order[np.searchsorted(reached, reached[-1] / 2 - slack)]]
    high = values[order[np.searchsorted(reached, reached[-1] / 2 + slack, side="right")]]
    return _between(float(low), float(high))


def _between(low: float, high: float) -> float:
    # Halves first: the sum of two large numbers may overflow.
    return low if low == high else low / 2 + high / 2


def free_label(word: str, taken: Sequence[str]) -> str:
    """Return `word`, in as many parentheses as it takes to differ from every level."""
    while word in taken:
        word = f"({word})"
    return word


@dataclass(frozen=True)
class NumericCode:
    """A number, or 0 and 1, with the median for missing cells and a flag if there were any."""

    # `seen` has the smallest and the largest number of the training column.

    tag: ClassVar[str] = "numeric"
    name: str
    fill: float
    flag: bool
    boolean: bool = False
    seen: tuple[float, float] | None = None

    @property
    def is_real(self) -> bool:
        """Whether the column held numbers rather than true and false."""
        return not self.boolean

    def features(self) -> tuple[str, ...]:
        """Return the column's name, and that of its flag."""
        return (self.name, f"{self.name}=missing") if self.flag else (self.name,)

    def encode(self, series: Series, out: npt.NDArray[Any]) -> Met:
        """Write the numbers, and the flag if there is one."""
        kind = kind_of(series, self.name)
        if kind.is_numeric:
            values = as_numbers(series)
        elif kind is Kind.EMPTY or _only_markers(series):
            values = np.full(len(series), np.nan)
        else:
            raise self._refusal(series)
        self.check(values)
        missing = np.isnan(values)
        out[:, 0] = np.where(missing, self.fill, values) if missing.any() else values
        if self.flag:
            out[:, 1] = missing
        return Met(missing, self.flag, outside=self._far(values))

    def _far(self, values: Reals) -> FarCells | None:
        """Return the numbers far outside those of training; a constant column has no scale."""
        if self.seen is None or self.seen[0] == self.seen[1]:
            return None
        low, high = self.seen
        # Of numbers near the largest there are the reach is infinite, and nothing is far.
        reach = _FAR * (high - low)
        rows = (values < low - reach) | (values > high + reach)
        return FarCells.of(values, rows, self.seen) if rows.any() else None

    def check(self, values: Reals) -> None:
        """Refuse what is not finite, and for true/false what is neither 0 nor 1."""
        bad = np.flatnonzero(np.isinf(values))
        if len(bad):
            raise CellError(
                f"Column {self.name!r} holds {values[bad[0]]} in ",
                int(bad[0]),
                ", counting from 0; numbers must be finite (leave the cell empty if it is "
                "missing).",
            )
        if self.boolean:
            bad = np.flatnonzero((values != 0) & (values != 1) & ~np.isnan(values))
            if len(bad):
                raise self._unlike("true or false", values[bad[0]], int(bad[0]))

    def _refusal(self, series: Series) -> DataError:
        levels = as_levels(series)
        number = [_is_number(label) for label in levels.labels]
        row = np.flatnonzero(~np.append(number, True).astype(bool)[levels.codes])
        at = int(row[0] if len(row) else np.flatnonzero(~missing_cells(series))[0])
        return self._unlike("true or false" if self.boolean else "numeric", series[at], at)

    def _unlike(self, was: str, value: object, row: int) -> DataError:
        shown = repr(value) if isinstance(value, str) else str(value)
        return CellError(
            f"Column {self.name!r} was {was} in training; ",
            row,
            f", counting from 0, holds {shown}.",
        )

    def to_state(self) -> dict[str, Any]:
        """Return the fields."""
        seen = None if self.seen is None else list(self.seen)
        state = {"name": self.name, "fill": self.fill, "flag": self.flag, "boolean": self.boolean}
        return state | {"seen": seen}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NumericCode:
        """Rebuild from :meth:`to_state`."""
        # Files of before the range was kept have none.
        seen = state.get("seen")
        range_ = None if seen is None else (float(seen[0]), float(seen[1]))
        return cls(state["name"], state["fill"], state["flag"], state["boolean"], range_)


def _only_markers(series: Series) -> bool:
    # A reader cannot know that a column of nothing but "NA" would have been numbers.
    return {label.strip() for label in as_levels(series).labels} <= set(MISSING_MARKERS)


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _value(label: str) -> str | float:
    return float(label) if _is_number(label) else label.casefold()


@dataclass(frozen=True)
class CategoryCode:
    """One indicator per level, one for all rarer levels together, one for missing cells."""

    # A level that was not in training counts as one of the rarer levels if these were joined;
    # otherwise all indicators of the row are 0.

    tag: ClassVar[str] = "category"
    name: str
    levels: tuple[str, ...]
    joined: tuple[str, ...] = ()
    missing: bool = False

    @property
    def is_real(self) -> bool:
        """Never: indicators have no float type of their own."""
        return False

    def features(self) -> tuple[str, ...]:
        """Return the labels: levels in sorted order, then other, then missing."""
        known = (*self.levels, *self.joined)
        extra = ("other",) * bool(self.joined) + ("missing",) * self.missing
        parts = (*self.levels, *(free_label(word, known) for word in extra))
        return tuple(f"{self.name}={part}" for part in parts)

    def encode(self, series: Series, out: npt.NDArray[Any]) -> Met:
        """Write the indicators."""
        kind = kind_of(series, self.name)
        cells = Levels(np.full(len(series), -1), ()) if kind is Kind.EMPTY else as_levels(series)
        if kind.is_numeric:
            cells = self._spelled(cells)
        places = {label: place for place, label in enumerate(self.levels)}
        other = len(self.levels) if self.joined else -1
        places.update(dict.fromkeys(self.joined, other))
        last = len(self.levels) + bool(self.joined) if self.missing else -1
        place = np.array([*(places.get(label, other) for label in cells.labels), last])
        position = place[cells.codes]
        rows = np.flatnonzero(position >= 0)
        out[rows, position[rows]] = 1
        new = np.array([label not in places for label in cells.labels], dtype=bool)
        return Met(cells.codes < 0, self.missing, cells, new)

    def _spelled(self, cells: Levels) -> Levels:
        # A file that holds "true" and "maybe" is text, one that holds "true" only is boolean;
        # one that holds "1.0" and "a" is text, one that holds "1.0" only is numeric.
        known = (*self.levels, *self.joined)
        same: dict[str | float, list[str]] = defaultdict(list)
        for level in known:
            same[_value(level)].append(level)
        exact = set(known)

        def spelling(label: str) -> str:
            twins = same.get(_value(label), [])
            return twins[0] if label not in exact and len(twins) == 1 else label

        return Levels(cells.codes, tuple(map(spelling, cells.labels)))

    def to_state(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "name": self.name,
            "levels": list(self.levels),
            "joined": list(self.joined),
            "missing": self.missing,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoryCode:
        """Rebuild from :meth:`to_state`."""
        levels, joined = tuple(state["levels"]), tuple(state["joined"])
        return cls(state["name"], levels, joined, state["missing"])
