"""From rows, losses and weights to a datafit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.layout import Layout
from polytask._estimator.weights import count_labels
from polytask.data import Form, TaskData
from polytask.datafits import (
    Block,
    ClassesBlock,
    Datafit,
    Features,
    Intercepts,
    MomentSquares,
    Rooted,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    Stacked,
    StackedClasses,
    TaskStatistics,
    collect_shared,
    collect_stacked,
    on_rows,
)
from polytask.losses import Loss, Multinomial, Squared

Array = NDArray[np.float64]

# Statistics are used while their matrices stay below this many numbers ...
_STATISTICS_ENTRIES = 3e7
# ... and a product with them costs no more than this many passes over the rows.
_STATISTICS_PASSES = 2
# Tasks of several classes are joined in one block while they have fewer rows on average.
_SMALL_TASK = 1000


def without_gaps(y: Array, outcomes: Outcomes, data: TaskData) -> Array:
    """Return targets with a number that the loss allows where a label is missing."""
    # Shapes: y (n_rows,).
    filled = np.nan_to_num(y)
    for t, loss in enumerate(outcomes.losses):
        if not loss.is_classifier and not loss.allows(np.zeros(1)).all():
            own = (slice(None), t) if data.form is Form.TARGETS else data.task_slice(t)
            filled[own] = np.where(np.isnan(y[own]), 1.0, filled[own])
    return filled


def suits_statistics(data: TaskData, outcomes: Outcomes, labels: float) -> bool:
    """Say whether squared residuals are cheaper from sufficient statistics than from rows."""
    d, columns = data.n_features, data.n_tasks
    cheap = columns * d <= _STATISTICS_PASSES * labels
    small = columns * d * d <= _STATISTICS_ENTRIES
    alike = all(isinstance(loss, Squared) for loss in outcomes.losses) or all_roots(outcomes)
    return bool(cheap and small and alike)


def all_roots(outcomes: Outcomes) -> bool:
    """Say whether every task counts by the root of its mean square."""
    return bool(outcomes.losses) and all(loss.takes_root for loss in outcomes.losses)


def on_moments(found: TaskStatistics, rooted: bool, intercepts: Intercepts) -> Datafit:
    """Return the squared loss, or its roots, from sufficient statistics."""
    if rooted:
        return Rooted(MomentSquares(found), None, intercepts)
    return SquaredStatistics(found, intercepts)


@dataclass(frozen=True, eq=False)
class RowParts:
    """Everything that a datafit on rows is made of. Shapes: scale, counts (n_tasks,)."""

    data: TaskData
    outcomes: Outcomes
    layout: Layout
    rows: Features
    y: Array
    weight: Array
    scale: Array
    counts: Array

    @property
    def suit_statistics(self) -> bool:
        """Whether statistics are cheaper than rows; the choice is the same in every form."""
        return suits_statistics(self.data, self.outcomes, count_labels(self.weight))

    def datafit(self, intercepts: Intercepts) -> Datafit:
        """Choose statistics or samples by cost."""
        if self.suit_statistics:
            return on_moments(self._statistics(), all_roots(self.outcomes), intercepts)
        return self.samples(intercepts)

    def samples(self, intercepts: Intercepts) -> Datafit:
        """Return the data term on samples."""
        shape = self.data.n_features, self.layout.columns.n_columns
        return on_rows(tuple(self.blocks()), intercepts, *shape)

    def _statistics(self) -> TaskStatistics:
        columns = np.arange(self.data.n_tasks)
        if self.data.form is Form.TARGETS:
            shared = Shared(self.rows, columns)
            return collect_shared(shared, self.y, self.weight, self.scale)
        stacked = Stacked(self.rows, np.asarray(self.data.offsets), columns)
        return collect_stacked(stacked, self.y, self.weight, self.scale)

    def blocks(self) -> list[Block]:
        """Return one block per scalar loss, and those of several classes."""
        by_loss: dict[Loss, list[int]] = {}
        for t, loss in enumerate(self.outcomes.losses):
            by_loss.setdefault(loss, []).append(t)
        blocks: list[Block] = []
        for loss, tasks in by_loss.items():
            if isinstance(loss, Multinomial):
                # A task without rows has no classes, hence no columns.
                held = [t for t in tasks if self.outcomes.n_outputs[t]]
                blocks += self._classes_blocks(loss, held)
            else:
                blocks.append(self._scalar_block(loss, np.array(tasks, dtype=np.intp)))
        return blocks

    def _factor(self) -> Array:
        """Weight of one label of each task in the objective, per unit of its own weight."""
        n = self.counts
        return np.divide(self.scale, n, out=np.zeros_like(n), where=n > 0)

    def _scalar_block(self, loss: Loss, tasks: NDArray[np.intp]) -> ScalarBlock:
        columns = np.array([self.layout.slices[t].start for t in tasks], dtype=np.intp)
        factor = self._factor()
        if self.data.form is Form.TARGETS:
            weight = self.weight[:, tasks] * factor[tasks]
            return ScalarBlock(Shared(self.rows, columns), loss, self.y[:, tasks], weight)
        part, offsets = self._rows_of(tasks)
        counts = np.diff(offsets)
        weight = self.weight[part] * np.repeat(factor[tasks], counts)
        design = Stacked(self.rows.rows(part), offsets, columns)
        return ScalarBlock(design, loss, self.y[part], weight)

    def _rows_of(self, tasks: NDArray[np.intp]) -> tuple[Any, NDArray[np.intp]]:
        offsets = np.asarray(self.data.offsets)
        if len(tasks) == self.data.n_tasks:
            return slice(None), offsets
        parts = [np.arange(offsets[t], offsets[t + 1]) for t in tasks]
        ends = np.cumsum([0, *[len(p) for p in parts]])
        return np.concatenate(parts), ends.astype(np.intp)

    def _classes_blocks(self, loss: Loss, tasks: list[int]) -> list[ClassesBlock]:
        """Return a block per task, small tasks with as many classes in one."""
        by_size: dict[int, list[int]] = {}
        for t in tasks:
            by_size.setdefault(self.outcomes.n_outputs[t], []).append(t)
        blocks: list[ClassesBlock] = []
        for same in by_size.values():
            if self._few_rows(same):
                blocks.append(self._joint_classes(loss, np.array(same, dtype=np.intp)))
            else:
                blocks += [self._classes_block(loss, t) for t in same]
        return blocks

    def _few_rows(self, tasks: list[int]) -> bool:
        if self.data.form is Form.TARGETS or len(tasks) < 2:
            return False
        counts = np.diff(np.asarray(self.data.offsets))[tasks]
        return bool(counts.sum() < _SMALL_TASK * len(tasks))

    def _joint_classes(self, loss: Loss, tasks: NDArray[np.intp]) -> ClassesBlock:
        owned = [self.layout.slices[t] for t in tasks]
        table = np.array([np.arange(part.start, part.stop) for part in owned], dtype=np.intp)
        part, offsets = self._rows_of(tasks)
        weight = self.weight[part] * np.repeat(self._factor()[tasks], np.diff(offsets))
        design = StackedClasses(self.rows.rows(part), offsets, table)
        return ClassesBlock(design, loss, self.y[part], weight)

    def _classes_block(self, loss: Loss, t: int) -> ClassesBlock:
        owned = self.layout.slices[t]
        columns = np.arange(owned.start, owned.stop)
        factor = self._factor()[t]
        if self.data.form is Form.TARGETS:
            seen = np.flatnonzero(self.weight[:, t] > 0)
            rows, y, weight = self.rows.rows(seen), self.y[seen, t], self.weight[seen, t]
        else:
            part = self.data.task_slice(t)
            rows, y, weight = self.rows.rows(part), self.y[part], self.weight[part]
        return ClassesBlock(Shared(rows, columns), loss, y, weight * factor)
