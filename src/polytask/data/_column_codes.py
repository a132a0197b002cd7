"""How one column becomes features: learned once, applied to any table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from polytask.data import text_hints as hints
from polytask.data._cells import (
    Column,
    Kind,
    Levels,
    Mask,
    Reals,
    as_levels,
    as_numbers,
    date_refusal,
    kind_of,
)
from polytask.data._encoding_report import (
    N_EXAMPLES,
    ColumnReport,
    FarCells,
    TransformReport,
    UnknownLevels,
)
from polytask.data.dates import ELAPSED, looks_like_dates
from polytask.data.missing import CellError, row_of_table
from polytask.data.text_hints import MISSING_MARKERS
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, one_paragraph

NEARLY_ALL = 0.9

# How many times the range of the training column a cell may lie outside of it, unremarked.
_FAR = 5


Weight = npt.NDArray[np.float64] | None


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

    @property
    def width(self) -> int:
        """The number of features."""
        ...

    def features(self) -> tuple[str, ...]:
        """Return the labels of the features."""
        ...

    def encode(
        self, column: Column, out: npt.NDArray[Any], counted: Mask | None, report: TransformReport
    ) -> None:
        """Write the features into `out`, and what was met in the counted rows into a report."""
        # Shapes: out (n, number of features), zeros.
        ...

    def with_missing(self) -> ColumnCode:
        """Return the code of these rows and of others whose cells are all missing."""
        ...

    def together(
        self,
        other: Any,  # noqa: ANN401 - of the same class
        share: float | None,
    ) -> ColumnCode | None:
        """Return what encodes the rows of both; None where rows are encoded that differ."""
        # `share` is that of the other's rows, None where rows have been encoded already.
        ...

    def to_state(self) -> dict[str, Any]:
        """Return JSON values."""
        ...


Learned = tuple[ColumnCode | None, ColumnReport]


def weighted_median(values: Reals, weight: npt.NDArray[np.float64] | None) -> float:
    """Return the median; with weights, where half of the weight lies on either side."""
    if weight is None:
        middle = (len(values) - 1) // 2, len(values) // 2
        low, high = np.partition(values, middle)[list(middle)]
        return float(low) if low == high else float(low) / 2 + float(high) / 2
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    # The order of the rows moves the sums in their last digits; it must not move the median.
    slack = 1e-12 * reached[-1]
    low = values[order[np.searchsorted(reached, reached[-1] / 2 - slack)]]
    high = values[order[np.searchsorted(reached, reached[-1] / 2 + slack, side="right")]]
    # Halves first: the sum of two large numbers may overflow.
    return float(low) if low == high else float(low) / 2 + float(high) / 2


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

    @property
    def width(self) -> int:
        """One, or two with the flag."""
        return 1 + self.flag

    def features(self) -> tuple[str, ...]:
        """Return the column's name, and that of its flag."""
        return (self.name, f"{self.name}=missing") if self.flag else (self.name,)

    @classmethod
    def learn(cls, column: Column, name: str, weight: Weight, kind: Kind) -> Learned:
        """Return how a column of numbers is encoded, and what was found in it."""
        values = as_numbers(column)
        cls(name, 0.0, flag=False).check(values)
        missing = np.isnan(values)
        counts = _counts(weight, len(values))
        used = ~missing & counts
        if not used.any():
            return nothing(name)
        n_missing = int((missing & counts).sum())
        seen = values if used.all() else values[used]
        fill = weighted_median(seen, None if weight is None else weight[used])
        low, high = float(seen.min()), float(seen.max())
        code = cls(name, fill, n_missing > 0, kind is Kind.BOOLEAN, (low, high))
        constant = low == high and not n_missing
        return code, ColumnReport(
            name, kind.value, code.features(), n_missing, fill, constant=constant
        )

    def encode(
        self, column: Column, out: npt.NDArray[Any], counted: Mask | None, report: TransformReport
    ) -> None:
        """Write the numbers, and the flag if there is one."""
        kind = kind_of(column, self.name)
        if kind.is_numeric:
            values = as_numbers(column)
        # A reader cannot know that a column of nothing but "NA" would have been numbers.
        elif kind is Kind.EMPTY or {label.strip() for label in as_levels(column).labels} <= set(
            MISSING_MARKERS
        ):
            # In the precision of the column, whether other cells are missing or not.
            values = np.full(len(column.missing), np.nan, column.precision)
        else:
            raise self._refusal(column)
        if self._is_plain(values):
            out[:, 0] = values
            return
        self.check(values)
        missing = np.isnan(values)
        out[:, 0] = np.where(missing, self.fill, values) if missing.any() else values
        if self.flag:
            out[:, 1] = missing
        report.add_missing(self.name, missing, counted, self.flag)
        # A constant column has no scale.
        if self.seen is None or self.seen[0] == self.seen[1]:
            return
        low, high = self.seen
        if self.name.endswith(ELAPSED) and (after := int((values > high).sum())):
            report.later[self.name.removesuffix(ELAPSED)] = after, high
        # Of numbers near the largest there are the reach is infinite, and nothing is far.
        reach = _FAR * (high - low)
        rows = (values < low - reach) | (values > high + reach)
        rows = rows if counted is None else rows & counted
        if rows.any():
            far = values[rows]
            by = np.maximum(far / 2 - high / 2, low / 2 - far / 2)
            farthest = float(far[np.argmax(by)])
            report.far[self.name] = FarCells(len(far), farthest, self.seen, rows, far)

    def _is_plain(self, values: Reals) -> bool:
        """Say whether there are cells, none is missing, and none deserves to be looked at."""
        if not len(values) or self.boolean or self.seen is None or self.name.endswith(ELAPSED):
            return False
        # Both are NaN where a cell is missing.
        low, high, reach = values.min(), values.max(), _FAR * (self.seen[1] - self.seen[0])
        inside = low >= self.seen[0] - reach and high <= self.seen[1] + reach
        return bool(np.isfinite(low) and np.isfinite(high) and (reach == 0 or inside))

    def with_missing(self) -> NumericCode:
        """Return the code of these rows and of others whose cells are all missing."""
        return replace(self, flag=True)

    def together(self, other: NumericCode, share: float | None) -> NumericCode | None:
        """Return the code of both, None where missing cells were filled differently."""
        fixed = share is None and (self.flag or other.flag)
        if self.boolean != other.boolean or (
            fixed and self.flag == other.flag and self.fill != other.fill
        ):
            return None
        if fixed or self.fill == other.fill:
            fill = self.fill if self.flag else other.fill
        else:
            # Where no cell was missing the number is for rows to predict only.
            part = 0.5 if share is None else share
            fill = (1 - part) * self.fill + part * other.fill
        ranges = [code.seen for code in (self, other) if code.seen is not None]
        seen = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        return NumericCode(self.name, fill, self.flag or other.flag, self.boolean, seen)

    def check(self, values: Reals) -> None:
        """Refuse what is not finite, and for true/false what is neither 0 nor 1."""
        bad = np.flatnonzero(np.isinf(values))
        if len(bad):
            fields = {"name": repr(self.name), "value": str(values[bad[0]])}
            place = {"place": row_of_table(int(bad[0]))}
            raise CellError(LazyMessage("column.refusal.infinite", fields | place))
        if self.boolean:
            bad = np.flatnonzero((values != 0) & (values != 1) & ~np.isnan(values))
            if len(bad):
                raise self._unlike("truth", values[bad[0]], int(bad[0]))

    def _refusal(self, column: Column) -> DataError:
        levels = as_levels(column)
        number = [_is_number(label) for label in levels.labels]
        row = np.flatnonzero(~np.append(number, True).astype(bool)[levels.codes])
        at = int(row[0] if len(row) else np.flatnonzero(~column.missing)[0])
        return self._unlike("truth" if self.boolean else "number", column.cells[at], at)

    def _unlike(self, was: str, value: object, row: int) -> DataError:
        shown = repr(value) if isinstance(value, str) else str(value)
        fields = {"name": repr(self.name), "was": LazyMessage(f"was.{was}"), "value": shown}
        place = {"place": row_of_table(row)}
        return CellError(LazyMessage("column.refusal.unlike", fields | place))

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
    # otherwise, and where a cell is missing that never was, the row has the mean of the training
    # rows. With zeros instead a model without a penalty would leave the span of its data.

    tag: ClassVar[str] = "category"
    name: str
    levels: tuple[str, ...]
    joined: tuple[str, ...] = ()
    missing: bool = False
    # Which part of the training rows each level has, then all rarer ones together; files of
    # before this was kept have none.
    shares: tuple[float, ...] = ()

    @property
    def is_real(self) -> bool:
        """Never: indicators have no float type of their own."""
        return False

    @cached_property
    def _places(self) -> dict[str, int]:
        """The feature of each level; -1 is none."""
        other = len(self.levels) if self.joined else -1
        return {level: place for place, level in enumerate(self.levels)} | dict.fromkeys(
            self.joined, other
        )

    @property
    def width(self) -> int:
        """One for each level, and those of the others and of missing cells."""
        return len(self.levels) + bool(self.joined) + self.missing

    def features(self) -> tuple[str, ...]:
        """Return the labels: levels in sorted order, then other, then missing."""
        known = (*self.levels, *self.joined)
        extra = ("other",) * bool(self.joined) + ("missing",) * self.missing
        parts = (*self.levels, *(free_label(word, known) for word in extra))
        return tuple(f"{self.name}={part}" for part in parts)

    @classmethod
    def learn(
        cls,
        column: Column,
        name: str,
        weight: Weight,
        kind: Kind,
        max_levels: int,
        *,
        accepted: bool = False,
    ) -> Learned:
        """Return how a column of labels is encoded, and what was found in it."""
        cells = as_levels(column)
        counts = _counts(weight, len(cells.codes))
        used = (cells.codes >= 0) & counts
        if not used.any():
            return nothing(name)
        if not accepted and looks_like_dates(cells.labels):
            row = int(np.flatnonzero(cells.codes >= 0)[0])
            raise date_refusal(name, column.cells[row], row)
        shares = _shares(cells, weight, used)
        present = [label for label, part in zip(cells.labels, shares, strict=True) if part > 0]
        # Categories were declared by the user: what their labels look like is no surprise.
        numeric = hints.numeric_hint(name, present) if kind is Kind.TEXT else None
        clues = [line for line in (numeric, hints.spelling_hint(name, present)) if line]
        if not accepted and len(present) > max(max_levels, NEARLY_ALL * used.sum()):
            _refuse_identifiers(name, present, int(used.sum()), clues, cells)
        # Labels are sorted, so a stable sort by share breaks ties by label.
        order = np.argsort(-shares, kind="stable")[: len(present)]
        cut = len(present) if len(present) <= max_levels else max_levels - 1
        kept, joined = (
            tuple(cells.labels[i] for i in np.sort(part)) for part in (order[:cut], order[cut:])
        )
        rare = [float(shares[order[cut:]].sum())] if joined else []
        parts = (*shares[np.sort(order[:cut])].tolist(), *rare)
        if joined:
            fields = {"column": name, "levels": len(present), "n": len(joined)}
            clues.append(LazyMessage("met.joined", fields | {"most": max_levels}))
        n_missing = int((counts & ~used).sum())
        code = cls(name, kept, joined, n_missing > 0, parts)
        constant = len(present) == 1 and not n_missing
        features, told = code.features(), tuple(clues)
        return code, ColumnReport(
            name, kind.value, features, n_missing, None, kept, joined, constant, told
        )

    def with_missing(self) -> CategoryCode:
        """Return the code of these rows and of others whose cells are all missing."""
        return replace(self, missing=True)

    def together(self, other: CategoryCode, share: float | None) -> CategoryCode | None:
        """Return the code of the levels of both, None where rare ones were put together."""
        levels = tuple(sorted({*self.levels, *other.levels}))
        if self.joined != other.joined or (self.joined and levels != self.levels):
            return None
        part, names = 0.5 if share is None else share, (*levels, *self.joined[:1])
        own, new = (
            dict(zip((*code.levels, *code.joined[:1]), code.shares, strict=False))
            for code in (self, other)
        )
        shares = [(1 - part) * own.get(name, 0) + part * new.get(name, 0) for name in names]
        missing, kept = self.missing or other.missing, tuple(shares) if own and new else ()
        return CategoryCode(self.name, levels, self.joined, missing, kept)

    def encode(
        self, column: Column, out: npt.NDArray[Any], counted: Mask | None, report: TransformReport
    ) -> None:
        """Write the indicators."""
        kind = kind_of(column, self.name)
        cells = (
            Levels(np.full(len(column.missing), -1), ())
            if kind is Kind.EMPTY
            else as_levels(column)
        )
        if kind.is_numeric:
            cells = self._spelled(cells)
        places, other = self._places, len(self.levels) if self.joined else -1
        last = self.width - 1 if self.missing else -1
        place = np.array([*(places.get(label, other) for label in cells.labels), last])
        position = place[cells.codes]
        rows = np.flatnonzero(position >= 0)
        out[rows, position[rows]] = 1
        out[position < 0, : len(self.shares)] = self.shares
        report.add_missing(self.name, cells.codes < 0, counted, self.missing)
        new = np.array([label not in places for label in cells.labels] + [False], dtype=bool)
        strange = new[cells.codes] if counted is None else new[cells.codes] & counted
        if strange.any():
            found = np.array(cells.labels, dtype=object)[cells.codes[strange]]
            examples = tuple(sorted(set(found.tolist()))[:N_EXAMPLES])
            count = int(strange.sum())
            report.unknown[self.name] = UnknownLevels(count, examples, strange, found)

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
            "shares": list(self.shares),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoryCode:
        """Rebuild from :meth:`to_state`."""
        levels, joined = tuple(state["levels"]), tuple(state["joined"])
        return cls(state["name"], levels, joined, state["missing"], tuple(state.get("shares", ())))


def nothing(name: str) -> Learned:
    """Return that a column is left out."""
    empty = LazyMessage("met.empty", {"column": name})
    return None, ColumnReport(name, Kind.EMPTY.value, messages=(empty,))


def _counts(weight: Weight, n_rows: int) -> Mask:
    return np.ones(n_rows, dtype=bool) if weight is None else weight > 0


def _shares(cells: Levels, weight: Weight, used: Mask) -> npt.NDArray[np.float64]:
    part = None if weight is None else weight[used]
    total = np.bincount(cells.codes[used], part, minlength=len(cells.labels))
    # Rounded, so that the order of the rows in a sum of weights cannot decide between levels.
    shares: npt.NDArray[np.float64] = np.asarray(total / total.sum(), dtype=np.float64)
    return np.where(shares > 0, np.maximum(np.round(shares, 12), 1e-12), 0.0)


def _refuse_identifiers(
    name: str, levels: list[str], n_rows: int, clues: list[LazyMessage], cells: Levels
) -> NoReturn:
    """Refuse a column of which hardly any value is seen twice."""
    odd = hints.odd_ones(levels)
    if odd and clues:
        # The first cell that is no number, in a column that is numbers otherwise.
        codes = [cells.labels.index(levels[k]) for k in odd]
        row = int(np.flatnonzero(np.isin(cells.codes, codes))[0])
        odd_fields = {"clues": one_paragraph(clues), "place": row_of_table(row)}
        raise CellError(LazyMessage("column.refusal.first_odd", odd_fields))
    fields = {"name": repr(name), "n": len(levels), "levels": str(len(levels)), "drop": name}
    key = "column.refusal.identifier"
    advice = one_paragraph(clues) if clues else LazyMessage(f"{key}.advice", fields)
    raise DataError(LazyMessage(key, fields | {"rows": n_rows, "advice": advice}))
