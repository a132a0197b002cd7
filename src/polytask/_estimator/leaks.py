"""Columns that hold the target itself in another unit.

A column is a copy of the target if target = factor * column + constant in every row in which
both are present, or within every task with a factor and a constant of its own, up to the
rounding of the last digit that either of them is written with. A correlation, however high,
proves nothing: last year's population predicts this year's with a correlation of 0.9999, but
not to the last digit.

Named but not refused are a column that has the order of the target in all rows, as a rounded,
logarithmic or exponential copy has, one that is a copy in some tasks, not in all, one that tells a
class from all others, one from which classes were made by thresholds or that was made from the
target in this way, and columns of which the target is the sum, each times a factor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.number_columns import NumberColumns
from polytask._estimator.thresholds import APART, may_be_apart, separation, some_rows
from polytask.data import Form, TaskData, tables
from polytask.data.missing import missing_mask

Array = NDArray[np.float64]
Places = NDArray[np.intp]

# Fewer distinct values may agree by chance or by nature: such a column is named, not refused.
FEWEST = 10
# Rows that remain when a factor and a constant are taken off every task.
_SPARE = 10
_ROWS_OF_A_TASK = 3
# The share of the target's variation that rounding may leave: more says that the last digit is
# so coarse that it proves nothing, as for two ratings from 1 to 5 that differ by 1 at most.
_COARSE, _FINE = 1e-4, 1e-6
# A copy has a correlation of 1 up to rounding; columns below this on some rows are passed over.
_FIRST_LOOK = 0.9
_RUN = 2000
# Steps of arithmetic of a first look.
_WORK = 5e7
# Numbers of 32 bits hold seven digits.
_DIGITS = 1e-7
_EXACT = 1e-6
_ONE_UNIT = 0.01
_MOST_CLASSES, _ROWS_OF_A_CLASS = 50, 10
# A copy in a task: so many rows of it tell.
_ROWS_TO_TELL = 12
# Columns that the target may be a sum of, and rows that must be left beside them.
_MOST_PARTS, _LEFT = 200, 20
# The share of the largest part that a column adds to a sum at least.
_LEAST_PART = 1e-3
# The same order proves something with so many distinct values, so many rows beside those of the
# most frequent value. Values that are rounded alike have others that are about as near as these.
_LEVELS, _ROWS_IN_ORDER, _GAPS = 5, 30, 5.0
# Values of text that may each stand for a range of the target.
_MOST_RANGES = 9


@dataclass(frozen=True)
class Leak:
    """A column that holds the target."""

    column: str
    target: str
    within: bool
    rows: int
    of: int
    n_values: int
    as_label: bool = False
    # The tasks where it does, and of how many, if not in all; whether only the order is that of
    # the target; and whether `column` names several of which the target is the sum.
    tasks: tuple[tuple[str, ...], int] | None = None
    by_order: bool = False
    is_sum: bool = False
    # Whether each class has one value of it, but not each value one class.
    tells_classes: bool = False
    # Where a threshold makes the classes of the target, or ranges of it the values of the column:
    # the AUC of the two neighbours that are told apart least.
    auc: float = 0.0
    by_ranges: bool = False

    @property
    def refused(self) -> bool:
        """Whether there are enough distinct values to be sure."""
        return (
            self.n_values >= FEWEST
            and self.tasks is None
            and not (self.by_order or self.is_sum or self.tells_classes or self.auc)
        )


def find_leaks(data: TaskData, columns: NumberColumns) -> list[Leak]:
    """Return the columns that hold a target in another unit or under other names."""
    targets, offsets = targets_of(data), data.offsets
    starts = np.zeros(1, dtype=np.intp) if offsets is None else offsets[:-1]
    found = {}
    for t, j in _candidates(columns, targets, starts):
        x, y = columns.column(j), targets[t].numbers
        leak = _copy(x, y, starts, data.n_rows)
        if leak is not None:
            found[t, j] = Leak(columns.labels[j], targets[t].label, *leak)
    coded = {t: _codes(target.cells) for t, target in enumerate(targets)}
    classes = {t: codes for t, codes in coded.items() if codes is not None}
    pairs = {(t, columns.labels[j]) for t, j in found}
    labels = _label_copies(data, columns, targets, classes, pairs)
    others = []
    if columns.stored() is None:
        copies = {j for _, j in found}
        others = [
            *_copies_in_some_tasks(columns, targets[0], starts, data.tasks, copies),
            *_same_orders(columns, targets, set(found)),
            *([] if copies else _sums(columns, targets)),
        ]
    known = {leak.column for leak in labels}
    named = [*found.values(), *labels, *(leak for leak in others if leak.column not in known)]
    if columns.stored() is None:
        known = {leak.column for leak in named}
        made = _made_by_thresholds(data, columns, targets, classes)
        named += [leak for leak in made if leak.column not in known]
    return named


def _copies_in_some_tasks(
    columns: NumberColumns, target: Target, starts: Places, names: Sequence[Hashable],
    known: set[int],
) -> Iterator[Leak]:  # fmt: skip
    """Go through the columns that are the target up to a line in some tasks, but not in all."""
    n, y = columns.n_rows, target.numbers
    ends = np.append(starts[1:], n)
    large = np.flatnonzero(ends - starts >= _ROWS_TO_TELL)
    spans = {int(t): slice(starts[t], ends[t]) for t in large}
    told = [t for t, s in spans.items() if len(np.unique(y[s][np.isfinite(y[s])])) >= FEWEST]
    if len(starts) < 2:
        return
    among = np.array([j for j in range(len(columns)) if j not in known], dtype=np.intp)
    for chosen, block in columns.blocks(among):
        xx, xy, yy = _moments_by_task(block, y, starts)
        both = xx * yy
        shares = np.divide(xy**2, both, out=np.zeros_like(xy), where=both > 0)
        for j, x, share in zip(chosen, block, shares, strict=True):
            copied = [
                t for t in told if share[t] >= 1 - _COARSE and _is_line(x[spans[t]], y[spans[t]])
            ]
            # Among many tasks a trend may look like a rounded copy in a few of them.
            few = 2 * len(copied) <= len(told)
            copied = [t for t in copied if not few or share[t] >= 1 - _FINE]
            if copied:
                rows = int((np.isfinite(x) & np.isfinite(y)).sum())
                yield Leak(
                    columns.labels[int(j)], target.label, True, rows, n, FEWEST,
                    tasks=(tuple(str(names[t]) for t in copied), len(starts)),
                )  # fmt: skip


def _sums(columns: NumberColumns, targets: list[Target]) -> Iterator[Leak]:
    """Find columns of which a target is the sum, each times a factor, plus a constant."""
    d, n = len(columns), columns.n_rows
    if not 2 <= d <= _MOST_PARTS or n < d + _LEFT:
        return
    rows = _looked_at(n, d)
    first = columns.block(np.arange(d), rows)
    for target in targets:
        whole = _parts_of(first, target.numbers[rows])
        if whole is None:
            continue
        X = columns.block(whole)
        both = np.isfinite(X).all(axis=0) & np.isfinite(target.numbers)
        # Of the columns that took part by chance none is left among all rows.
        parts = _parts_of(X, target.numbers)
        if parts is not None and len(parts) > 1:
            labels = [columns.labels[int(j)] for j in whole[parts]]
            yield Leak(
                ", ".join(labels), target.label, False, int(both.sum()), n, FEWEST, is_sum=True
            )


def _parts_of(X: Array, y: Array) -> Places | None:
    """Return the rows of X that y is a sum of up to the last digits; None if it is none."""
    both = np.isfinite(X).all(axis=0) & np.isfinite(y)
    chosen, X, y = np.arange(len(X)), X[:, both], y[both]
    for _ in range(2):
        if len(y) < len(chosen) + _LEFT or len(np.unique(y)) < FEWEST:
            return None
        x, dy = X[chosen] - X[chosen].mean(axis=1, keepdims=True), y - y.mean()
        size = np.sqrt((x**2).mean(axis=1))
        unit = np.where(size > 0, size, 1.0)
        coef = np.linalg.lstsq((x / unit[:, None]).T, dy, rcond=1e-10)[0]
        left = np.abs(dy - coef @ (x / unit[:, None]))
        rounding = half_digit(y) + sum(
            abs(c / u) * half_digit(X[j]) for c, u, j in zip(coef, unit, chosen, strict=True)
        )
        exact = _EXACT * float(np.sqrt(np.mean(dy**2)))
        if np.sum(left**2) > _COARSE * np.sum(dy**2) or np.any(left > 2 * rounding + exact):
            return None
        chosen = chosen[np.abs(coef) > _LEAST_PART * np.abs(coef).max()]
    return chosen


def _is_line(x: Array, y: Array) -> bool:
    """Say whether y is linear in x to about its last digit."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _ROWS_TO_TELL or len(np.unique(x)) < FEWEST or len(np.unique(y)) < FEWEST:
        return False
    return _is_linear(x, y, np.zeros(1, dtype=np.intp))


def _same_orders(
    columns: NumberColumns, targets: list[Target], known: set[tuple[int, int]]
) -> Iterator[Leak]:
    """Go through the columns whose order is that of a target, up to ties."""
    rows = _looked_at(columns.n_rows, len(columns) * len(targets))
    for chosen, block in columns.blocks(np.arange(len(columns)), rows):
        for t, target in enumerate(targets):
            for j, some in zip(chosen, block, strict=True):
                if (t, int(j)) in known or not _orders_agree(some, target.numbers[rows]):
                    continue
                x, y = columns.column(int(j)), target.numbers
                both = np.isfinite(x) & np.isfinite(y)
                if _orders_agree(x, y) and _is_no_trend(x[both], y[both]):
                    values = min(len(np.unique(x[both])), len(np.unique(y[both])))
                    place = False, int(both.sum()), columns.n_rows, values
                    yield Leak(columns.labels[int(j)], target.label, *place, by_order=True)


def _is_no_trend(x: Array, y: Array) -> bool:
    """Say whether the same order proves a copy: not by few rows, a count, or steps of time."""
    (levels_x, n_x), (levels_y, n_y) = (np.unique(v, return_counts=True) for v in (x, y))
    fewest, most = sorted((len(levels_x), len(levels_y)))
    rest = len(x) - max(int(n_x.max()), int(n_y.max()))
    if fewest < _LEVELS or rest < _ROWS_IN_ORDER:
        return False
    # A rounded copy is a function of what was rounded: counts that differ by 1 are two counts.
    if len(np.unique(np.column_stack([x, y]), axis=0)) > most:
        return False
    fine, coarse = (y, levels_x) if len(levels_y) == most else (x, levels_y)
    steps = np.diff(coarse)
    if fewest == len(x) and np.ptp(steps) <= 1e-9 * steps.max():
        return False  # rows that are numbered, or times at equal distances
    # Values that are rounded lie everywhere; those of a trend stand together at every time.
    group = np.searchsorted(coarse, x if fine is y else y)
    order = np.lexsort((fine, group))
    steps, across = np.abs(np.diff(fine[order])), np.diff(group[order]) > 0
    sizes = np.bincount(group)
    inner = np.bincount(group[order][1:][~across], steps[~across], minlength=len(sizes))
    spacing = inner / np.maximum(sizes - 1, 1)
    near = np.maximum(spacing[1:], spacing[:-1])
    told = near > 0
    return not told.any() or bool(np.median(steps[across][told] / near[told]) <= _GAPS)


def _orders_agree(x: Array, y: Array) -> bool:
    """Say whether y never falls where x rises, or never rises, up to ties of both."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _SPARE:
        return False
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    rises = np.flatnonzero(np.diff(x) > 0)
    for side in (y, -y):
        least_after = np.minimum.accumulate(side[::-1])[::-1]
        if np.all(np.maximum.accumulate(side)[rises] <= least_after[rises + 1]):
            return bool(len(rises) > 0)
    return False


def find_target_copies(data: TaskData) -> list[Leak]:
    """Return the targets that are earlier targets in another unit."""
    targets = targets_of(data)
    if len(targets) < 2:
        return []
    values = np.stack([target.numbers for target in targets])
    start = np.zeros(1, dtype=np.intp)
    some = values[:, _looked_at(data.n_rows, len(values) ** 2)]
    alike = _correlated(some, some)
    pairs = [(int(s), int(t)) for s, t in np.argwhere(alike) if s < t]
    found = [(s, t, _copy(values[t], values[s], start, data.n_rows)) for s, t in pairs]
    labels = [target.label for target in targets]
    return [Leak(labels[t], labels[s], *leak) for s, t, leak in found if leak is not None]


@dataclass(frozen=True, eq=False)
class Target:
    """One target: its name in messages, its cells, and these as numbers, NaN if they are none."""

    label: str
    cells: NDArray[Any]
    numbers: Array


def targets_of(data: TaskData) -> list[Target]:
    """Return the targets of all rows."""
    y = np.asarray(data.y)
    if data.form is not Form.TARGETS:
        return [Target("", y, _numbers(y))]
    labels = (repr(name) for name in data.tasks)
    return [Target(label, y[:, t], _numbers(y[:, t])) for t, label in enumerate(labels)]


def _numbers(cells: NDArray[Any]) -> Array:
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        return np.full(len(cells), np.nan)
    if cells.dtype.kind in "OUS" and any(isinstance(cell, str) for cell in cells.tolist()):
        return np.full(len(cells), np.nan)
    values[~np.isfinite(values)] = np.nan
    return values


# A first look at some rows ------------------------------------------------------------------


def _looked_at(n: int, pairs: int, starts: Places | None = None) -> Places:
    """Return the rows of a first look: three runs, so that they hold whole tasks."""
    run = int(np.clip(_WORK / (20 * max(pairs, 1)), 30, _RUN))
    if n <= 3 * run:
        return np.arange(n)
    first = np.array([0, (n - run) // 2, n - run])
    if starts is not None:
        # From the first row of a task on.
        first = np.minimum(starts[np.searchsorted(starts, first, side="right") - 1], n - run)
    return np.unique(first[:, None] + np.arange(run))


def _candidates(
    columns: NumberColumns, targets: list[Target], starts: Places
) -> Iterator[tuple[int, int]]:
    """Go through the targets and columns that may be copies as far as some rows tell."""
    among = _full_enough(columns, targets, starts)
    rows = _looked_at(columns.n_rows, len(among) * len(targets), starts)
    task = np.searchsorted(starts, rows, side="right")
    begins = np.flatnonzero(np.diff(task, prepend=-1))
    numbers = np.stack([target.numbers for target in targets])
    known = np.flatnonzero(np.isfinite(numbers).any(axis=1))
    if not len(known):
        return
    for chosen, block in columns.blocks(among, rows):
        if len(begins) > 1:
            xx, xy, yy = _moments_by_task(block, numbers[0, rows], begins)
            explained = np.divide(xy**2, xx, out=np.zeros_like(xx), where=xx > 0).sum(axis=1)
            alike = (explained >= _FIRST_LOOK * yy.sum(axis=1))[:, None]
        else:
            alike = _correlated(block, numbers[np.ix_(known, rows)])
        for j, t in np.argwhere(alike):
            yield int(known[t]), int(chosen[j])


def _full_enough(columns: NumberColumns, targets: list[Target], starts: Places) -> Places:
    """Return the columns to look at: sparse ones with a cell wherever the target varies."""
    stored = columns.stored()
    if stored is None:
        return np.arange(len(columns))
    needed = []
    for target in targets:
        same = 0
        for part in np.split(target.numbers, starts[1:]):
            seen = part[np.isfinite(part)]
            same += int(np.unique(seen, return_counts=True)[1].max()) if len(seen) else 0
        needed.append(int(np.isfinite(target.numbers).sum()) - same)
    return np.flatnonzero(stored >= max(min(needed), 1))


def _correlated(X: Array, Y: Array) -> NDArray[np.bool_]:
    """Return which rows of X and Y are nearly linear in each other, shape (len(X), len(Y))."""
    (x, has_x), (y, has_y) = _standardised(X), _standardised(Y)
    n = has_x @ has_y.T
    with np.errstate(divide="ignore", invalid="ignore"):
        sx, sy = x @ has_y.T, has_x @ y.T
        xx, yy = x**2 @ has_y.T - sx**2 / n, has_x @ (y**2).T - sy**2 / n
        return ~((x @ y.T - sx * sy / n) ** 2 < _FIRST_LOOK * xx * yy)


def _standardised(X: Array) -> tuple[Array, Array]:
    """Return rows with mean 0 and size 1, zeros for missing cells, and which are present."""
    has = np.isfinite(X)
    scale = np.max(np.abs(X), axis=1, where=has, initial=0.0)
    x = np.where(has, X, 0.0) / np.where(scale > 0, scale, 1.0)[:, None]
    count = np.maximum(has.sum(axis=1), 1)
    x -= (x.sum(axis=1) / count)[:, None]
    x[~has] = 0.0
    size = np.sqrt((x**2).sum(axis=1) / count)
    return x / np.where(size > 0, size, 1.0)[:, None], has.astype(np.float64)


def _moments_by_task(X: Array, y: Array, begins: Places) -> tuple[Array, Array, Array]:
    """Return sums of squares and products about the means of tasks, each (len(X), tasks)."""
    x, has = _standardised(X)
    has *= np.isfinite(y)
    sizes = np.diff(begins, append=len(y))
    count = np.maximum(np.add.reduceat(has, begins, axis=1), 1.0)
    centred = []
    for values in (x * has, np.nan_to_num(_standardised(y[None])[0]) * has):
        mean = np.add.reduceat(values, begins, axis=1) / count
        centred.append((values - np.repeat(mean, sizes, axis=1)) * has)
    dx, dy = centred
    xx, xy, yy = (np.add.reduceat(v, begins, axis=1) for v in (dx * dx, dx * dy, dy * dy))
    return xx, xy, yy


# A closer look at all rows ------------------------------------------------------------------


def _copy(x: Array, y: Array, starts: Places, n: int) -> tuple[bool, int, int, int] | None:
    """Return `within`, `rows`, `of` and `n_values` of a :class:`Leak`, None if it is none."""
    both = np.isfinite(x) & np.isfinite(y)
    present = int(both.sum())
    if present < _SPARE:
        return None
    task = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))[both]
    x, y = x[both], y[both]
    values = min(len(np.unique(x)), len(np.unique(y)))
    if values < 2:
        return None
    if _is_linear(x, y, np.zeros(1, dtype=np.intp)):
        return False, present, n, values
    begins = np.flatnonzero(np.diff(task, prepend=-1))
    if len(begins) > 1 and values >= FEWEST and _is_linear(x, y, begins):
        return True, present, n, values
    return None


def _is_linear(x: Array, y: Array, begins: Places) -> bool:
    """Say whether y is linear in x up to its last digit, in every task that tells."""
    sizes = np.diff(begins, append=len(x))
    scale_x, scale_y = np.abs(x).max() or 1.0, np.abs(y).max() or 1.0
    half_x, half_y = half_digit(x) / scale_x, half_digit(y) / scale_y
    dx, dy = (
        v - np.repeat(np.add.reduceat(v, begins) / sizes, sizes)
        for v in (x / scale_x, y / scale_y)
    )
    xx, xy, yy = (np.add.reduceat(v, begins) for v in (dx * dx, dx * dy, dy * dy))
    tells = (sizes >= _ROWS_OF_A_TASK) & (yy > 1e-24 * sizes)
    counted = int(sizes[tells].sum())
    if counted - 2 * tells.sum() < _SPARE or 2 * counted < len(x):
        return False
    slope = np.repeat(np.divide(xy, xx, out=np.zeros_like(xy), where=xx > 0), sizes)
    left, rows = dy - slope * dx, np.repeat(tells, sizes)
    if np.sum(left[rows] ** 2) > _COARSE * yy[tells].sum():
        return False
    size, left, rounding_x = np.abs(slope[rows]), left[rows], (np.abs(slope) * half_x)[rows]
    rounding_y = half_y[rows]
    exact = _EXACT * np.sqrt(yy[tells].sum() / counted) + 1e-12 * (1 + size)
    if np.all(np.abs(left) <= exact):
        return True
    # In one unit a copy has the same digits: counts that differ by 1 are two counts.
    if np.mean(np.abs(rounding_x - rounding_y) < _ONE_UNIT * rounding_y) > 0.5:
        return False
    # The fitted line is off as well, most of all at its ends.
    ends = dx**2 / np.repeat(np.where(xx > 0, xx, 1.0), sizes)
    slack = 1 + 2 * np.sqrt(1 / np.repeat(sizes, sizes) + ends)[rows]
    free = (counted - 2 * tells.sum()) / counted
    # Whether values that occur twice and more go with one value of the other each.
    (levels, a), (_, b) = (np.unique(values[rows], return_inverse=True) for values in (x, y))
    paired = 2 * len(levels) <= np.size(a) and _one_to_one(a, b)
    for off, square in (
        (rounding_x, rounding_x**2),
        (rounding_y, rounding_y**2),
        (rounding_x + rounding_y, rounding_x**2 + rounding_y**2),
    ):
        # Rounding errors are uniform: those of a trend over whole weeks are mostly less.
        uniform = np.sum(left**2) >= 0.5 * free * np.sum(square) / 3
        if (uniform or paired) and np.all(np.abs(left) <= slack * off + exact):
            return True
    return False


def half_digit(values: Array) -> Array:
    """Return half a unit of the last digit that each value is written with."""
    # The digits are those after the point, or the significant ones, whichever are coarser.
    with np.errstate(all="ignore"):
        decimals = next((k for k in range(-6, 10) if _are_whole(values * 10.0**k)), None)
        size = np.floor(np.log10(np.abs(np.where(values == 0, 1.0, values))))
        leading = values / 10.0**size
        digits = next((k for k in range(8) if _are_whole(leading * 10.0**k)), None)
        unit = np.zeros(len(values)) if digits is None else 10.0 ** (size - digits)
    return 0.5 * (unit if decimals is None else np.maximum(unit, 10.0**-decimals))


def _are_whole(values: Array) -> bool:
    return bool(np.all(np.abs(values - np.rint(values)) <= _DIGITS * np.abs(values) + 1e-9))


# Copies of labels ----------------------------------------------------------------------------


def _label_copies(
    data: TaskData, columns: NumberColumns, targets: list[Target], classes: dict[int, Places],
    known: set[tuple[int, str]],
) -> list[Leak]:  # fmt: skip
    """Return the columns that hold the classes under other names."""
    if not classes or columns.stored() is not None:
        return []
    found = []
    rows = _looked_at(data.n_rows, 1)
    counts = {int(codes.max()) + 1 for codes in classes.values()}
    # One of three and more classes may be told by a column of two values.
    counts |= {2} if max(counts) > 2 else set()
    for label, some, whole in _columns_of_few(data, columns, rows, counts):
        for t, codes in classes.items():
            if (t, label) in known or not _is_told(some, codes[rows]):
                continue
            values = whole()
            if not _one_to_one(some, codes[rows]):
                if _is_told(values, codes, _ROWS_OF_A_CLASS):
                    rows_told = int(((values >= 0) & (codes >= 0)).sum())
                    place = False, rows_told, data.n_rows, 2
                    found.append(Leak(label, targets[t].label, *place, tells_classes=True))
                continue
            both = (values >= 0) & (codes >= 0)
            n_values = len(np.unique(codes[both]))
            # Values that are seen once go with anything.
            if n_values < 2 or both.sum() - n_values < _SPARE or not _one_to_one(values, codes):
                continue
            if np.isfinite(targets[t].numbers).any():
                # Numbers of a category, such as the price of a product, are no copy of it.
                n_values = min(n_values, FEWEST - 1)
            place = False, int(both.sum()), data.n_rows, n_values
            found.append(Leak(label, targets[t].label, *place, as_label=True))
    return found


def _made_by_thresholds(
    data: TaskData, columns: NumberColumns, targets: list[Target], classes: dict[int, Places]
) -> Iterator[Leak]:
    """Go through columns of which classes are ranges, and those whose values are ranges of y."""
    rows, numeric = some_rows(data.n_rows), set(columns.labels)
    # Numbers of more values than a few have an order, which is compared as such.
    few = {
        t: codes
        for t, codes in classes.items()
        if codes.max() < _LEVELS - 1 or not np.isfinite(targets[t].numbers).any()
    }
    for chosen, block in columns.blocks(np.arange(len(columns) if few else 0), rows):
        for j, some in zip(chosen, block, strict=True):
            label, whole = columns.labels[j], partial(columns.column, int(j))
            for t, codes in few.items():
                if may_be_apart(some, codes[rows]):
                    yield from _apart(label, targets[t], whole(), codes)
    measured = {t: target for t, target in enumerate(targets) if t not in few}
    counts = set(range(2, _MOST_RANGES + 1) if measured else ())
    for label, some, told in _columns_of_few(data, columns, rows, counts):
        for target in measured.values():
            ordered = label in numeric and some.max() >= _LEVELS - 1
            if not ordered and may_be_apart(target.numbers[rows], some):
                yield from _apart(label, target, target.numbers, told(), by_ranges=True)


def _apart(
    label: str, target: Target, numbers: Array, groups: Places, *, by_ranges: bool = False
) -> Iterator[Leak]:
    """Return a leak where the numbers keep the groups apart."""
    both = np.isfinite(numbers) & (groups >= 0)
    # Names of classes in a few rows other than theirs are no thresholds.
    fine = len(np.unique(numbers[both])) > groups.max(initial=0) + 1
    if fine and (auc := separation(numbers, groups)) >= APART:
        place = label, target.label, False, int(both.sum()), len(numbers), FEWEST
        yield Leak(*place, auc=auc, by_ranges=by_ranges)


def _is_told(values: Places, classes: Places, least: int = 1) -> bool:
    """Say whether all rows of a class, of as many rows at least, have one value."""
    both = (values >= 0) & (classes >= 0)
    a, b = values[both], classes[both]
    sizes = np.unique(b, return_counts=True)[1]
    pairs = len(np.unique(a * (int(b.max(initial=0)) + 1) + b))
    return bool(pairs == len(sizes) and sizes.min(initial=least) >= least)


def _one_to_one(a: Places, b: Places) -> bool:
    both = (a >= 0) & (b >= 0)
    a, b = a[both], b[both]
    if not len(a):
        return True
    pairs = len(np.unique(a * (int(b.max()) + 1) + b))
    return bool(pairs == len(np.unique(a)) == len(np.unique(b)))


def _codes(cells: NDArray[Any]) -> Places | None:
    """Return the number of every cell's value, -1 if missing; None for many values, or one."""
    missing, labels = missing_mask(cells), dict[Any, int]()
    codes = np.full(len(cells), -1)
    if cells.dtype.kind == "f" and len(np.unique(cells[~missing][:_RUN])) > _MOST_CLASSES:
        return None
    for row in np.flatnonzero(~missing):
        codes[row] = labels.setdefault(cells[row], len(labels))
        if len(labels) > _MOST_CLASSES:
            return None
    return codes if len(labels) > 1 else None


def _columns_of_few(
    data: TaskData, columns: NumberColumns, rows: Places, counts: set[int]
) -> Iterator[tuple[str, Places, Callable[[], Places]]]:
    """Go through the columns with as many values as classes: codes of some rows, and of all."""
    for chosen, block in columns.blocks(np.arange(len(columns) if counts else 0), rows):
        steps = np.sum(np.diff(np.sort(block, axis=1), axis=1) > 0, axis=1)
        for j, cells in zip(chosen[steps < max(counts)], block[steps < max(counts)], strict=True):
            levels = np.unique(cells[np.isfinite(cells)])
            if len(levels) in counts:
                whole = partial(_numbered, columns, int(j), levels)
                yield columns.labels[int(j)], _places(cells, levels), whole
    if counts and tables.is_table(data.X):
        frame = tables.open_frame(data.X)
        for j, (name, kind) in enumerate(frame.schema.items()):
            if kind.is_numeric() or kind.is_temporal():
                continue
            # A missing cell counts as a value.
            if {frame[:, j].n_unique() - missing for missing in (0, 1)} & counts:
                whole = partial(_coded, frame[:, j])
                some = _codes(tables.column_values(frame[:, j][rows]))
                yield repr(name), whole()[rows] if some is None else some, whole


def _coded(column: Any) -> Places:  # noqa: ANN401 - a column of narwhals
    """Return the number of every cell's value, -1 in all where there is one value alone."""
    codes = _codes(tables.column_values(column))
    return np.full(len(column), -1) if codes is None else codes


def _numbered(columns: NumberColumns, j: int, levels: Array) -> Places:
    return _places(columns.column(j), levels)


def _places(cells: Array, levels: Array) -> Places:
    """Return the place of each cell among the levels, -1 for missing ones, more for others."""
    codes = np.minimum(np.searchsorted(levels, cells), len(levels) - 1)
    codes[levels[codes] != cells] = len(levels)
    codes[~np.isfinite(cells)] = -1
    return codes
