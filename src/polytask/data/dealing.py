"""How rows are dealt to folds so that no task, target or class is left without training rows."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask.data.forms import Form
from polytask.data.labels import factorize
from polytask.data.missing import missing_mask, surely_finite
from polytask.data.outcomes import infer
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.data.taskdata import TaskData

_SPLITS = LazyMessage("what.splits")
KEPT = -1  # the fold of a row that is always trained on


@dataclasses.dataclass(frozen=True, eq=False)
class Deck:
    """The rows of some data, grouped for dealing."""

    # Shapes: groups (n,), strata (n,), eligible (n,), members (n, n_cells).

    groups: NDArray[np.intp]
    strata: NDArray[np.intp]
    eligible: NDArray[np.bool_]
    members: Any = None

    def folds(self, n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return a fold for every row: 0 to n_folds - 1, or ``KEPT``."""
        # Groups and strata are spread as evenly as they can be, and so are all rows.
        rows = self._shuffled(rng)
        sizes = np.bincount(self.groups[rows])
        before = np.cumsum(sizes) - sizes
        position = np.arange(len(rows)) - before[self.groups[rows]]
        fold = np.full(len(self.groups), KEPT, dtype=np.intp)
        start = _starts(sizes, n_folds, rng)
        fold[rows] = (position + start[self.groups[rows]]) % n_folds
        return self._with_labels_known(fold, n_folds)

    def held_out(self, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return which rows to hold out: about `fraction` of every group and stratum."""
        rows = self._shuffled(rng)
        # Steps of `fraction` from a random start: a row is taken where a whole number is passed.
        fraction = max(fraction, 1 / max(len(rows), 1))
        steps = np.floor(np.arange(len(rows) + 1) * fraction + rng.random())
        held = np.zeros(len(self.groups), dtype=np.bool_)
        held[rows] = np.diff(steps) > 0
        held = self._with_strata_known(held)
        return np.asarray(self._with_labels_known(np.where(held, 0, KEPT), 1) == 0)

    def _shuffled(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return the eligible rows by group and stratum, both in random order within."""
        rows = np.flatnonzero(self.eligible)
        if not self.strata.any() and not self.groups.any():
            rng.random(1)
            return rows[np.argsort(rng.random(len(rows)), kind="stable")]
        rank = rng.random(int(self.strata.max()) + 1)[self.strata[rows]]
        return rows[np.lexsort((rng.random(len(rows)), rank, self.groups[rows]))]

    def _with_strata_known(self, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Release one row of every stratum that would be held out as a whole."""
        trained = np.bincount(self.strata[~held], minlength=int(self.strata.max()) + 1)
        lost = np.flatnonzero(held & (trained[self.strata] == 0))
        released = held.copy()
        released[lost[np.unique(self.strata[lost], return_index=True)[1]]] = False
        return released

    def _with_labels_known(self, fold: NDArray[np.intp], n_folds: int) -> NDArray[np.intp]:
        """Keep one row of every label that would be held out as a whole."""
        if self.members is None:
            return fold
        kept = fold.copy()
        columns = sp.csc_array(self.members)
        dealt = fold != KEPT
        indicator = sp.csr_array(
            (np.ones(dealt.sum()), (fold[dealt], np.flatnonzero(dealt))),
            shape=(n_folds, len(fold)),
        )
        held = (indicator @ self.members).toarray()
        total = np.asarray(self.members.sum(axis=0)).ravel()
        for cell in np.flatnonzero((held == total).any(axis=0)):
            rows = columns.indices[columns.indptr[cell] : columns.indptr[cell + 1]]
            if len(rows) and kept[rows[0]] != KEPT and len(np.unique(kept[rows])) == 1:
                kept[rows[0]] = KEPT
        return kept


@dataclasses.dataclass(eq=False)
class PartDealer:
    """Deals rows to folds as they come, so that each task's rows are spread evenly over them."""

    # Of every `n_folds` rows of a task one goes to each fold, in random order. How the rows are
    # cut into parts does not matter.

    n_folds: int
    seed: int
    # Rows of every task so far.
    _counts: Counter[Hashable] = dataclasses.field(default_factory=Counter)

    def folds(self, tasks: NDArray[Any], owner: str) -> NDArray[np.intp]:
        """Return the fold of each of the next rows. Shapes: tasks, result (n,)."""
        labels, codes = factorize(tasks, "task", owner)
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes, minlength=len(labels))
        seen = np.array([self._counts[label] for label in labels], dtype=np.intp)
        rank = np.empty(len(codes), dtype=np.intp)
        rank[order] = np.arange(len(codes)) + (seen - np.cumsum(sizes) + sizes)[codes[order]]
        self._counts.update(dict(zip(labels, sizes.tolist(), strict=True)))
        names = [zlib.crc32(f"{self.seed} {label!r}".encode()) for label in labels]
        block, place = np.divmod(rank, self.n_folds)
        # Random numbers of the places of a block: the rank of a row's own is its fold.
        start = scrambled(np.array(names, dtype=np.uint64)[codes])
        blocks = scrambled(start + block.astype(np.uint64))
        places = np.arange(self.n_folds, dtype=np.uint64)
        keys = scrambled(np.asarray(blocks[:, None] + places, dtype=np.uint64))
        own = np.take_along_axis(keys, place[:, None], axis=1)
        return np.asarray((keys < own).sum(axis=1), dtype=np.intp)


def scrambled(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return whole numbers with their bits mixed, different ones for different ones."""
    # The finaliser of SplitMix64: Steele, Lea and Flood (2014), figure 16.
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def deck_of(data: TaskData, stratify: bool | None) -> Deck:
    """Group the rows of some data for dealing, by class too if `stratify` says so."""
    # None stratifies outcomes that are classes: text, booleans, and numbers with two values.
    if data.form is Form.TARGETS and data.y is not None:
        return _targets_deck(data.y, stratify)
    return _task_deck(data.row_tasks(), data.y, stratify)


def _task_deck(tasks: NDArray[np.intp], y: NDArray[Any] | None, stratify: bool | None) -> Deck:
    strata = tasks
    if y is not None and _by_class(y, stratify):
        classes = factorize(y, "y", _SPLITS)[1]
        cells = tasks * (int(classes.max()) + 1) + classes
        strata = np.unique(cells, return_inverse=True)[1]
    return Deck(tasks, strata, (np.bincount(strata) > 1)[strata])


def _targets_deck(Y: NDArray[Any], stratify: bool | None) -> Deck:
    numbers = Y.dtype.kind == "f" and not any(_by_class(column, stratify) for column in Y.T)
    if numbers and len(Y) > 1 and surely_finite(Y):
        # All rows hold every label, so that there is nothing to tell them apart by.
        same = np.zeros(len(Y), dtype=np.intp)
        return Deck(same, same, np.ones(len(Y), dtype=np.bool_))
    members = sp.csr_array((~missing_mask(Y)).astype(float)) if numbers else _members(Y, stratify)
    counts = np.asarray(members.sum(axis=0)).ravel().astype(np.intp)
    single = (members @ (counts == 1).astype(np.float64)) > 0
    rarest = _rarest(members, counts)
    return Deck(rarest, rarest, ~single, members)


def _members(Y: NDArray[Any], stratify: bool | None) -> Any:  # noqa: ANN401 - a csr_array
    """Return which labels (targets, or classes of targets) every row holds."""
    rows, cells, n_cells = [], [], 0
    for column in Y.T:
        labelled = np.flatnonzero(~missing_mask(column))
        values = infer(column[labelled]) if column.dtype.kind == "O" else column[labelled]
        codes = np.zeros(len(labelled), dtype=np.intp)
        if _by_class(values, stratify):
            codes = factorize(values, "Y", _SPLITS)[1]
        rows.append(labelled)
        cells.append(codes + n_cells)
        n_cells += int(codes.max()) + 1 if len(codes) else 1
    where = (np.concatenate(rows), np.concatenate(cells))
    return sp.csr_array((np.ones(len(where[0])), where), shape=(len(Y), n_cells))


def _rarest(members: Any, counts: NDArray[np.intp]) -> NDArray[np.intp]:  # noqa: ANN401
    """Return the rarest label of every row; a row without labels gets a group of its own kind."""
    n_cells = len(counts)
    keys = counts[members.indices] * n_cells + members.indices
    rarest = np.full(members.shape[0], n_cells, dtype=np.intp)
    some = np.diff(members.indptr) > 0
    rarest[some] = np.minimum.reduceat(keys, members.indptr[:-1][some]) % n_cells
    return rarest


def _by_class(y: NDArray[Any], stratify: bool | None) -> bool:
    if stratify is not None:
        return stratify
    if y.dtype.kind in "OUSb":
        return True
    return len(np.unique(y[:1000])) <= 2 and len(np.unique(y)) == 2


def _starts(sizes: NDArray[np.intp], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the fold that every group begins with, such that all folds are of one size."""
    # Groups go on where the one before stopped, in random order; one that fills all folds
    # alike may begin anywhere.
    rest = sizes % n_folds
    order = rng.permutation(len(sizes))
    start = np.empty(len(sizes), dtype=np.intp)
    start[order] = np.cumsum(rest[order]) - rest[order]
    return start + np.where(rest == 0, rng.integers(n_folds, size=len(sizes)), 0)
