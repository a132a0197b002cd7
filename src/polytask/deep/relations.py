"""How the tasks of a network went together while it was trained."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polytask._registry import saveable

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
# What was measured.
GRADIENTS, AFFINITY = "gradients", "affinity"


@saveable("deep.task_relation")
@dataclass(frozen=True, eq=False)
class TaskRelation:
    """A measure of pairs of tasks, averaged over training.

    Attributes
    ----------
    measure : {"gradients", "affinity"}
        Cosines of gradients, or what a step for one task does to the loss of another.
    tasks : tuple
        The tasks.
    matrix : ndarray of shape (n_tasks, n_tasks)
        The mean over the steps recorded. Of gradients the cosine, symmetric; of affinity in row i
        and column j the share of its loss that task j loses by a step for task i. NaN for two
        tasks that were never in one batch.
    counts : ndarray of int of shape (n_tasks, n_tasks)
        Steps that each mean is over.
    """

    measure: str
    tasks: tuple[Hashable, ...]
    matrix: Floats
    counts: NDArray[np.intp]

    @property
    def similarity(self) -> Floats:
        """How alike two tasks are, -1 to 1, symmetric, (n_tasks, n_tasks).

        The cosine; or the geometric mean of both affinities of a pair over that of the
        affinities of the two tasks with themselves, 0 where their signs differ: for short steps
        that is the cosine too. 0 where nothing is known.
        """
        if self.measure == GRADIENTS:
            found = self.matrix
        else:
            both = self.matrix * self.matrix.T
            own = np.sqrt(np.maximum(np.diagonal(self.matrix), 0.0))
            size = np.sign(self.matrix) * np.sqrt(np.maximum(both, 0.0))
            scale = np.outer(own, own)
            found = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0.0)
        alike = np.clip(np.nan_to_num(found), -1.0, 1.0)
        np.fill_diagonal(alike, 1.0)
        return alike

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which tasks were in a batch that was recorded, (n_tasks,)."""
        return np.asarray(np.diagonal(self.counts) > 0)

    def frame(self) -> pd.DataFrame:
        """Return `matrix` as a table, tasks by name."""
        import pandas as pd

        labels = pd.Index(list(self.tasks), tupleize_cols=False)
        return pd.DataFrame(self.matrix, index=labels, columns=labels)
