"""Weights that make the tasks count alike: IMTL-G, Nash-MTL, Aligned-MTL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg
from torch import Tensor

from polytask._linalg import Array
from polytask._registry import saveable
from polytask.deep.balancing._cone import Cosines, solve_positive, solved
from polytask.deep.balancing.base import State, Weighed

# Gradients that the others leave unexplained by that multiple of rounding count as independent.
CLEAR = 10.0


@saveable("deep.balancer.imtl_g")
@dataclass(frozen=True)
class IMTLG:
    """The direction whose projection on every gradient has the same length.

    Closed form, times the number of tasks; weights may be negative. Where gradients depend on
    each other the solution of least norm is taken, and equal weights where the projections
    can only be the same at zero. Losses may have any sign; tasks whose gradient is zero take
    no part and weigh 1.

    References
    ----------
    Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang (2021), Towards impartial multi-task
    learning, equation 4.
    """

    weighs_heads: ClassVar[bool] = False

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the weights, whose sum is k."""
        return solved(gramian, self._weights), state

    @staticmethod
    def _weights(cosines: Cosines) -> Array:
        """Solve ``G v = lengths`` and scale v to the sum k."""
        k = len(cosines.lengths)
        cutoff = max(1e-12, k * cosines.precision)
        units = _solved_ones(cosines.matrix, cutoff)
        v = units / cosines.lengths
        total = v.sum()
        if abs(total) <= cutoff * np.abs(v).sum():
            return np.ones(k)
        weights: Array = k * v / total
        return weights


def _solved_ones(C: Array, cutoff: float) -> Array:
    """Return the least x with ``C x = 1``; directions under the cutoff are left out."""
    ones = np.ones_like(C[0])
    try:
        factor = scipy.linalg.cholesky(C, check_finite=False)
        # The squared pivots show how much of a gradient the ones before it leave unexplained.
        if np.diagonal(factor).min() ** 2 > CLEAR * cutoff:
            return scipy.linalg.cho_solve((factor, False), ones, check_finite=False)
    except np.linalg.LinAlgError:
        pass
    return np.linalg.pinv(C, rcond=cutoff, hermitian=True) @ ones


@saveable("deep.balancer.nash")
@dataclass(frozen=True)
class Nash:
    """The bargain of the tasks: each gains in proportion to what it brings.

    The weights solve ``(G w)_t = 1 / w_t``, as published: they are not on the scale of the
    other balancers, because the step always has the length sqrt(k), whatever the gradients.
    Newton's method on the barrier problem behind that equation. Losses may have any sign;
    tasks whose gradient is zero take no part and weigh 1. With one task the weight is
    one over the length of its gradient.

    References
    ----------
    Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya (2022), Multi-task learning as
    a bargaining game, claim 3.1.
    """

    weighs_heads: ClassVar[bool] = False

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return the solution of the bargaining problem."""
        return solved(gramian, self._weights), state

    @staticmethod
    def _weights(cosines: Cosines) -> Array:
        """Minimise ``a' C a / 2 - sum log a``: strictly convex and self-concordant."""
        C = cosines.ridged
        total = C.sum()
        a = np.full_like(cosines.lengths, np.sqrt(len(C) / total) if total > 0 else 1.0)
        for _ in range(200):
            slope = C @ a - 1 / a
            curvature = C.copy()
            curvature[np.diag_indices(len(C))] += 1 / a**2
            step = solve_positive(curvature, -slope)
            decrement = np.sqrt(max(-slope @ step, 0.0))
            a = a + step / (1 + decrement) if decrement > 0.25 else a + step
            if decrement <= cosines.tolerance * np.sqrt(len(C)):
                break
        weights: Array = a / cosines.lengths
        return weights


@saveable("deep.balancer.aligned")
@dataclass(frozen=True)
class Aligned:
    """Gradients turned into orthogonal ones of equal length, as close to them as possible.

    The principal components of the gradients all get the size of the smallest one. Directions
    under the rounding error of the Gramian are left out. Losses may have any sign; tasks whose
    gradient is zero take no part and weigh 1. One task weighs 1.

    References
    ----------
    Senushkin, Patakin, Kuznetsov and Konushin (2023), Independent component alignment for
    multi-task learning, algorithm 1.
    """

    weighs_heads: ClassVar[bool] = False

    def start(self, n_tasks: int, like: Tensor) -> State:
        """Return an empty state."""
        return State()

    def weigh_gradients(self, losses: Tensor, gramian: Tensor, state: State) -> Weighed:
        """Return ``sqrt(smallest eigenvalue) G^(-1/2) 1``."""
        return solved(gramian, self._weights), state

    @staticmethod
    def _weights(cosines: Cosines) -> Array:
        """Balance the principal components."""
        lengths = cosines.lengths / cosines.lengths.max()
        G = cosines.matrix * lengths[:, None] * lengths
        values, vectors = scipy.linalg.eigh(G, driver="evd")
        kept = values > values[-1] * len(G) * cosines.precision
        values, vectors = values[kept], vectors[:, kept]
        weights: Array = vectors @ (np.sqrt(values[0] / values) * vectors.sum(axis=0))
        return weights
