"""Rows that are read in parts, several times, and the few that stand for them."""

from __future__ import annotations

import operator
import warnings
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pandas.util import hash_array

from polytask._estimator.training import encode
from polytask._linalg import is_sparse
from polytask.data import Form, TableEncoder, TaskData, tables
from polytask.data.dealing import scrambled
from polytask.data.labels import in_order
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError, DataWarning
from polytask.messages import LazyMessage
from polytask.statistics.cells import Array
from polytask.statistics.columns import Columns, no_rows, other_rows
from polytask.statistics.sources import Source

Sums = TypeVar("Sums")
Key = tuple[Hashable, Hashable]

# A task of more classes than these is one of numbers.
_MOST_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Summary:
    """The rows of every task, and of every class of it: how many, weights, means and spreads."""

    # Shapes: n_rows, weight, target (n_keys,), mean, square (n_keys, n_features): `square` is the
    # weighted sum of squares about the mean. `rows` counts those of all tasks once.

    keys: tuple[Key, ...]
    n_rows: NDArray[np.int64]
    weight: Array
    target: Array
    mean: Array
    square: Array
    rows: int

    @classmethod
    def of(cls, data: TaskData, by_class: bool) -> Summary:
        """Sum up encoded rows."""
        given: Any = data.X
        X = np.asarray(given.toarray() if is_sparse(given) else given)
        weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
        keys: list[Key] = []
        parts: list[tuple[int, float, float, Array, Array]] = []
        for t, label in enumerate(data.tasks):
            own = slice(None) if data.form is Form.TARGETS else data.task_slice(t)
            y = np.asarray(data.y)
            y = y[:, t] if data.form is Form.TARGETS else y[own]
            for value, rows in _classes(y, by_class, label):
                w, some = weight[own][rows], np.asarray(X[own][rows], dtype=float)
                total = float(w.sum())
                mean = w @ some / total
                level = 0.0 if by_class else float(w @ y[rows].astype(float)) / total
                keys.append((label, value))
                parts.append((len(w), total, level, mean, w @ (some - mean) ** 2))
        n, totals, levels, means, squares = zip(*parts, strict=True)
        made = np.array(n), np.array(totals), np.array(levels), np.array(means), np.array(squares)
        return cls(tuple(keys), *made, data.n_rows)

    def __add__(self, other: Summary) -> Summary:
        """Return the summary of these rows and others."""
        # Chan, Golub and LeVeque (1983), equations 1.5a and 1.5b: nothing is subtracted.
        keys = tuple(dict.fromkeys((*self.keys, *other.keys)))
        place = {key: k for k, key in enumerate(keys)}
        own = np.array([place[key] for key in other.keys], dtype=np.intp)
        n = len(keys) - len(self.keys)

        def padded(values: Any) -> Any:  # noqa: ANN401 - any array
            return np.concatenate([values, np.zeros((n, *values.shape[1:]), values.dtype)])

        n_rows, weight, target = map(padded, (self.n_rows, self.weight, self.target))
        mean, square = padded(self.mean), padded(self.square)
        share = other.weight / (weight[own] + other.weight)
        away = other.mean - mean[own]
        square[own] += other.square + (share * weight[own])[:, None] * away**2
        mean[own] += share[:, None] * away
        target[own] += share * (other.target - target[own])
        n_rows[own] += other.n_rows
        weight[own] += other.weight
        return Summary(keys, n_rows, weight, target, mean, square, self.rows + other.rows)


def _classes(y: Any, by_class: bool, task: Hashable) -> list[tuple[Hashable, Any]]:  # noqa: ANN401
    """Return every class with its rows; None with those that have a number."""
    seen = np.flatnonzero(~missing_mask(y))
    if not by_class:
        return [(None, seen)] if len(seen) else []
    values = y[seen].tolist()
    codes: dict[Hashable, int] = {}
    which = np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.intp)
    if len(codes) > _MOST_CLASSES:
        fields = {"task": repr(task), "n": len(codes), "most": _MOST_CLASSES}
        raise DataError(LazyMessage("statistics.refusal.many_classes", fields))
    return [(value, seen[which == k]) for value, k in codes.items()]


@dataclass(eq=False)
class RowsInParts:
    """What an estimator is fitted on: it reads the parts once for every step."""

    source: Source
    columns: Columns
    encoder: TableEncoder
    by_class: bool
    # How often the rows have been read, and how many there were.
    passes: int = 0
    known_rows: int | None = None
    _known_sum: int | None = field(init=False, default=None)
    names: tuple[str, ...] = field(init=False)
    summary: Summary = field(init=False)
    in_parts = True

    def __post_init__(self) -> None:
        """Read the rows for the first time."""
        self.summary = self.summed(partial(Summary.of, by_class=self.by_class), operator.add)

    @property
    def n_columns(self) -> int:
        """Number of columns that `predict` will be given."""
        return len(self.names)

    @property
    def task_column(self) -> str | None:
        """The column that holds the task labels."""
        return self.columns.task_column

    @property
    def n_features(self) -> int:
        """How many features there are after encoding."""
        return int(self.summary.mean.shape[1])

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return self.summary.rows

    @property
    def rows_per_task(self) -> tuple[int, ...]:
        """How many labelled rows of each task."""
        counts = dict.fromkeys(self.tasks, 0)
        for (task, _), n in zip(self.summary.keys, self.summary.n_rows.tolist(), strict=True):
            counts[task] += n
        return tuple(counts.values())

    @property
    def tasks(self) -> tuple[Hashable, ...]:
        """The task labels."""
        if self.columns.several:
            return self.columns.targets
        return in_order(dict.fromkeys(task for task, _ in self.summary.keys))

    def summed(
        self, summary: Callable[[TaskData], Sums], together: Callable[[Sums, Sums], Sums]
    ) -> Sums:
        """Read all rows once, and return the summaries of all parts put together."""
        self.passes += 1
        read = _Pass(self.columns, self.encoder, summary, together)
        whole = self.source.summed(read.of, read.together)
        n_rows, found = (0, None) if whole is None else (whole.n_rows, whole.summed)
        if self.known_rows not in (None, n_rows):
            raise other_rows(self.known_rows, n_rows)
        if whole is None or found is None:
            raise no_rows(self.columns.owner)
        if self._known_sum not in (None, whole.checksum):
            raise DataError(LazyMessage("statistics.refusal.other_cells"))
        self.names, self.known_rows, self._known_sum = whole.names, n_rows, whole.checksum
        result: Sums = found
        return result

    def to_task_data(self) -> TaskData:
        """Return two rows for each class of each task, which have its means and spreads."""
        s, tasks, d = self.summary, self.tasks, self.summary.mean.shape[1]
        place = {label: t for t, label in enumerate(tasks)}
        owner = np.array([place[task] for task, _ in s.keys], dtype=np.intp)
        order = np.argsort(owner, kind="stable")
        away = np.sqrt(s.square[order] / s.weight[order, None])
        X = np.stack([s.mean[order] - away, s.mean[order] + away], axis=1).reshape(-1, d)
        twice = np.repeat(owner[order], 2)
        labels = [s.keys[k][1] for k in order] if self.by_class else s.target[order].tolist()
        y, offsets = _label_array(labels).repeat(2), None
        if self.columns.several:
            y = _spread(y, twice, len(tasks))
        else:
            counts = np.bincount(twice, minlength=len(tasks))
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        return TaskData(
            X=X,
            y=y,
            tasks=tasks,
            offsets=offsets,
            sample_weight=np.repeat(s.weight[order] / 2.0, 2),
            form=Form.TARGETS if self.columns.several else Form.LONG,
            order=np.arange(len(X), dtype=np.intp),
            feature_names=tuple(map(str, self.encoder.get_feature_names_out())),
            parts=self,
        )


@dataclass(frozen=True)
class _PartRead:
    """What was made of a part: None where it has no labels."""

    names: tuple[str, ...]
    n_rows: int
    checksum: int
    summed: Any


@dataclass(frozen=True)
class _Pass:
    """What is done with every part; a part without labels adds nothing."""

    columns: Columns
    encoder: TableEncoder
    summary: Callable[[TaskData], Any]
    joined: Callable[[Any, Any], Any]

    def of(self, table: Any) -> _PartRead:  # noqa: ANN401 - any table
        """Return what is to be known of a part."""
        names = tuple(map(str, tables.column_names(self.columns.features(table))))
        n_rows, raw = tables.n_rows(table), self.columns.rows(table)
        if raw is None:
            return _PartRead(names, n_rows, 0, None)
        with warnings.catch_warnings():
            # What deserves a look in one part need not do so in all.
            warnings.simplefilter("ignore", DataWarning)
            data = encode(raw, self.encoder)
        return _PartRead(names, n_rows, sum_of_rows(data), self.summary(data))

    def together(self, one: _PartRead, other: _PartRead) -> _PartRead:
        """Return two parts put together."""
        summed = one.summed if other.summed is None else other.summed
        if one.summed is not None and other.summed is not None:
            summed = self.joined(one.summed, other.summed)
        names = other.names if one.summed is None else one.names
        checksum = (one.checksum + other.checksum) % 2**64
        return _PartRead(names, one.n_rows + other.n_rows, checksum, summed)


def sum_of_rows(data: TaskData, *, numbered: bool = False) -> int:
    """Return a checksum of encoded rows: those of parts add up modulo 2**64."""
    # A row is a sum of its cells times factors, with its bits mixed; with its number, if
    # `numbered`, the order of rows counts too.
    X: Any = data.X
    factors = scrambled(np.arange(data.n_features + 4, dtype=np.uint64)) | np.uint64(1)
    if is_sparse(X):
        stored = X.tocsr().astype(np.float64)
        bits = sp.csr_array((stored.data.view(np.uint64), stored.indices, stored.indptr), X.shape)
        rows = bits @ factors[:-4]
    else:
        rows = np.ascontiguousarray(X, dtype=np.float64).view(np.uint64) @ factors[:-4]
    y = np.asarray(data.y)
    cells = y.astype(np.float64) if y.dtype.kind in "biuf" else y.astype(object)
    labels = hash_array(cells.ravel()).reshape(len(y), -1)
    more = [labels @ scrambled(np.arange(labels.shape[1], dtype=np.uint64))]
    if data.sample_weight is not None:
        more.append(np.asarray(data.sample_weight, dtype=np.float64).view(np.uint64))
    if data.form is not Form.TARGETS:
        tasks = np.array([zlib.crc32(repr(task).encode()) for task in data.tasks], np.uint64)
        more.append(tasks[data.row_tasks()])
    if numbered:
        more.append(data.order.astype(np.uint64))
    for factor, values in zip(factors[-4:], more, strict=False):
        rows = rows + factor * values
    return int(scrambled(rows).sum(dtype=np.uint64))


def _label_array(labels: list[Any]) -> NDArray[Any]:
    """Return labels of one kind as numbers or text, others as objects."""
    if len(set(map(type, labels))) == 1:
        made = np.array(labels)
        if made.ndim == 1 and made.tolist() == labels:
            return made
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _spread(y: NDArray[Any], owner: NDArray[np.intp], n_tasks: int) -> NDArray[Any]:
    """Put the label of each row into the column of its task, the others being missing."""
    # Shapes: y, owner (n_rows,).
    number = y.dtype.kind in "iuf"
    out = np.full((len(y), n_tasks), np.nan if number else None, float if number else object)
    out[np.arange(len(y)), owner] = y
    return out
