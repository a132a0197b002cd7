"""Prediction of linear models: scores, labels and probabilities of one task's rows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.predictors import (
    labels_from,
    mean_columns,
    probabilities_from,
    refuse_unlike,
)
from polytask._linalg import is_sparse
from polytask._registry import State, fields_of, saveable
from polytask.exceptions import DataError
from polytask.losses import Loss, Multinomial
from polytask.messages import LazyMessage

Labels = NDArray[Any]
Array = NDArray[Any]


def finite_product(X: Any, coef: Array) -> Array:  # noqa: ANN401 - dense or sparse
    """Return rows times coefficients, or refuse rows that are too large for them."""
    # Shapes: X (n_rows, n_features), coef (n_columns, n_features), result (n_rows, n_columns).
    with np.errstate(over="ignore", invalid="ignore"):
        product = X @ coef.T
    return refuse_overflow(product.toarray() if is_sparse(product) else np.asarray(product))


def refuse_overflow(values: Array) -> Array:
    """Return what was computed of rows, or refuse them where that overflowed."""
    if not np.isfinite(values).all():
        raise DataError(LazyMessage("linear.refusal.rows_overflow"))
    return values


@saveable("linear.tasks")
@dataclass(frozen=True, eq=False)
class LinearTasks:
    """Coefficients in original units with what they mean."""

    # Shapes: coef (n_columns, n_features), intercept (n_columns,), counts (n_tasks,).

    coef: Array
    intercept: Array
    slices: tuple[slice, ...]
    losses: tuple[Loss, ...]
    classes: tuple[Labels | None, ...]
    labels: tuple[Hashable | None, ...]
    counts: NDArray[np.float64]
    union: Labels | None

    def to_state(self) -> State:
        """Return the fields by name, slices as pairs."""
        return fields_of(self) | {"slices": [[s.start, s.stop] for s in self.slices]}

    @classmethod
    def from_state(cls, state: State) -> LinearTasks:
        """Rebuild the object from :meth:`to_state`."""
        return cls(**state | {"slices": tuple(slice(*pair) for pair in state["slices"])})

    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the linear predictors, shape (n_rows, columns of the task)."""
        coef, intercept = self.parameters(task)
        return np.asarray(finite_product(X, coef) + intercept)

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task; an unseen task has that of all tasks."""
        if task < 0:
            self.refuse_unlike()
        return self.losses[max(task, 0)]

    def classes_of(self, task: int) -> Labels | None:
        """Return the classes of a task; one without rows, or unseen, has the union."""
        if self.union is not None and self._borrows(task):
            return self.union
        return self.classes[max(task, 0)]

    def refuse_unlike(self) -> None:
        """Refuse a mean over tasks of which the losses or the two classes differ."""
        refuse_unlike(self.losses, self.classes)

    def labels_of(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return numbers or class labels, shape (n_rows,)."""
        return labels_from(self.eta(X, task), self.classes_of(task), self.loss_of(task))

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n_rows, classes of the task)."""
        return probabilities_from(self.eta(X, task), self.classes_of(task), self.loss_of(task))

    @cached_property
    def _shared(self) -> tuple[Array, Array]:
        """Mean coefficients and intercepts, weighted by n_t, per class."""
        return mean_columns(
            self.coef, self.intercept, self.slices, self.labels, self.counts, self.union
        )

    def _borrows(self, task: int) -> bool:
        """Say whether a task has no coefficients of its own."""
        return task < 0 or self.slices[task].start == self.slices[task].stop

    def columns_of(self, task: int) -> tuple[Hashable | None, ...]:
        """Return the class of every column of a task, None for numbers and for two classes."""
        if not isinstance(self.loss_of(task), Multinomial):
            return (None,)
        if self._borrows(task):
            return tuple(np.asarray(self.union).tolist())
        return self.labels[self.slices[task]]

    def parameters(self, task: int) -> tuple[Array, Array]:
        """Return coefficients and intercepts of a task; one without its own has the mean."""
        if task < 0:
            self.refuse_unlike()
        if self._borrows(task):
            return self._shared
        columns = self.slices[task]
        return self.coef[columns], self.intercept[columns]
