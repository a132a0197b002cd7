"""Prediction of linear models: scores, labels and probabilities of the rows of one task."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask._registry import State, fields_of, saveable
from polytask.exceptions import DataWarning, IncompatibleError
from polytask.losses import LogLink, Loss, Multinomial

Labels = NDArray[Any]
Array = NDArray[Any]


@saveable("linear.tasks")
@dataclass(frozen=True, eq=False)
class LinearTasks:
    """Coefficients in original units with what they mean.

    Attributes
    ----------
    coef : ndarray of shape (n_columns, n_features)
        Coefficients.
    intercept : ndarray of shape (n_columns,)
        Intercepts.
    slices : tuple of slice
        The columns of each task.
    losses : tuple of Loss
        The loss of each task.
    classes : tuple of ndarray or None
        The classes of each task, None for numbers.
    labels : tuple
        The class of every column, None where it has none.
    counts : ndarray of shape (n_tasks,)
        Sum of the label weights of each task; what an unseen task is averaged with.
    union : ndarray or None
        The union of the classes.
    """

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
        product = X @ coef.T
        product = product.toarray() if is_sparse(product) else np.asarray(product)
        return np.asarray(product + intercept)

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
        names = sorted({loss.name for loss in self.losses})
        if len(names) > 1:
            raise IncompatibleError(
                'unseen_tasks="shared" needs one loss for all tasks, because an unseen task '
                f"is predicted with their mean coefficients; the tasks have {', '.join(names)}."
            )
        pairs = {tuple(c.tolist()) for c in self.classes if c is not None and len(c)}
        if len(pairs) > 1 and not isinstance(self.losses[0], Multinomial):
            shown = " and ".join(str(list(pair)) for pair in list(pairs)[:2])
            raise IncompatibleError(
                'unseen_tasks="shared" needs tasks with the same two classes, because an '
                f"unseen task is predicted with their mean coefficients; got {shown}."
            )

    def labels_of(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse
        """Return numbers or class labels, shape (n_rows,)."""
        eta, classes = self.eta(X, task), self.classes_of(task)
        if classes is None:
            return _means(self.loss_of(task), eta[:, 0])
        if isinstance(self.loss_of(task), Multinomial):
            return np.asarray(classes[np.argmax(eta, axis=1)])
        if len(classes) == 1:
            return np.repeat(classes, len(eta))
        return np.asarray(classes[(eta[:, 0] > 0).astype(np.intp)])

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return class probabilities, shape (n_rows, classes of the task)."""
        eta, classes, loss = self.eta(X, task), self.classes_of(task), self.loss_of(task)
        if classes is not None and len(classes) == 1:
            return np.ones((len(eta), 1))
        if isinstance(loss, Multinomial):
            return np.asarray(loss.inverse_link(eta))
        positive = np.asarray(loss.inverse_link(eta[:, 0]))
        return np.column_stack([1.0 - positive, positive])

    @cached_property
    def _shared(self) -> tuple[Array, Array]:
        """Mean coefficients and intercepts, weighted by n_t, per class."""
        owners = np.repeat(np.arange(len(self.slices)), [s.stop - s.start for s in self.slices])
        weight = self.counts[owners]
        several = self.union is not None and any(label is not None for label in self.labels)
        keys: list[Hashable | None] = self.union.tolist() if several else [None]  # type: ignore[union-attr]
        coefs, intercepts = [], []
        for key in keys:
            own = np.array([label == key for label in self.labels])
            # A class that only tasks of weight 0 have is averaged as it is.
            own_weight = weight[own] if weight[own].any() else None
            coefs.append(np.average(self.coef[own], axis=0, weights=own_weight))
            intercepts.append(np.average(self.intercept[own], weights=own_weight))
        return (
            np.stack(coefs).astype(self.coef.dtype),
            np.array(intercepts, dtype=self.intercept.dtype),
        )

    def _borrows(self, task: int) -> bool:
        """Say whether a task has no coefficients of its own."""
        return task < 0 or self.slices[task].start == self.slices[task].stop

    def parameters(self, task: int) -> tuple[Array, Array]:
        """Return coefficients and intercepts of a task; one without its own has the mean."""
        if task < 0:
            self.refuse_unlike()
        if self._borrows(task):
            return self._shared
        columns = self.slices[task]
        return self.coef[columns], self.intercept[columns]


def _means(loss: Loss, eta: Array) -> Array:
    """Return the means that belong to predictors of numbers; say if some are infinite."""
    if not isinstance(loss, LogLink):
        return eta
    with np.errstate(over="ignore"):
        means = np.asarray(loss.inverse_link(eta))
    count = int(np.count_nonzero(np.isinf(means) & np.isfinite(eta)))
    if count:
        warnings.warn(
            f"{count} predicted means are infinite: their logarithm, {float(eta.max()):.4g} at "
            f"most, is beyond what {means.dtype} holds. Features far outside those of the "
            "training rows are multiplied up by the logarithmic link.",
            DataWarning,
            stacklevel=2,
        )
    return means
