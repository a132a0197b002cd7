"""What to learn from one column of the training table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polytask.data import text_hints as hints
from polytask.data._cells import (
    Kind,
    Levels,
    Mask,
    Series,
    as_levels,
    as_numbers,
    date_refusal,
    kind_of,
)
from polytask.data._column_codes import CategoryCode, ColumnCode, NumericCode, weighted_median
from polytask.data._encoding_report import ColumnReport
from polytask.data.cell_errors import CellError
from polytask.data.dates import looks_like_dates
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

NEARLY_ALL = 0.9

Weight = npt.NDArray[np.float64] | None
Learned = tuple[ColumnCode | None, ColumnReport]
Clues = tuple[LazyMessage, ...]


@dataclass(frozen=True)
class ColumnLearner:
    """Learns a column; rows of weight 0 count as absent."""

    max_levels: int

    def learn(self, series: Series, name: str, weight: Weight) -> Learned:
        """Return how the column is encoded, None if nothing is in it, and what was found."""
        kind = kind_of(series, name)
        if kind is Kind.EMPTY:
            return _nothing(name)
        if kind.is_numeric:
            return self._numbers(series, name, weight, kind)
        return self._categories(series, name, weight, kind)

    def _numbers(self, series: Series, name: str, weight: Weight, kind: Kind) -> Learned:
        values = as_numbers(series)
        NumericCode(name, 0.0, flag=False).check(values)
        missing = np.isnan(values)
        counts = _counts(weight, len(values))
        used = ~missing & counts
        if not used.any():
            return _nothing(name)
        n_missing = int((missing & counts).sum())
        seen = values if used.all() else values[used]
        fill = weighted_median(seen, None if weight is None else weight[used])
        low, high = float(seen.min()), float(seen.max())
        code = NumericCode(name, fill, n_missing > 0, kind is Kind.BOOLEAN, (low, high))
        constant = low == high and not n_missing
        return code, ColumnReport(
            name, kind.value, code.features(), n_missing, fill, constant=constant
        )

    def _categories(self, series: Series, name: str, weight: Weight, kind: Kind) -> Learned:
        cells = as_levels(series)
        counts = _counts(weight, len(cells.codes))
        used = (cells.codes >= 0) & counts
        if not used.any():
            return _nothing(name)
        _refuse_dates(cells, name, series)
        shares = _shares(cells, weight, used)
        present = [label for label, part in zip(cells.labels, shares, strict=True) if part > 0]
        clues = _clues(name, present, kind)
        self._refuse_identifiers(name, present, int(used.sum()), clues, cells)
        kept, joined = self._split(cells.labels, shares, len(present))
        n_missing = int((counts & ~used).sum())
        code = CategoryCode(name, kept, joined, n_missing > 0)
        if joined:
            fields = {"column": name, "levels": len(present), "n": len(joined)}
            clues = (*clues, LazyMessage("met.joined", fields | {"most": self.max_levels}))
        constant = len(present) == 1 and not n_missing
        return code, ColumnReport(
            name, kind.value, code.features(), n_missing, None, kept, joined, constant, clues
        )

    def _split(
        self, labels: tuple[str, ...], shares: npt.NDArray[np.float64], n_present: int
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        # Labels are sorted, so a stable sort by share breaks ties by label.
        order = np.argsort(-shares, kind="stable")[:n_present]
        cut = n_present if n_present <= self.max_levels else self.max_levels - 1
        kept, joined = np.sort(order[:cut]), np.sort(order[cut:])
        return tuple(labels[i] for i in kept), tuple(labels[i] for i in joined)

    def _refuse_identifiers(
        self, name: str, levels: list[str], n_rows: int, clues: Clues, cells: Levels
    ) -> None:
        if len(levels) <= self.max_levels or len(levels) <= NEARLY_ALL * n_rows:
            return
        odd = _odd_cell(levels, cells)
        if odd is not None and clues:
            word, row = odd
            sentence = f"{' '.join(map(str, clues))} The first such cell, {word!r}, is in "
            raise CellError(sentence, row, ", counting from 0.")
        advice = " ".join(map(str, clues)) or (
            f"It looks like an identifier or free text: leave it out (--drop {name}, or "
            f"drop=[{name!r}]), or raise max_levels to {len(levels)} to encode every value."
        )
        raise DataError(
            f"Column {name!r} has {len(levels):,} different values in {n_rows:,} rows, so hardly "
            f"any value is seen twice. {advice}"
        )


def _odd_cell(levels: list[str], cells: Levels) -> tuple[str, int] | None:
    """Return the first cell that is no number, in a column that is numbers otherwise."""
    odd = hints.odd_ones(levels)
    if not odd:
        return None
    codes = [cells.labels.index(levels[k]) for k in odd]
    row = int(np.flatnonzero(np.isin(cells.codes, codes))[0])
    return cells.labels[cells.codes[row]], row


def _nothing(name: str) -> Learned:
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


def _refuse_dates(cells: Levels, name: str, series: Series) -> None:
    if looks_like_dates(cells.labels):
        row = int(np.flatnonzero(cells.codes >= 0)[0])
        raise date_refusal(name, series[row], row)


def _clues(name: str, levels: list[str], kind: Kind) -> Clues:
    # Categories were declared by the user: what their labels look like is no surprise.
    numeric = hints.numeric_hint(name, levels) if kind is Kind.TEXT else None
    found = (numeric, hints.spelling_hint(name, levels))
    return tuple(hint for hint in found if hint is not None)
