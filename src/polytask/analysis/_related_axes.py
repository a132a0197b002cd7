"""Axes along which the features of tasks are described."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._linalg import is_sparse
from polytask.data import Form, TaskData

Array = NDArray[np.float64]

# Sizes closer than this, relative to the larger, count as equal.
_EQUAL = 1e-6
# More axes than are kept, and rounds, of the search for the leading ones.
_SPARE, _ROUNDS = 10, 3


def mixed_axes(size: Array, axes: Array, rng: np.random.Generator) -> Array:
    """Choose at random among axes of equal size. Shapes: size (m,), axes (m, m), result (m, m)."""
    ends = [0, *(np.flatnonzero(np.diff(size) > _EQUAL * size[1:]) + 1).tolist(), len(size)]
    if len(ends) == len(size) + 1:
        return axes
    mixed = axes.copy()
    for first, last in pairwise(ends):
        if last - first > 1:
            turn, upper = np.linalg.qr(rng.standard_normal((last - first, last - first)))
            mixed[:, first:last] = axes[:, first:last] @ (turn * np.sign(np.diag(upper)))
    return mixed


def common_axes(
    data: TaskData, y: Array, scale: Array, n_axes: int, rng: np.random.Generator
) -> Array:
    """Find the leading principal axes of wide features within tasks."""
    # Shapes: y (n,), scale (d,), result (d, n_axes).
    guess = rng.standard_normal((data.n_features, n_axes + _SPARE))
    for _ in range(_ROUNDS):
        guess = np.linalg.qr(_applied(data, scale, guess))[0]
    inner = guess.T @ _applied(data, scale, guess)
    _, turn = np.linalg.eigh((inner + inner.T) / 2)
    return np.asarray(guess @ turn[:, ::-1][:, :n_axes])


def _applied(data: TaskData, scale: Array, vectors: Array) -> Array:
    """Return the second moments of the features within tasks, times vectors."""
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    scaled = vectors / scale[:, None]
    out = np.zeros_like(vectors)
    if data.form is Form.TARGETS:
        parts: list[Any] = [slice(0, data.n_rows)]
    else:
        parts = [data.task_slice(t) for t in range(data.n_tasks)]
    for part in parts:
        out += _part(data.X[part], weight[part], scaled)
    return out / scale[:, None]


def _part(X: Any, weight: Array, scaled: Array) -> Array:  # noqa: ANN401 - ndarray or CSR
    if not len(weight) or not weight.any():
        return np.zeros_like(scaled)
    X = X if is_sparse(X) else np.asarray(X, dtype=np.float64)
    seen = np.asarray(X @ scaled)
    seen = weight[:, None] * (seen - weight @ seen / weight.sum())
    return np.asarray(X.T @ seen)
