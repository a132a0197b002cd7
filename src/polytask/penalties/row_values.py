"""What single rows of W add to the value and to the conjugate of a penalty that is their sum."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from polytask._linalg import Array, like, namespace, row_norms, soft_threshold
from polytask.penalties.base import Valued
from polytask.penalties.row_norms import RowNest, RowNorm, values_by_row
from polytask.penalties.rowwise import L1, L2, ElasticNet, sparse_and_group


class ByRow(Valued):
    """A penalty of rows that knows what each of them adds."""

    @abstractmethod
    def value_by_row(self, W: Array) -> Array:
        """Return what each row adds to the value, of shape (n_rows,)."""


def entry_terms(penalty: object) -> tuple[float, float] | None:
    """Return the strengths of sum |W| and of the ridge, None for penalties not of entries."""
    match penalty:
        case L1():
            return penalty.weight, 0.0
        case L2():
            return 0.0, penalty.weight
        case ElasticNet():
            return penalty.weight * penalty.l1_ratio, penalty.weight * (1 - penalty.l1_ratio)
    return None


def row_values(penalty: Any, W: Array) -> Array:  # noqa: ANN401 - any penalty of rows
    """Return what each row of W adds to the value of a penalty, of shape (n_rows,)."""
    if isinstance(penalty, ByRow):
        return penalty.value_by_row(W)
    terms = entry_terms(penalty)
    if terms is not None:
        xp = namespace(W)
        sparse, ridge = terms
        return sparse * xp.sum(xp.abs(W), axis=1) + 0.5 * ridge * row_norms(W) ** 2
    if isinstance(penalty, RowNorm | RowNest) or sparse_and_group(penalty) is not None:
        return values_by_row(penalty, W)
    return like(np.array([penalty.value(W[j : j + 1, :]) for j in range(W.shape[0])]), W)


def row_conjugates(penalty: Any, Z: Array, weight: Array) -> float:  # noqa: ANN401
    """Return the sum over rows of weight times the conjugate at a row of Z."""
    # Shapes: Z (n_rows, n_columns), weight (n_rows,).
    xp = namespace(Z)
    usual = xp.where(xp.isinf(weight), xp.zeros_like(weight), weight)
    terms = entry_terms(penalty)
    if terms is None or terms[1] == 0:
        used = [j for j in range(Z.shape[0]) if float(usual[j]) > 0]
        return float(sum(float(usual[j]) * penalty.conjugate(Z[j : j + 1, :]) for j in used))
    excess = soft_threshold(Z, terms[0])
    return float(xp.sum(usual * xp.sum(excess * excess, axis=1)) / (2 * terms[1]))
