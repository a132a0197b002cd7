"""From the predictors of a task to numbers, labels and probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import DataWarning, IncompatibleError
from polytask.losses import LogLink, Loss, Multinomial
from polytask.messages import LazyMessage, with_and

Labels = NDArray[Any]
Array = NDArray[Any]


def refuse_unlike(losses: Sequence[Loss], classes: Sequence[Labels | None]) -> None:
    """Refuse a mean over tasks of which the losses or the two classes differ."""
    names = sorted({loss.name for loss in losses})
    if len(names) > 1:
        raise IncompatibleError(LazyMessage("estimator.refusal.unlike_losses", {"names": names}))
    pairs = {tuple(c.tolist()) for c in classes if c is not None and len(c)}
    if len(pairs) > 1 and not isinstance(losses[0], Multinomial):
        shown = with_and([str(list(pair)) for pair in list(pairs)[:2]])
        raise IncompatibleError(LazyMessage("estimator.refusal.unlike_classes", {"got": shown}))


def labels_from(eta: Array, classes: Labels | None, loss: Loss) -> Labels:
    """Return numbers or class labels, shape (n_rows,). Shapes: eta (n_rows, n_columns)."""
    if classes is None:
        return _means(loss, eta[:, 0])
    if isinstance(loss, Multinomial):
        return np.asarray(classes[np.argmax(eta, axis=1)])
    if len(classes) == 1:
        return np.repeat(classes, len(eta))
    return np.asarray(classes[(eta[:, 0] > 0).astype(np.intp)])


def probabilities_from(eta: Array, classes: Labels | None, loss: Loss) -> Array:
    """Return class probabilities, shape (n_rows, classes of the task)."""
    if classes is not None and len(classes) == 1:
        return np.ones((len(eta), 1))
    if isinstance(loss, Multinomial):
        return np.asarray(loss.inverse_link(eta))
    positive = np.asarray(loss.inverse_link(eta[:, 0]))
    return np.column_stack([1.0 - positive, positive])


def mean_columns(
    coef: Array,
    intercept: Array,
    slices: Sequence[slice],
    labels: Sequence[Hashable | None],
    counts: NDArray[np.float64],
    union: Labels | None,
) -> tuple[Array, Array]:
    """Return mean coefficients and intercepts over tasks, per class."""
    # Shapes: coef (n_columns, n_features), intercept (n_columns,), counts (n_tasks,), coef
    # (n_classes, n_features), intercept (n_classes,).
    owners = np.repeat(np.arange(len(slices)), [s.stop - s.start for s in slices])
    weight = counts[owners]
    several = union is not None and any(label is not None for label in labels)
    keys: list[Hashable | None] = union.tolist() if several else [None]  # type: ignore[union-attr]
    coefs, intercepts = [], []
    for key in keys:
        own = np.array([label == key for label in labels])
        # A class that only tasks of weight 0 have is averaged as it is.
        own_weight = weight[own] if weight[own].any() else None
        coefs.append(np.average(coef[own], axis=0, weights=own_weight))
        intercepts.append(np.average(intercept[own], weights=own_weight))
    return np.stack(coefs).astype(coef.dtype), np.array(intercepts, dtype=intercept.dtype)


def _means(loss: Loss, eta: Array) -> Array:
    """Return the means that belong to predictors of numbers; say if some are infinite."""
    if not isinstance(loss, LogLink):
        return eta
    with np.errstate(over="ignore"):
        means = np.asarray(loss.inverse_link(eta))
    count = int(np.count_nonzero(np.isinf(means) & np.isfinite(eta)))
    if count:
        fields = {"n": count, "largest": f"{float(eta.max()):.4g}", "type": str(means.dtype)}
        warnings.warn(DataWarning(LazyMessage("warn.infinite_means", fields)), stacklevel=2)
    return means
