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
# Standard errors above 0 from which a task is known to agree with itself.
_TOLD = 2.0


@saveable("deep.task_relation")
@dataclass(frozen=True, eq=False)
class TaskRelation:
    """A measure of pairs of tasks, averaged over training."""

    # Shapes: matrix (n_tasks, n_tasks), counts (n_tasks, n_tasks), errors (n_tasks, n_tasks).

    measure: str
    tasks: tuple[Hashable, ...]
    matrix: Floats
    counts: NDArray[np.intp]
    errors: Floats

    @classmethod
    def of_sums(
        cls,
        measure: str,
        tasks: tuple[Hashable, ...],
        counts: Floats,
        whole: Floats,
        sums: Floats,
        squares: Floats,
    ) -> TaskRelation:
        """Return the relation whose values were added up, each argument (n_tasks, n_tasks)."""
        zeros, known = np.zeros_like(sums), whole > 0
        share = np.divide(sums, whole, out=np.full_like(sums, np.nan), where=known)
        mean = np.divide(sums, counts, out=zeros.copy(), where=counts > 0)
        left = np.maximum(squares - counts * mean**2, 0.0)
        left = np.divide(left, counts - 1.0, out=zeros.copy(), where=counts > 1)
        errors = np.divide(np.sqrt(counts * left), whole, out=zeros, where=known)
        return cls(measure, tasks, share, counts.astype(np.intp), errors)

    @property
    def similarity(self) -> Floats:
        """How alike two tasks are, -1 to 1, symmetric, (n_tasks, n_tasks)."""
        # The cosine, or the geometric mean of both affinities of a pair (0 where their signs
        # differ), over the geometric mean of what the two tasks have with themselves: what the
        # rows of a batch add to a gradient by chance lessens both alike (correction for
        # attenuation, Spearman 1904). For short steps affinities say the same as cosines. 0 where
        # nothing is known, which includes tasks whose agreement with themselves is not above twice
        # its standard error, and tasks that were measured once.
        found, own = self.matrix, np.diagonal(self.matrix)
        if self.measure != GRADIENTS:
            found = np.sign(found) * np.sqrt(np.maximum(found * found.T, 0.0))
        known = own > _TOLD * np.diagonal(self.errors)
        # Of a single value the error is not known.
        known &= np.diagonal(self.counts) > 1
        own = np.sqrt(np.where(known, own, 1.0))
        alike = np.nan_to_num(found / np.outer(own, own)) * np.outer(known, known)
        alike = np.clip(alike, -1.0, 1.0)
        np.fill_diagonal(alike, 1.0)
        return np.asarray(alike)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which tasks were in a batch that was recorded, (n_tasks,)."""
        return np.asarray(np.diagonal(self.counts) > 0)

    def frame(self) -> pd.DataFrame:
        """Return `matrix` as a table, tasks by name."""
        import pandas as pd

        labels = pd.Index(list(self.tasks), tupleize_cols=False)
        return pd.DataFrame(self.matrix, index=labels, columns=labels)
