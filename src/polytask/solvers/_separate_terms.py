"""Penalties on rows whose prox is known in any diagonal metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polytask.datafits.base import Array
from polytask.penalties import L1, L21, ElasticNet, Proximable, SparseGroup
from polytask.penalties.decomposition import RidgedRows


@dataclass(frozen=True)
class RowTerms:
    """entry * sum |W| + group * sum of row norms + ridge / 2 * ||W||^2.

    Parameters
    ----------
    entry, group, ridge : float
        The strengths, >= 0.
    """

    entry: float
    group: float
    ridge: float = 0.0

    @property
    def strength(self) -> float:
        """The strength of what is not smooth."""
        return self.entry + self.group

    @property
    def array(self) -> Array:
        """The strengths in the order that the kernels expect."""
        return np.array([self.entry, self.group, self.ridge])

    def value(self, W: Array, norms: Array) -> float:
        """Return the value at W, whose row norms are given."""
        size = self.group * float(norms.sum()) + 0.5 * self.ridge * float(norms @ norms)
        return size + (self.entry * float(np.abs(W).sum()) if self.entry > 0 else 0.0)

    def excess(self, gradient: Array) -> Array:
        """Return by how much the gradient of each row that is zero is too long to keep it so."""
        left = np.maximum(np.abs(gradient) - self.entry, 0.0) if self.entry > 0 else gradient
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", left, left)) - self.group)


def row_terms(penalty: Proximable | None) -> RowTerms | None:
    """Return the strengths of a penalty, None for one of another kind.

    Parameters
    ----------
    penalty : Proximable or None
        The part with a prox.

    Returns
    -------
    RowTerms or None
    """
    match penalty:
        case L1():
            return RowTerms(penalty.weight, 0.0)
        case L21():
            return RowTerms(0.0, penalty.weight)
        case ElasticNet():
            ratio = penalty.l1_ratio
            return RowTerms(penalty.weight * ratio, 0.0, penalty.weight * (1 - ratio))
        case SparseGroup():
            ratio = penalty.l1_ratio
            return RowTerms(penalty.weight * ratio, penalty.weight * (1 - ratio))
        case RidgedRows() if penalty.ridge.centre is None:
            plain = row_terms(penalty.penalty)
            if plain is not None:
                return RowTerms(plain.entry, plain.group, plain.ridge + penalty.ridge.weight)
    return None
