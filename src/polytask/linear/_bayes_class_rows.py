"""From task data to the logistic problems of a learned prior: one, or one for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._estimator import Outcomes
from polytask._estimator.scaling import FeatureScaling, wide_enough
from polytask._estimator.training import cell_mask
from polytask._estimator.weights import label_weights
from polytask._linalg import is_sparse
from polytask.bayes.laplace_rows import Labelled, is_thin
from polytask.data import Form, TaskData
from polytask.datafits import Features

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """The labels of all tasks, sorted by task."""

    # Shapes: Z (n_rows, 1 + n_features), shift (1 + n_features,), rows (m,), codes (m,), weight
    # (m,), task (m,).

    Z: Any
    shift: Array | None
    rows: Index
    codes: Index
    weight: Array
    task: Index
    n_tasks: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.Z.shape[0])

    def against_rest(self, positive: Index) -> Labelled:
        """Return the problem of one class against the rest. Shapes: positive (n_tasks,)."""
        own = positive[self.task]
        used = own >= 0
        counts = np.bincount(self.task[used], minlength=self.n_tasks)
        return Labelled(
            Z=self.Z,
            y=(self.codes == own)[used].astype(np.float64),
            weight=self.weight[used],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
            rows=self.rows[used],
            shift=self.shift,
        )


def class_labels(
    data: TaskData, outcomes: Outcomes, scaling: FeatureScaling, owner: str
) -> ClassLabels:
    """Scale the rows and sort the labels by task."""
    X, mask = wide_enough(data.X), cell_mask(data)
    if mask is None and not is_sparse(X) and is_thin(X):
        X = sp.csr_array(X)
    Z, shift = with_ones(scaling.features(X, mask))
    weight = label_weights(data, outcomes, None, owner)
    if data.form is Form.TARGETS:
        task, rows = np.nonzero(weight.T > 0)
        codes, weight = outcomes.y[rows, task], weight[rows, task]
    else:
        rows = np.flatnonzero(weight > 0)
        task, codes, weight = data.row_tasks()[rows], outcomes.y[rows], weight[rows]
    return ClassLabels(
        Z=Z,
        shift=shift,
        rows=rows.astype(np.intp),
        codes=codes.astype(np.intp),
        weight=weight,
        task=task.astype(np.intp),
        n_tasks=data.n_tasks,
    )


def with_ones(features: Features) -> tuple[Any, Array | None]:
    """Return rows with a column of ones in front, and what to subtract from each."""
    X = features.matrix
    ones = np.ones((X.shape[0], 1), dtype=X.dtype)
    shift = None if features.offset is None else np.concatenate([[0.0], features.offset])
    if is_sparse(X):
        return sp.csr_array(sp.hstack([sp.csr_array(ones), X], format="csr")), shift
    return np.hstack([ones, X]), shift
