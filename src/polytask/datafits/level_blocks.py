"""Systems of small blocks, one per task, for intercepts of several classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array

Groups = NDArray[np.intp]


def same_size(blocks: list[tuple[Groups, Array]]) -> list[tuple[Groups, Array]]:
    """Stack the blocks of each size: columns of shape (m, k), matrices of shape (m, k, k)."""
    by_size: dict[int, list[tuple[Groups, Array]]] = {}
    for columns, block in blocks:
        by_size.setdefault(len(columns), []).append((columns, block))
    return [
        (np.stack([c for c, _ in same]), np.stack([h for _, h in same]))
        for size, same in by_size.items()
        if size
    ]


def solve_each(blocks: list[tuple[Groups, Array]], right: Array) -> Array:
    """Solve every block by itself."""
    solved = np.zeros_like(right)
    for columns, matrices in same_size(blocks):
        solved[columns] = shortest(matrices, right[columns])
    return solved


def clean_eigh(matrices: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of each matrix; eigenvalues that are rounding become 0."""
    values, vectors = np.linalg.eigh(matrices)
    size = values.shape[-1]
    floor = np.maximum(values[..., -1:], 0.0) * size * np.finfo(float).eps * 10
    return np.where(values > floor, values, 0.0), vectors


def shortest(matrices: Array, right: Array) -> Array:
    """Solve positive semi-definite systems, the shortest solution of each if singular."""
    values, vectors = clean_eigh(matrices)
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
    turned = np.swapaxes(vectors, -1, -2)
    inner = inverse[..., None] * (turned @ right[..., None])
    return np.asarray((vectors @ inner)[..., 0])


def least_squares(matrix: Array, right: Array) -> Array:
    """Solve one positive semi-definite system, which may be empty."""
    return shortest(matrix, right) if len(matrix) else right
