"""From task data to blocks of scaled rows, a few rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.training import cell_mask
from polytask._linalg import is_sparse
from polytask.bayes.blocks import Block
from polytask.bayes.collect import collect_shared, collect_stacked
from polytask.data import Form, TaskData
from polytask.linear._scaling import FeatureScaling

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Scaled rows with ones in front, made when they are asked for.

    Attributes
    ----------
    X : ndarray or CSR of shape (n, n_features)
        Original units.
    scaling : FeatureScaling
        Of the features.
    exists : ndarray of bool of shape (n, n_features) or None
        Cells that do not exist are 0 after scaling.
    """

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


def dense(X: Any) -> NDArray[Any]:  # noqa: ANN401 - ndarray or CSR
    """Return an array of a few rows."""
    return np.asarray(X.toarray() if is_sparse(X) else X)


def blocks_of(
    data: TaskData, y: Array, weight: Array, scaling: FeatureScaling
) -> tuple[Block, ...]:
    """Collect what the rows of every task say.

    Parameters
    ----------
    data : TaskData
        Encoded.
    y : ndarray of shape (n,) or (n, n_tasks)
        Scaled targets; 0 where they are missing.
    weight : ndarray, shaped as y
        Weights of the labels, 0 where they are missing.
    scaling : FeatureScaling
        Of the features.

    Returns
    -------
    tuple of Block
    """
    rows = ScaledRows(data.X, scaling, cell_mask(data))
    p = 1 + data.n_features
    if data.form is Form.TARGETS:
        return collect_shared(rows, p, y, weight)
    return collect_stacked(rows, p, y, weight, np.asarray(data.offsets))
