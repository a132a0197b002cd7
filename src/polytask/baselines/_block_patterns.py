"""Rows of a task that have the same groups of features: a task of the inner estimator."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable
from polytask.baselines._feature_blocks import FeatureBlocks
from polytask.data import Form, TaskData

Mask = NDArray[np.bool_]
Codes = NDArray[np.intp]


@saveable("baseline.patterns")
@dataclasses.dataclass(frozen=True, eq=False)
class Patterns:
    """The pairs of task and pattern that were trained, in the order of the inner tasks."""

    # Shapes: tasks (n_pairs,), have (n_pairs, n_groups), rows (n_pairs,).

    tasks: Codes
    have: Mask
    rows: Codes

    def nearest(self, task: int, have: Mask, blocks: FeatureBlocks) -> int | None:
        """Return the pair with most features among those of a task that need no others."""
        # Shapes: have (n_groups,).
        usable = (self.tasks == task) & ~(self.have & ~have).any(axis=1)
        if not usable.any():
            return None
        sizes = blocks.features_of(self.have).sum(axis=1)
        order = np.lexsort((self.rows, sizes))
        return int(order[usable[order]][-1])

    def labels(self, tasks: tuple[Hashable, ...], blocks: FeatureBlocks) -> tuple[Hashable, ...]:
        """Return a label for each pair: the task alone if no task has several patterns."""
        own = [tasks[t] for t in self.tasks]
        if len(set(self.tasks.tolist())) == len(self.tasks):
            return tuple(own)
        names = [blocks.label(have) for have in self.have]
        return tuple(zip(own, names, strict=True))


def whole_tasks(data: TaskData, n_groups: int) -> Patterns:
    """Return one pair per task, with every group."""
    n = data.n_tasks
    have = np.ones((n, n_groups), dtype=bool)
    return Patterns(np.arange(n, dtype=np.intp), have, data.task_rows())


def split_by_pattern(
    data: TaskData, have: Mask, blocks: FeatureBlocks
) -> tuple[TaskData, Patterns]:
    """Make a task of every pattern of every task. Shapes: have (n_rows, n_groups)."""
    distinct, pattern = np.unique(have, axis=0, return_inverse=True)
    # Most features first, so that the complete rows come first.
    rank = np.argsort(np.argsort(-blocks.features_of(distinct).sum(axis=1), kind="stable"))
    keys = data.row_tasks() * len(distinct) + rank[pattern.reshape(-1)]
    order = np.argsort(keys, kind="stable")
    _, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
    patterns = Patterns(data.row_tasks()[order[first]], have[order[first]], counts.astype(np.intp))
    weight = data.sample_weight
    inner = dataclasses.replace(
        data,
        X=filled(data.X[order]),
        y=None if data.y is None else data.y[order],
        tasks=patterns.labels(data.tasks, blocks),
        offsets=np.append(first, len(order)).astype(np.intp),
        sample_weight=None if weight is None else weight[order],
        form=Form.SEPARATE,
        order=data.order[order],
        present=blocks.features_of(patterns.have),
    )
    return inner, patterns


def filled(X: NDArray[Any]) -> NDArray[Any]:
    """Return rows with 0 where a feature is missing."""
    return np.where(np.isnan(X), np.zeros((), dtype=X.dtype), X)
