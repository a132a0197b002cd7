"""The largest eigenvalue of a map that is only known by its products."""

from __future__ import annotations

import numpy as np

from polytask.datafits.base import Array, LinearMap

_MOST_STEPS = 60
_FEWEST_STEPS = 20
# Eigenvalues are looked at after so many steps each.
_BETWEEN = 5
_SETTLED = 1e-3
# Numbers of tridiagonal matrices at a time.
_CHUNK = 2**20


def largest_eigenvalue(apply: LinearMap, shape: tuple[int, int]) -> float:
    """Return the largest eigenvalue of a symmetric map >= 0, from below."""

    def flat(v: Array) -> Array:
        return apply(v.reshape(shape)).reshape(-1, 1)

    return _largest(flat, (shape[0] * shape[1], 1), _FEWEST_STEPS)


def largest_of_columns(apply: LinearMap, shape: tuple[int, int]) -> float:
    """Return the largest eigenvalue of a map that takes every column to itself, from below."""
    # Each column has Lanczos steps of its own, in the same products: the eigenvalues of one task
    # lie farther apart than those of all, so that fewer steps tell them.
    return _largest(apply, shape, 2 * _BETWEEN)


def _largest(apply: LinearMap, shape: tuple[int, int], fewest: int) -> float:
    new = np.random.default_rng(0).standard_normal(shape)
    old, length = np.zeros(shape), np.linalg.norm(new, axis=0)
    diagonal: list[Array] = []
    beside: list[Array] = []
    top = last = 0.0
    most = min(shape[0], _MOST_STEPS)
    while len(diagonal) < most and length.any():
        if diagonal:
            beside.append(length)
        # A column whose space is exhausted goes on with zeros.
        old, new = new * np.divide(1.0, length, out=np.zeros_like(length), where=length > 0), old
        new = apply(old) - (beside[-1] if beside else 0.0) * new
        diagonal.append(np.einsum("ij,ij->j", old, new))
        new = new - diagonal[-1] * old
        length = np.linalg.norm(new, axis=0)
        if len(diagonal) % _BETWEEN == 0:
            top, last = max(top, _top(diagonal, beside)), top
            if len(diagonal) >= fewest and top - last <= _SETTLED * top:
                return top
    return max(top, _top(diagonal, beside)) if diagonal else 0.0


def _top(diagonal: list[Array], beside: list[Array]) -> float:
    """Return the largest eigenvalue of the tridiagonal matrices of all columns."""
    steps, columns = len(diagonal), len(diagonal[0])
    along, next_to = np.stack(diagonal, axis=1), np.stack([*beside, np.zeros(columns)], axis=1)
    top, some, k = 0.0, max(_CHUNK // steps**2, 1), np.arange(steps - 1)
    for first in range(0, columns, some):
        part = slice(first, first + some)
        # The lower triangle is all that is read.
        matrices = along[part, :, None] * np.eye(steps)
        matrices[:, k + 1, k] = next_to[part, :-1]
        top = max(top, float(np.linalg.eigvalsh(matrices).max(initial=0.0)))
    return top
