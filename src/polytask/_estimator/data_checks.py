"""What in the data would make a result misleading: refused, or said in a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.far_cells import far_cell_sentences
from polytask._estimator.leaks import Leak, find_leaks, find_target_copies, targets_of
from polytask._estimator.number_columns import NumberColumns
from polytask._estimator.places import counted, row_message
from polytask._estimator.repeated_rows import repeated_rows
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.dates import DATE_PARTS, ELAPSED
from polytask.data.labels import in_order, near_misses
from polytask.data.text_hints import missing_option
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

# Nearly every cell of a row id is different; a column of fewer rows proves nothing.
_NEARLY_ALL = 0.95
_FEW_ROWS = 20
# Numbers of rows, of which some were taken away, are so dense between the least and the greatest.
_DENSE = 0.5
_SHOWN = 5
# Numbers that stand for missing cells, in so large a share of them, beside so many other values.
_MARKERS = tuple(
    float(sign + digits)
    for sign in ("", "-")
    for digits in ("99", "999", "9999", "99999", "999999", "9999999")
)
_MARKED, _FEWEST_OTHERS = 0.01, 3
# A row with more than this share of the weight decides; mean weights beyond these are seldom
# numbers of rows.
_MOST_WEIGHT, _FEWEST_ROWS, _MOST_ROWS = 0.5, 0.05, 100.0
# Tasks of so many rows, whose one value would be met by chance this seldom, are named; of names
# the first.
_ROWS_OF_A_TASK, _CHANCE, _NAMED = 5, 0.01, 3
# Of a date the number of elapsed days stands for all of its features.
_PARTS = tuple(f"={part}'" for part in DATE_PARTS if f"={part}" != ELAPSED)
# Names of row ids: id, user_id, PatientID, row, uuid, key.
_ID_NAME = re.compile(r"(?:(?:^|[\W_])(?i:id|uuid|guid|row|key)|[a-z]I[Dd])$|编号$|行号$")


def data_warnings(
    data: TaskData,
    owner: str,
    *,
    allow_leak: bool,
    target: str = "",
    grouped: bool = False,
) -> tuple[LazyMessage, ...]:
    """Refuse copies of the target among the features, and return what else misleads."""
    # `target`: the name of the target, where the data do not know it; `grouped`: copies can be
    # kept on one side of a split.
    columns = NumberColumns(data)
    leaks = find_leaks(data, columns)
    if not allow_leak:
        refuse_leaks(leaks, owner, target)
    return (
        *_column_warnings(data, columns, leaks),
        *_doubtful_classes(data, target),
        *_odd_tasks(data, columns),
        *_doubtful_weights(data),
        *([] if grouped else repeated_rows(data, columns)),
    )


def site_warnings(
    data: TaskData, owner: str, *, allow_leak: bool, target: str
) -> tuple[LazyMessage, ...]:
    """Do the same for rows that stay where they are, whose columns a schema names."""
    columns = NumberColumns(data)
    leaks = find_leaks(data, columns)
    if not allow_leak:
        refuse_leaks(leaks, owner, target, "statistics")
    return tuple(_of_schema(doubt) for doubt in _column_warnings(data, columns, leaks))


def moment_warnings(
    leaks: Sequence[Leak], owner: str, *, allow_leak: bool
) -> tuple[LazyMessage, ...]:
    """Do the same for what the sums over rows tell of copies."""
    if not allow_leak:
        refuse_leaks(leaks, owner, "", "statistics")
    return tuple(_of_schema(_doubt("doubt.leak", leak)) for leak in leaks)


# What says that a column is to be left out.
_LEAVING_OUT = ("doubt.leak", "doubt.sum", "doubt.id_numbers", "doubt.id_text")


def _of_schema(doubt: LazyMessage) -> LazyMessage:
    """Say that a column is left out of the schema, where there is one."""
    known = doubt.key in _LEAVING_OUT
    return LazyMessage(f"{doubt.key}.site", doubt.fields) if known else doubt


def _column_warnings(
    data: TaskData, columns: NumberColumns, leaks: Sequence[Leak]
) -> tuple[LazyMessage, ...]:
    """Say which columns hold the target, name rows, or hold cells that mislead."""
    copies = find_target_copies(data) if data.form is Form.TARGETS else []
    return (
        *(_doubt("doubt.leak", leak) for leak in leaks),
        *(_doubt("doubt.copy", copy) for copy in copies),
        *_first(_row_ids(data, columns, {leak.column for leak in leaks}), "doubt.more_ids"),
        *_first(far_cell_sentences(data, columns), "doubt.more_far"),
        *_first(_missing_markers(data, columns), "doubt.more_markers"),
    )


def _missing_markers(data: TaskData, columns: NumberColumns) -> list[LazyMessage]:
    """Say which columns hold a number such as -999, which often means that a cell is missing."""
    found = []
    for target in targets_of(data):
        key = "far.target_named" if target.label else "far.target"
        what = LazyMessage(key, {"name": target.label})
        found += [_marker(what, *one) for one in _markers_in(target.numbers)]
    if columns.stored() is not None:
        return found
    for chosen, block in columns.blocks(np.arange(len(columns))):
        lows, highs = np.nanmin(block, axis=1, initial=0.0), np.nanmax(block, axis=1, initial=0.0)
        for j in np.flatnonzero(np.isin(lows, _MARKERS) | np.isin(highs, _MARKERS)):
            what = LazyMessage("doubt.column", {"column": columns.labels[chosen[j]]})
            found += [_marker(what, *one) for one in _markers_in(block[j])]
    return found


def _markers_in(column: NDArray[np.float64]) -> Iterator[tuple[float, NDArray[np.float64], int]]:
    """Go through the markers in a column, with its other cells and how many cells it has."""
    cells = column[np.isfinite(column)]
    if not len(cells):
        return
    for marker in {float(cells.min()), float(cells.max())} & set(_MARKERS):
        others = cells[cells != marker]
        count = len(cells) - len(others)
        few = len(np.unique(others)) < _FEWEST_OTHERS or count < _MARKED * len(cells)
        # Beyond the others by more than all that they span.
        if not few and count > 1 and np.abs(others - marker).min() > np.ptp(others):
            yield marker, others, len(cells)


def _marker(
    what: LazyMessage, marker: float, others: NDArray[np.float64], n_cells: int
) -> LazyMessage:
    word = f"{marker:.0f}"
    fields = {"what": what.node, "word": word, "count": n_cells - len(others), "rows": n_cells}
    fields |= {"low": f"{others.min():.7g}", "high": f"{others.max():.7g}"}
    return LazyMessage("doubt.marker", fields | {"option": missing_option([word])})


def _doubtful_classes(data: TaskData, target: str) -> list[LazyMessage]:
    """Say which classes look alike, and which have a single row: it is never held out."""
    y = np.asarray(data.y)
    if y.dtype.kind not in "OUS":
        return []
    rare, alike = [], []
    names = data.tasks if y.ndim == 2 else [target or "y"]
    for name, column in zip(names, y.T if y.ndim == 2 else [y], strict=True):
        counts = Counter(cell for cell in column.tolist() if isinstance(cell, str | bool))
        # Text with hardly any value twice is no class.
        if 2 * len(counts) < counts.total():
            rare += [repr(label) for label, count in counts.items() if count == 1]
            alike.append(near_misses(in_order(counts), str(name)))
    messages = [message for message in alike if message is not None]
    if rare:
        shown = ", ".join(rare[:_SHOWN]) + (", ..." if len(rare) > _SHOWN else "")
        messages.append(LazyMessage("doubt.rare_classes", {"name": shown, "n": len(rare)}))
    return messages


def _told_by_task(data: TaskData) -> list[LazyMessage]:
    """Say that the target is the same in all rows of every task."""
    if data.offsets is None or data.n_tasks < 2 or data.n_rows < 2 * data.n_tasks:
        return []
    y = np.asarray(data.y)
    first = np.repeat(y[data.offsets[:-1]], np.diff(data.offsets))
    # One value in all tasks is no effect of them.
    told = np.all(y == first) and not np.all(y == y[0])
    return [LazyMessage("doubt.told_by_task")] if told else []


def _odd_tasks(data: TaskData, columns: NumberColumns) -> list[LazyMessage]:
    """Say in which tasks, but not in all, the target has one value or a column none."""
    if told := _told_by_task(data):
        return told
    if data.offsets is None or data.n_tasks < 2:
        return []
    found, tasks = [], [str(label) for label in data.tasks]
    if constant := [repr(tasks[t]) for t in _constant_tasks(data)]:
        fields = {"n": len(constant), "names": _some(constant)}
        found.append(LazyMessage("doubt.constant_tasks", fields))
    empty = [
        LazyMessage("doubt.column_in_task", {"column": column, "task": repr(tasks[t])})
        for column, t in _empty_in_tasks(data, columns)
    ]
    if empty:
        more = [LazyMessage("doubt.more_empty", {"n": len(empty) - _NAMED})]
        shown = [*empty[:_NAMED], *(more if len(empty) > _NAMED else [])]
        nodes = [message.node for message in shown]
        found.append(LazyMessage("doubt.empty_in_tasks", {"places": nodes}))
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _constant_tasks(data: TaskData) -> list[int]:
    """Return the tasks whose target has one value, which is no chance of rows so few."""
    assert data.offsets is not None
    y, starts, sizes = np.asarray(data.y), data.offsets[:-1], np.diff(data.offsets)
    same = np.logical_and.reduceat(y == np.repeat(y[starts], sizes), starts)
    few = np.flatnonzero(same & (sizes >= _ROWS_OF_A_TASK))
    cells = y.tolist() if len(few) else []
    counts = Counter(cells)
    shares = ((int(t), counts[cells[starts[t]]] / len(y)) for t in few)
    return [t for t, share in shares if share ** sizes[t] < _CHANCE]


def _empty_in_tasks(data: TaskData, columns: NumberColumns) -> Iterator[tuple[str, int]]:
    """Go through the columns that have no cell in a task, with the task; others have some."""
    # Tables by task say themselves which columns they lack.
    if columns.stored() is not None or data.present is not None:
        return
    assert data.offsets is not None
    starts, sizes = data.offsets[:-1], np.diff(data.offsets)
    for label, gone in _gaps(data, columns):
        lost = np.add.reduceat(gone, starts, dtype=np.intp) == sizes
        if not lost.all() and not label.endswith(_PARTS):
            for t in np.flatnonzero(lost & (sizes >= _ROWS_OF_A_TASK)):
                yield label, int(t)


def _gaps(data: TaskData, columns: NumberColumns) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Go through the columns with missing cells, each with these."""
    for chosen, block in columns.blocks(np.arange(len(columns))):
        for k in np.flatnonzero(~np.isfinite(block.sum(axis=1))):
            yield columns.labels[chosen[k]], ~np.isfinite(block[k])
    if tables.is_table(data.X):
        frame = tables.open_frame(data.X)
        for j, (name, kind) in enumerate(frame.schema.items()):
            if not kind.is_numeric() and frame[:, j].null_count():
                yield repr(name), frame[:, j].is_null().to_numpy()


def _doubtful_weights(data: TaskData) -> list[LazyMessage]:
    """Say that one row has most of the weight, or that weights hardly count rows."""
    weight = data.sample_weight
    if weight is None or len(weight) < _FEW_ROWS:
        return []
    total, n = float(weight.sum()), len(weight)
    heaviest = int(np.argmax(weight))
    if weight[heaviest] > _MOST_WEIGHT * total:
        fields = {
            "place": counted(row_message(data, heaviest)),
            "share": f"{weight[heaviest] / total:.1%}",
        }
        return [LazyMessage("doubt.heavy_row", fields)]
    if _FEWEST_ROWS * n <= total <= _MOST_ROWS * n:
        return []
    shown = f"{total:,.0f}" if total >= 10 else f"{total:.3g}"
    return [LazyMessage("doubt.weights", {"total": shown, "rows": n})]


def _first(messages: list[LazyMessage], more: str) -> list[LazyMessage]:
    """Return the first messages, and how many more columns there are."""
    if len(messages) <= _SHOWN + 1:
        return messages
    return [*messages[:_SHOWN], LazyMessage(more, {"n": len(messages) - _SHOWN})]


def _doubt(key: str, leak: Leak) -> LazyMessage:
    if leak.is_sum:
        return LazyMessage("doubt.sum", {"columns": leak.column, **_places(leak, "")})
    return LazyMessage(key, {"column": leak.column, "relation": _relation(leak, "").node})


def copies_of(doubts: Sequence[LazyMessage]) -> tuple[str, ...]:
    """Return the columns that look like copies of a target by what is said of the data."""
    columns = (str(one.fields["column"]) for one in doubts if one.key == "doubt.leak")
    return tuple(dict.fromkeys(columns))


def refuse_leaks(found: Sequence[Leak], owner: str, target: str, of: str = "estimator") -> None:
    """Refuse the columns that are sure to hold the target, if there are any."""
    leaks = [leak for leak in found if leak.refused]
    if not leaks:
        return
    named = target and repr(target)
    leaking: list[LazyMessage] = [
        LazyMessage("doubt.leaking", {"column": leak.column, "relation": _relation(leak, named)})
        for leak in leaks[:_SHOWN]
    ]
    if len(leaks) > _SHOWN:
        leaking.append(LazyMessage("doubt.more_leaking", {"n": len(leaks) - _SHOWN}))
    names = ",".join(leak.column.strip("'\"") for leak in leaks)
    fields = {
        "owner": owner,
        "leaks": [message.node for message in leaking],
        "drop": f" '{names}'" if len(leaks) <= _SHOWN else "",
    }
    raise DataError(LazyMessage(f"{of}.refusal.leak{'s' * (len(leaks) > 1)}", fields))


def _relation(leak: Leak, target: str) -> LazyMessage:
    """Say of a column that it is the target, in which way and in which rows."""
    fields = _places(leak, target)
    if leak.tasks is not None and not (leak.as_label or leak.by_order):
        names, of = leak.tasks
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        more = {"count": len(names), "of": of, "names": shown}
        return LazyMessage("doubt.some_tasks", fields | more)
    # A share that is not 1 is not told as one.
    fields["auc"] = f"{leak.auc:.3f}" if leak.auc in (0, 1) else f"{min(leak.auc, 0.9999):.4f}"
    kinds = {"label": leak.as_label, "classes": leak.tells_classes, "order": leak.by_order,
             "ranges": leak.by_ranges, "threshold": leak.auc > 0,
             "within": leak.within, "equal": True}  # fmt: skip
    kind = next(kind for kind, holds in kinds.items() if holds)
    return LazyMessage(f"doubt.{kind}", fields)


def _places(leak: Leak, target: str) -> dict[str, Any]:
    """Return the target of a leak and the rows where it holds, as parts of a message."""
    name = leak.target or target
    whole = LazyMessage("doubt.all_rows")
    some = LazyMessage("doubt.some_rows", {"rows": leak.rows, "of": leak.of})
    return {
        "target": LazyMessage(
            "doubt.target_named" if name else "doubt.target", {"name": name}
        ).node,
        "rows": (some if leak.rows < leak.of else whole).node,
    }


def remarks_on(
    data: TaskData, target: str
) -> tuple[dict[str, LazyMessage], tuple[LazyMessage, ...]]:
    """Return a remark for each column that holds the target, and what else misleads."""
    # Identifiers and far cells are seen in single columns, without a target.
    columns, held = NumberColumns(data), {}
    for leak in find_leaks(data, columns):
        if leak.is_sum:
            held[target] = _doubt("", leak)
        else:
            relation = {"relation": _relation(leak, repr(target)).node}
            held[leak.column.strip("'\"")] = LazyMessage("cli.remark.leak", relation)
    return held, (
        *_first(_missing_markers(data, columns), "doubt.more_markers"),
        *_doubtful_classes(data, target),
        *_odd_tasks(data, columns),
        *repeated_rows(data, columns),
    )


def _row_ids(data: TaskData, columns: NumberColumns, known: set[str]) -> list[LazyMessage]:
    """Return messages about columns that number or name the rows."""
    found = []
    if columns.stored() is None:
        first = np.arange(min(_FEW_ROWS, columns.n_rows))
        for chosen, start in columns.blocks(np.arange(len(columns)), first):
            whole = ((start == np.rint(start)) | ~np.isfinite(start)).all(axis=1)
            for j in chosen[whole]:
                label, cells = columns.labels[j], columns.column(int(j))
                name = label.strip("'\"")
                if label in known or name.endswith(ELAPSED):
                    continue
                if numbers_rows(cells, name):
                    ends = {"low": f"{np.nanmin(cells):.0f}", "high": f"{np.nanmax(cells):.0f}"}
                    found.append(LazyMessage("doubt.id_numbers", {"column": label, **ends}))
    if tables.is_table(data.X):
        frame = tables.open_frame(data.X)
        for j, (name, kind) in enumerate(frame.schema.items()):
            present = len(frame) - frame[:, j].null_count()
            if kind.is_numeric() or kind.is_temporal() or present < _FEW_ROWS:
                continue
            # With more levels, the encoder refuses the column.
            if _NEARLY_ALL * present < frame[:, j].n_unique() <= TableEncoder().max_levels:
                found.append(LazyMessage("doubt.id_text", {"column": repr(name)}))
    return found


def numbers_rows(cells: NDArray[Any], name: str) -> bool:
    """Say whether numbers are those of rows: whole, different, and dense or called so."""
    # Whole numbers that differ in nearly every row may be measured, such as incomes or
    # populations; so many of which hardly one comes twice leave most numbers between them out,
    # as those of a series do not.
    values = np.asarray(cells, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < _FEW_ROWS or not np.array_equal(values, np.rint(values)):
        return False
    distinct = len(np.unique(values))
    dense = values.max() - values.min() + 1 <= distinct / _DENSE
    return distinct > _NEARLY_ALL * len(values) and bool(dense or _ID_NAME.search(name))
