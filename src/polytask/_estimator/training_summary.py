"""What a model keeps of its training rows: quantiles of every column in every task, no rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.training import Collected
from polytask._linalg import is_sparse
from polytask._registry import saveable
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.missing import missing_mask

Array = NDArray[np.float64]
Index = NDArray[np.intp]

LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Columns times tasks of which something is kept, so that files stay small, and the cells that
# are looked at, so that a fit stays fast; rows of a task are then taken evenly.
_MOST_KEPT = 2**17
_MOST_CELLS = 2**19
_MOST_ROWS, _LEAST_ROWS = 1000, 3
_MOST_CLASSES = 30
_BY_GROUP = ("counts", "missing", "cuts", "below", "above", "mean", "variance")


@saveable("estimator.training_summary")
@dataclass(frozen=True, eq=False)
class TrainingSummary:
    """How every column was distributed in every task."""

    # Shapes: missing, counts (G, C), cuts, below, above (G, C, len(LEVELS)), binary (C,). There
    # is a group of rows per task, in the targets form one of all rows (tasks is empty). Columns
    # are the features, then targets, as `classes` says of each: its classes, None for a number.
    tasks: tuple[Hashable, ...]
    n_features: int
    classes: tuple[tuple[Hashable, ...] | None, ...]
    binary: NDArray[np.bool_]
    counts: NDArray[Any]
    missing: NDArray[Any]
    # Numbers that are quantiles of the rows, and how many of these are below and above each.
    cuts: NDArray[np.float32] | None = None
    below: NDArray[np.uint16] | None = None
    above: NDArray[np.uint16] | None = None
    # Of models that were fitted from statistics, in place of these. Shapes: (G, C).
    mean: Array | None = None
    variance: Array | None = None

    @classmethod
    def of(cls, data: TaskData, raw: TaskData, encoder: TableEncoder | None) -> Any:  # noqa: ANN401
        """Summarise encoded rows, which are `raw` before; None where they are too wide."""
        if not _is_plain(data.X):
            return None
        classes = tuple(map(_classes_of, _target_columns(raw)))
        groups = row_groups(data)
        width = data.n_features + sum(1 if c is None else len(c) for c in classes)
        if len(groups) * width > _MOST_KEPT or data.y is None:
            return None
        most = int(np.clip(_MOST_CELLS // (len(groups) * width), 20, _MOST_ROWS))
        # Rows without weight are as if they were not there; other weights do not count.
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        kept = np.flatnonzero(weight > 0)
        first, end = (
            np.searchsorted(kept, [getattr(rows, side) for rows in groups])
            for side in ("start", "stop")
        )
        sizes = end - first
        taken = np.minimum(sizes, most)
        group = np.repeat(np.arange(len(groups)), taken)
        place = np.arange(len(group)) - np.repeat(np.cumsum(taken) - taken, taken)
        chosen = kept[first[group] + place * sizes[group] // taken[group]]
        flat = all_cells(data, raw, TableGaps(raw, encoder), classes, chosen)
        binary = ((flat == 0) | (flat == 1) | np.isnan(flat)).all(axis=0)
        cells = np.full((len(groups), max(int(taken.max()), 1), width), np.nan)
        cells[group, place] = flat
        counts = np.isfinite(cells).sum(axis=1)
        # Of one or two rows the quantiles would be the rows.
        few = counts < _LEAST_ROWS
        cells[np.broadcast_to(few[:, None], cells.shape)] = np.nan
        missing = np.where(few, 0, taken[:, None] - counts)
        counts = np.where(few, 0, counts)
        cuts = _quantiles(cells, counts)
        below, above = counted(cells, cuts)
        return cls(
            () if data.form is Form.TARGETS else data.tasks,
            data.n_features,
            classes,
            binary,
            counts,
            missing,
            cuts,
            below.astype(np.uint16),
            above.astype(np.uint16),
        )

    @classmethod
    def of_moments(cls, data: TaskData, found: Collected) -> TrainingSummary | None:
        """Summarise statistics by means and variances; `data` are rows that have the same."""
        groups, d = row_groups(data), data.n_features
        classes = tuple(map(_classes_of, _target_columns(data)))
        if len(groups) * (d + len(classes)) > _MOST_KEPT:
            return None
        cells = all_cells(data, data, TableGaps(data, None), classes, slice(None))
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        means, variances = [], []
        for rows in groups:
            own = np.where(np.isnan(cells[rows]), 0.0, weight[rows, None])
            total = np.maximum(own.sum(axis=0), np.finfo(float).tiny)
            mean = (own * np.nan_to_num(cells[rows])).sum(axis=0) / total
            means.append(mean)
            away = np.nan_to_num(cells[rows] - mean)
            variances.append((own * away**2).sum(axis=0) / total)
        mean, variance = np.array(means), np.array(variances)
        # A feature of 0 and 1 has the variance of a share.
        binary = np.all(np.abs(variance - mean * (1 - mean)) <= 1e-6 * (1 + mean**2), axis=0)
        targets_form = data.form is Form.TARGETS
        n = np.array([found.n_rows] if targets_form else found.rows_per_task)
        counts = np.repeat(n[:, None], mean.shape[1], axis=1)
        if data.present is not None and not targets_form:
            counts[:, :d] *= np.asarray(data.present, dtype=counts.dtype)
        if found.in_parts:
            # Of the targets of rows in parts only shares of classes and means are known.
            numbers = [c is None for c in classes for _ in ((None,) if c is None else c)]
            counts[:, d + np.flatnonzero(numbers)] = 0
        return cls(
            () if targets_form else data.tasks, d, classes, binary,
            counts, np.zeros_like(counts), mean=mean, variance=variance,
        )  # fmt: skip

    def of_groups(self, groups: list[int]) -> TrainingSummary:
        """Return some of the groups."""
        held = {name: getattr(self, name) for name in _BY_GROUP}
        parts: Any = {name: None if v is None else v[groups] for name, v in held.items()}
        return replace(self, tasks=tuple(self.tasks[g] for g in groups if self.tasks), **parts)

    def target_ends(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the largest of every column of targets, NaN where none is kept."""
        cuts = np.full((1, *self.counts.shape[1:], 1), np.nan) if self.cuts is None else self.cuts
        ends = cuts[:, self.n_features :]
        return np.fmin.reduce(ends[..., 0], axis=0), np.fmax.reduce(ends[..., -1], axis=0)

    def never_negative(self) -> list[int]:
        """Return how many numbers of every target are known where none is below 0, else 0."""
        counts, least = self.counts[:, self.n_features :].sum(axis=0), self.target_ends()[0]
        # A target of classes has a column for each.
        numbers = all(c is None for c in self.classes)
        return np.where(least >= 0, counts, 0).tolist() if numbers else []

    def target_names(self, tasks: Any) -> list[str]:  # noqa: ANN401 - labels
        """Return the names of the columns of targets."""
        labels = [str(task) for task in tasks] if len(self.classes) > 1 else ["(target)"]
        pairs = zip(labels, self.classes, strict=True)
        return [f"{t}{v}" for t, c in pairs for v in ([""] if c is None else [f"={k}" for k in c])]


class TableGaps:
    """Which cells of the columns of a table are missing, by the features made of them."""

    def __init__(self, raw: TaskData, encoder: TableEncoder | None) -> None:
        self._columns: dict[int, NDArray[Any]] = {}
        # The feature of each column whose gaps are counted.
        self.first: Index | None = None
        if encoder is None:
            return
        self._sources = encoder.source_columns()
        self.first = np.unique(self._sources, return_index=True)[1]
        have = set(tables.column_names(raw.X))
        for j in np.unique(self._sources).tolist():
            name = str(encoder.feature_names_in_[j])
            if name in have:
                self._columns[j] = tables.get_column(raw.X, name)
            else:
                self._columns[j] = np.full(raw.n_rows, None)

    def fill(self, cells: Array, rows: Any) -> None:  # noqa: ANN401 - numbers of rows
        """Put NaN where cells are missing. Shapes: cells (n, n_features)."""
        for j, column in self._columns.items():
            values = column[rows]
            mask = missing_mask(values)
            if values.dtype == object:
                blank = [isinstance(v, str) and not v.strip() for v in values.tolist()]
                mask = mask | np.array(blank, dtype=bool)
            if mask.any():
                cells[np.ix_(np.flatnonzero(mask), np.flatnonzero(self._sources == j))] = np.nan


def row_groups(data: TaskData) -> list[slice]:
    """Return the rows of every task, in the targets form all rows."""
    if data.form is Form.TARGETS:
        return [slice(0, data.n_rows)]
    return [data.task_slice(t) for t in range(data.n_tasks)]


def all_cells(
    data: TaskData,
    raw: TaskData,
    lacking: TableGaps,
    classes: tuple[tuple[Hashable, ...] | None, ...],
    rows: Any,  # noqa: ANN401 - numbers of rows
) -> Array:
    """Return features and targets of some rows as numbers, NaN where there is none."""
    held: Any = getattr(data.X, "values", data.X)
    X = held[rows]
    features = np.array(X.toarray() if is_sparse(X) else X, dtype=float)
    lacking.fill(features, rows)
    columns = []
    # Of new rows the targets may not be known.
    for values, known in zip(_target_columns(raw), classes, strict=False):
        own = values[rows]
        if known is None:
            columns.append(own.astype(float))
            continue
        gap = np.where(missing_mask(own), np.nan, 0.0)
        columns += [gap + np.array([v == one for v in own.tolist()]) for one in known]
    return np.column_stack([features, *columns])


def counted(cells: Array, cuts: NDArray[Any]) -> tuple[Index, Index]:
    """Count cells below and above each number. Shapes: cells (..., n, C), others (..., C, K)."""
    wide = [cuts[..., None, :, k] for k in range(cuts.shape[-1])]
    below = [(cells < cut).sum(axis=-2) for cut in wide]
    above = [(cells > cut).sum(axis=-2) for cut in wide]
    return np.stack(below, axis=-1), np.stack(above, axis=-1)


def _quantiles(cells: Array, n: Index) -> NDArray[np.float32]:
    """Return the cuts of each group. Shapes: cells (G, n, C), n (G, C), result (G, C, K)."""
    places = np.rint(np.multiply.outer(LEVELS, np.maximum(n - 1, 0))).astype(np.intp)
    ordered = np.sort(cells, axis=1)
    with np.errstate(over="ignore"):
        found = np.take_along_axis(ordered, places.transpose(1, 0, 2), axis=1)
        return found.transpose(0, 2, 1).astype(np.float32)


def _is_plain(X: Any) -> bool:  # noqa: ANN401 - any design
    values = getattr(X, "values", X)
    return is_sparse(values) or (
        isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "biuf"
    )


def _target_columns(raw: TaskData) -> list[NDArray[Any]]:
    if raw.y is None:
        return []
    y = np.asarray(raw.y)
    return [y] if y.ndim == 1 else list(y.T)


def _classes_of(values: NDArray[Any]) -> tuple[Hashable, ...] | None:
    """Return the most frequent labels of a target that is no number, of two the rarer one."""
    if values.dtype.kind in "iuf":
        return None
    known = values[~missing_mask(values)].tolist()
    # Beside text numbers are objects, too.
    if known and all(isinstance(one, Real) and not isinstance(one, bool) for one in known):
        return None
    labels = [label for label, _ in Counter(known).most_common(_MOST_CLASSES)]
    return tuple(labels[1:] if len(labels) == 2 else labels)
