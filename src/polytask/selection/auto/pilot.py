"""A few rows of many, on which candidates are put in order before any fold is fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.data import Form, TaskData
from polytask.data.splits import Split
from polytask.selection.held import servable

# Data of more rows have a subsample, of so many rows of the training part.
MANY_ROWS, _ROWS = 20_000, 4_000
# Whole tasks are taken where so many of them make up the subsample.
_FEWEST_TASKS = 20


def subsample(data: TaskData, split: Split, seed: int) -> Split:
    """Return some training and held-out rows of a fold, whole tasks of them or in proportion."""
    rng = np.random.default_rng(seed)
    train, test = split
    share = _ROWS / len(train)
    if share >= 1.0:
        return split
    if data.form is not Form.TARGETS:
        task = np.repeat(np.arange(data.n_tasks), data.task_rows())
        drawn = rng.permutation(data.n_tasks)
        rows = np.bincount(task[train], minlength=data.n_tasks)[drawn]
        own = drawn[: int(np.searchsorted(np.cumsum(rows), _ROWS)) + 1]
        held = test[np.isin(task[test], own)]
        # Folds may hold out whole tasks.
        if len(own) >= _FEWEST_TASKS and held.size:
            return train[np.isin(task[train], own)], held
    part = _some(train, share, rng)
    held = _some(test, share, rng)
    known = servable(data, part, held)
    return part, known if known.size else held


def _some(rows: NDArray[np.intp], share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    return np.sort(rng.choice(rows, max(int(share * len(rows)), 1), replace=False))


def in_order(running: Sequence[int], losses: dict[int, float]) -> list[int]:
    """Return the candidates, the best on the subsample first but for the one before all others."""
    # The first is the cheapest: it is fitted on all rows at once, so that there is a model.
    first, rest = list(running[:1]), running[1:]
    return first + sorted(rest, key=lambda place: losses.get(place, np.inf))
