"""Bounds of the curvature of losses on samples, and a preconditioner from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polytask.datafits.base import (
    Array,
    LinearMap,
    Preconditioner,
    block_preconditioner,
    diagonal_preconditioner,
    times_each,
)
from polytask.datafits.blocks import Block, ScalarBlock
from polytask.datafits.designs import Shared
from polytask.datafits.lanczos import largest_of_columns
from polytask.datafits.stack import Predictions, Stack

# A centred square below this share of the plain one is rounding.
_ROUNDING = 1e-13
# Exact blocks of the Hessian are formed while they cost no more operations than this.
_EXACT_COST = 1e8
_FEW_FEATURES = 32


@dataclass(frozen=True, eq=False)
class Moments:
    """What the second derivatives h of the predictions of each column sum to."""

    # Shapes: second (n_columns, n_features, n_features), first (n_features, n_columns), total
    # (n_columns,).

    second: Array
    first: Array
    total: Array

    def blocks(self, held: float) -> Array:
        """Return the Hessian of every column by itself, its intercept minimised out."""
        mean = _ratio(self.first, self.total + held)
        return np.asarray(self.second - np.einsum("ik,jk->kij", self.first, mean))

    def product(self, solve: LinearMap) -> LinearMap:
        """Return products with the Hessian, `solve` being Newton's step of the intercepts."""

        def product(V: Array) -> Array:
            delta = solve(np.einsum("ij,ij->j", self.first, V))
            return np.asarray(times_each(self.second, V) - self.first * delta)

        return product


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature of a datafit on samples once the intercepts are minimised out."""

    # An intercept of its own takes the mean of each column away; one that is held by a
    # curvature k takes away ``total / (total + k)`` of it, where `total` is the curvature of
    # the losses in that intercept.

    stack: Stack
    held: float

    @cached_property
    def diagonal(self) -> Array:
        """Upper bound of the diagonal of the Hessian, shape of W; rounding becomes 0."""
        D = np.zeros(self.stack.shape)
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            D[:, block.columns] = self._own(block, h)
        return D

    @cached_property
    def largest(self) -> Array:
        """Largest entry of each row of the diagonal."""
        top = np.zeros(self.stack.shape[0])
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            alike = isinstance(block.design, Shared) and h.ndim == 2 and np.all(h == h[:, :1])
            own = self._own(block, h[:, :1] if alike else h)
            top = np.maximum(top, np.max(own, axis=1, initial=0.0))
        return top

    def _own(self, block: Block, h: Array) -> Array:
        """Diagonal of some columns of a block, `h` being the curvature of their losses."""
        plain = block.design.squares_adjoint(h)
        centred = plain - self._mean_part(block, h)
        # Overflow (NaN) must not pass for rounding.
        return np.where(centred <= _ROUNDING * plain, 0.0, centred)

    def _mean_part(self, block: Block, h: Array) -> Array:
        if np.isinf(self.held):
            return np.zeros((self.stack.shape[0], 1))
        total = block.design.collect(h) + self.held
        design = block.design
        adjoint = design.weights_adjoint if isinstance(design, Shared) else design.adjoint
        return _ratio(adjoint(h) ** 2, total)

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients: exact if cheap."""
        if self._affordable:
            matrices = self._moments(self.stack.bounds).blocks(self.held)
            matrices = matrices / np.multiply.outer(scale, scale)
            return float(np.linalg.eigvalsh(matrices).max(initial=0.0))
        column = scale[:, None]
        return largest_of_columns(lambda V: self._product(V / column) / column, self.stack.shape)

    def _product(self, V: Array) -> Array:
        """Multiply by the bound of the Hessian, column by column."""
        out = np.zeros(self.stack.shape)
        for block, h in zip(self.stack.blocks, self.stack.bounds, strict=True):
            change = block.design.forward(V)
            total = block.design.collect(h) + self.held
            mean = np.zeros(self.stack.n_columns)
            mean[block.columns] = _ratio(block.design.collect(h * change), total)
            change = change - block.design.spread(mean)
            out[:, block.columns] = block.design.adjoint(h * change)
        return out

    @property
    def _affordable(self) -> bool:
        d, columns = self.stack.shape
        labels = sum(h.size for h in self.stack.bounds)
        return self.stack.dense and max(labels * d**2, columns * d**3) <= _EXACT_COST

    def at(self, eta: Predictions) -> Moments | None:
        """Return the moments at `eta`, None where they cost too much."""
        if not self._affordable:
            return None
        pairs = zip(self.stack.blocks, eta, strict=True)
        return self._moments([block.column_curvature(e) for block, e in pairs])

    @property
    def in_few_numbers(self) -> bool:
        """Whether moments cost about as much as a few products with the Hessian on the rows."""
        # Every prediction has one column then, so that the moments are all there is.
        few = self.stack.shape[0] <= _FEW_FEATURES
        return few and all(isinstance(block, ScalarBlock) for block in self.stack.blocks)

    def preconditioner(self, moments: Moments | None) -> Preconditioner:
        """Return the blocks of the Hessian inverted, or its diagonal bound."""
        if moments is None:
            return diagonal_preconditioner(self.diagonal)
        H = moments.blocks(self.held)
        return block_preconditioner(H, np.ones(len(H)))

    def _moments(self, curvatures: Predictions) -> Moments:
        """Return the moments for the curvatures of predictions."""
        d, columns = self.stack.shape
        second, first = np.zeros((columns, d, d)), np.zeros((d, columns))
        total = np.zeros(columns)
        for block, h in zip(self.stack.blocks, curvatures, strict=True):
            second[block.columns] = block.design.grams(h)
            first[:, block.columns] = block.design.adjoint(h)
            total[block.columns] = block.design.collect(h)
        return Moments(second, first, total)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
