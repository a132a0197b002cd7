"""What in the data would make a result misleading: refused, or said in a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.far_cells import far_cell_sentences
from polytask._estimator.leaks import Leak, find_leaks, find_target_copies
from polytask._estimator.number_columns import NumberColumns
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data._text_hints import missing_option
from polytask.exceptions import DataError

# Nearly every cell of a row id is different; a column of fewer rows proves nothing.
_NEARLY_ALL = 0.95
_FEW_ROWS = 20
_SHOWN = 5
# Numbers that stand for missing cells, in so large a share of them, beside so many other values.
_MARKERS = tuple(
    float(sign + digits)
    for sign in ("", "-")
    for digits in ("99", "999", "9999", "99999", "999999", "9999999")
)
_MARKED, _FEWEST_OTHERS = 0.01, 3
# Rows with many different targets and features that are equal in both are copies, if they are
# more than this share; so many columns are compared.
_COPIES, _COMPARED = 0.1, 20
# Names of row ids: id, user_id, PatientID, row, uuid, key.
_ID_NAME = re.compile(r"(?:(?:^|[\W_])(?i:id|uuid|guid|row|key)|[a-z]I[Dd])$|编号$|行号$")


def data_warnings(
    data: TaskData,
    owner: str,
    *,
    allow_leak: bool,
    option: bool = False,
    target: str = "",
    grouped: bool = False,
) -> tuple[str, ...]:
    """Refuse copies of the target among the features, and return what else misleads."""
    # `option`: the message tells of options of the command line; `target`: the name of the
    # target, where the data do not know it; `grouped`: copies can be kept on one side of a split.
    columns = NumberColumns(data)
    leaks = find_leaks(data, columns)
    if not allow_leak:
        _refuse([leak for leak in leaks if leak.refused], owner, option, target)
    copies = find_target_copies(data) if data.form is Form.TARGETS else []
    return (
        *(f"Column {leak.column} {_relation(leak, '')}: {_LEAK_ADVICE}" for leak in leaks),
        *(f"The target {copy.column} {_relation(copy, '')}: {_COPY_ADVICE}" for copy in copies),
        *_first(
            _row_ids(data, columns, {leak.column for leak in leaks}), "number or name the rows"
        ),
        *_first(far_cell_sentences(data, columns), "hold cells that far off"),
        *_first(_missing_markers(columns), "hold such a number"),
        *_rare_classes(data),
        *([] if grouped else _repeated_rows(data, columns)),
    )


def _repeated_rows(data: TaskData, columns: NumberColumns) -> list[str]:
    """Say that many rows are copies of others, where features and target are measured numbers."""
    y = np.asarray(data.y)
    finite = y.dtype.kind == "f" and y.ndim == 1 and len(columns) > 0
    if not finite or len(np.unique(y)) < _FEW_ROWS or columns.stored() is not None:
        return []
    cells = [columns.column(j) for j in range(min(len(columns), _COMPARED))]
    # Rows with the same sum by weights at random have the same cells.
    weights = np.random.default_rng(0).uniform(1.0, 2.0, len(cells) + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = sum(w * cell for w, cell in zip(weights, [y, *cells], strict=True))
    # A cell that is missing is like no other.
    distinct = len(np.unique(sums, equal_nan=False))
    # Few columns of few values repeat by chance; measured ones do not.
    varied = max(len(np.unique(cell)) for cell in cells) >= min(_FEW_ROWS, distinct)
    repeats = len(y) - distinct
    if not varied or repeats < _COPIES * len(y):
        return []
    return [
        f"{repeats:,} of {len(y):,} rows repeat the features and the target of another row, some "
        "perhaps in another task. Copies on both sides of a split make scores and verdicts look "
        "better and more certain than they are: drop them, or keep copies together (groups=, on "
        "the command line --group)."
    ]


def _missing_markers(columns: NumberColumns) -> list[str]:
    """Say which columns hold a number such as -999, which often means that a cell is missing."""
    if columns.stored() is not None:
        return []
    found = []
    for chosen, block in columns.blocks(np.arange(len(columns))):
        lows, highs = np.nanmin(block, axis=1, initial=0.0), np.nanmax(block, axis=1, initial=0.0)
        for j in np.flatnonzero(np.isin(lows, _MARKERS) | np.isin(highs, _MARKERS)):
            cells = block[j][np.isfinite(block[j])]
            for marker in {float(lows[j]), float(highs[j])} & set(_MARKERS):
                others, count = cells[cells != marker], int((cells == marker).sum())
                few = len(np.unique(others)) < _FEWEST_OTHERS or count < _MARKED * len(cells)
                if few or count < 2:
                    continue
                low, high = float(others.min()), float(others.max())
                # Beyond the others by more than all that they span.
                if min(abs(marker - low), abs(marker - high)) <= high - low:
                    continue
                word = f"{marker:.0f}"
                found.append(
                    f"Column {columns.labels[chosen[j]]} holds {word} in {count:,} of "
                    f"{len(cells):,} rows, far from all its other values ({low:.7g} to "
                    f"{high:.7g}), as a mark of missing cells is. If it is one, put NaN or read "
                    f"the file with missing_values=[{word!r}] (on the command line "
                    f"{missing_option([word])})."
                )
    return found


def _rare_classes(data: TaskData) -> list[str]:
    """Say which classes have a single row: it is never held out."""
    y = np.asarray(data.y)
    if y.dtype.kind not in "OUS":
        return []
    found = []
    for column in y.T if y.ndim == 2 else [y]:
        counts = Counter(cell for cell in column.tolist() if isinstance(cell, str | bool))
        # Text with hardly any value twice is no class.
        if 2 * len(counts) < counts.total():
            found += [repr(label) for label, count in counts.items() if count == 1]
    if not found:
        return []
    many = len(found) > 1
    shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return [
        f"{'Classes' if many else 'Class'} {shown} {'have' if many else 'has'} a single row"
        f"{' each' if many else ''}, which is never held out: scores say nothing about "
        f"{'them' if many else 'it'}. Join {'them' if many else 'it'} with another class, or "
        f"leave the row{'s' if many else ''} out."
    ]


def _first(sentences: list[str], what: str) -> list[str]:
    """Return the first sentences, and how many more columns there are."""
    if len(sentences) <= _SHOWN + 1:
        return sentences
    return [*sentences[:_SHOWN], f"{len(sentences) - _SHOWN:,} more columns {what}."]


_LEAK_ADVICE = (
    "scores say something only if that column is known before the target is. If it is not, leave "
    "it out (on the command line with --drop)."
)
_COPY_ADVICE = (
    "the two count as two tasks that agree, and each makes sharing look good. Leave one of them "
    "out."
)


def _refuse(leaks: Sequence[Leak], owner: str, option: bool, target: str) -> None:
    if not leaks:
        return
    named = target and repr(target)
    said = "; ".join(f"column {leak.column} {_relation(leak, named)}" for leak in leaks[:_SHOWN])
    more = f"; and {len(leaks) - _SHOWN:,} more columns" if len(leaks) > _SHOWN else ""
    names = ",".join(leak.column.strip("'\"") for leak in leaks)
    one = len(leaks) == 1
    if option:
        drop = f" with --drop '{names}'" if len(leaks) <= _SHOWN else " with --drop"
        allow = "--allow-leak"
    else:
        drop, allow = "", "allow_leak=True"
    raise DataError(
        f"{owner} has the target among its features: {said}{more}. Scores would say nothing about "
        f"new rows. Leave {'it' if one else 'them'} out{drop}, or say {allow} if "
        f"{'it is' if one else 'they are'} known before the target."
    )


def _relation(leak: Leak, target: str) -> str:
    """Say of a column that it is the target, in which way and in which rows."""
    what = f"the target {leak.target or target}".strip()
    rows = "all rows"
    if leak.rows < leak.of:
        rows = f"all {leak.rows:,} rows (of {leak.of:,}) in which neither is missing"
    if leak.as_label:
        return f"has one value for each value of {what}, in {rows}"
    if leak.by_order:
        return f"has the order of {what} in {rows}, as a rounded or transformed copy of it has"
    if leak.tasks is not None:
        count, of = leak.tasks
        return f"equals {what} up to a factor and a constant in {count} of {of} tasks"
    if leak.within:
        return (
            f"equals {what} up to a factor and a constant within every task, each with its own, "
            f"in {rows}"
        )
    return f"equals {what} up to a factor and a constant, in {rows}"


def _row_ids(data: TaskData, columns: NumberColumns, known: set[str]) -> list[str]:
    """Return sentences about columns that number or name the rows."""
    found = []
    if columns.stored() is None:
        first = np.arange(min(_FEW_ROWS, columns.n_rows))
        for chosen, start in columns.blocks(np.arange(len(columns)), first):
            whole = ((start == np.rint(start)) | ~np.isfinite(start)).all(axis=1)
            for j in chosen[whole]:
                label, cells = columns.labels[j], columns.column(int(j))
                if label not in known and numbers_rows(cells, label.strip("'\"")):
                    span = f" ({np.nanmin(cells):.0f} to {np.nanmax(cells):.0f})"
                    found.append((label, "whole number", span))
    if tables.is_table(data.X):
        frame = tables.open_frame(data.X)
        for j, (name, kind) in enumerate(frame.schema.items()):
            present = len(frame) - frame[:, j].null_count()
            if kind.is_numeric() or kind.is_temporal() or present < _FEW_ROWS:
                continue
            # With more levels, the encoder refuses the column.
            if _NEARLY_ALL * present < frame[:, j].n_unique() <= TableEncoder().max_levels:
                found.append((repr(name), "text", ""))
    return [
        f"Column {label} holds a different {what} in nearly every row{span}, as row numbers and "
        "identifiers do: what is learned from it holds for no new row. If it is one, leave it "
        "out (on the command line with --id or --drop)."
        for label, what, span in found
    ]


def numbers_rows(cells: NDArray[Any], name: str) -> bool:
    """Say whether numbers are those of rows: whole, different, and without gaps or called so."""
    # Whole numbers that differ in nearly every row may be measured, such as incomes or
    # populations; those of a series leave nearly no number between the least and the greatest out.
    values = np.asarray(cells, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < _FEW_ROWS or not np.array_equal(values, np.rint(values)):
        return False
    distinct = len(np.unique(values))
    dense = values.max() - values.min() + 1 <= distinct / _NEARLY_ALL
    return distinct > _NEARLY_ALL * len(values) and bool(dense or _ID_NAME.search(name))
