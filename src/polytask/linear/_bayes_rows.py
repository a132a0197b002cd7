"""From task data to blocks of scaled rows, a few rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import FeatureScaling
from polytask._linalg import is_sparse
from polytask.bayes.blocks import Block, RowSpace, collect_shared, collect_stacked
from polytask.data import Form, TaskData

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Scaled rows with ones in front, made when they are asked for."""

    # Shapes: X (n, n_features), exists (n, n_features).

    X: Any
    scaling: FeatureScaling
    exists: NDArray[np.bool_] | None

    def __call__(self, numbers: Index) -> Array:
        """Return some rows, shape (len(numbers), 1 + n_features)."""
        rows = np.ones((len(numbers), 1 + self.X.shape[1]))
        rows[:, 1:] = dense(self.X[numbers])
        if self.scaling.active:
            rows[:, 1:] -= self.scaling.mean
            rows[:, 1:] /= self.scaling.scale
        if self.exists is not None:
            rows[:, 1:] *= self.exists[numbers]
        return rows


@dataclass(frozen=True, eq=False)
class PriorRows:
    """Scaled rows in the columns of a prior."""

    rows: ScaledRows
    space: RowSpace | None

    def __call__(self, numbers: Index) -> Array:
        """Return some rows, shape (len(numbers), p)."""
        Z = self.rows(numbers)
        return Z if self.space is None else self.space.coordinates(Z)

    @property
    def width(self) -> int:
        """Number of columns, p."""
        return 1 + self.rows.X.shape[1] if self.space is None else self.space.width


def dense(X: Any) -> NDArray[Any]:  # noqa: ANN401 - ndarray or CSR
    """Return an array of a few rows."""
    return np.asarray(X.toarray() if is_sparse(X) else X)


def blocks_of(data: TaskData, y: Array, weight: Array, rows: PriorRows) -> tuple[Block, ...]:
    """Collect what the rows of every task say. Shapes: y (n,)."""
    p = rows.width
    if data.form is Form.TARGETS:
        return collect_shared(rows, p, y, weight)
    return collect_stacked(rows, p, y, weight, np.asarray(data.offsets))
