"""Blocks of data side by side: predictions, values and slopes of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from polytask.datafits.base import Array, LinearMap
from polytask.datafits.blocks import Block
from polytask.datafits.designs import Index
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.levels import joined_sums

Predictions = list[Array]


@dataclass(frozen=True, eq=False)
class Stack:
    """The blocks of a datafit; predictions come as one array per block."""

    blocks: tuple[Block, ...]
    n_features: int
    n_columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @cached_property
    def total_weight(self) -> float:
        """Sum of all row weights."""
        return float(sum(float(np.sum(block.weight)) for block in self.blocks))

    @cached_property
    def _in_order(self) -> bool:
        """Whether one block owns all columns, in their order."""
        if len(self.blocks) != 1:
            return False
        return np.array_equal(self.blocks[0].columns, np.arange(self.n_columns))

    @cached_property
    def dense(self) -> bool:
        """Whether every design is a dense matrix."""
        return not any(sp.issparse(block.design.features.matrix) for block in self.blocks)

    @cached_property
    def is_bounded(self) -> bool:
        """Whether the second derivatives of all losses have bounds."""
        return all(block.is_bounded for block in self.blocks)

    def forward(self, W: Array) -> Predictions:
        """Return the predictions without intercepts."""
        return [block.design.forward(W) for block in self.blocks]

    def shift(self, plain: Predictions, b: Array) -> Predictions:
        """Add the intercepts to predictions."""
        pairs = zip(self.blocks, plain, strict=True)
        return [e + block.design.spread(b) for block, e in pairs]

    def value(self, eta: Predictions) -> float:
        """Return the weighted sum of losses."""
        return float(sum(block.value(e) for block, e in zip(self.blocks, eta, strict=True)))

    def slopes(self, eta: Predictions) -> Predictions:
        """Return the weighted derivatives of the losses."""
        return [block.slope(e) for block, e in zip(self.blocks, eta, strict=True)]

    def adjoint(self, slopes: Predictions) -> Array:
        """Return the transpose of :meth:`forward`, shape of W."""
        if self._in_order:
            return self.blocks[0].design.adjoint(slopes[0])
        G = np.zeros(self.shape)
        for block, U in zip(self.blocks, slopes, strict=True):
            G[:, block.columns] = block.design.adjoint(U)
        return G

    def collect(self, slopes: Predictions) -> Array:
        """Sum over the rows of each column, shape (n_columns,)."""
        g = np.zeros(self.n_columns)
        for block, U in zip(self.blocks, slopes, strict=True):
            g[block.columns] = block.design.collect(U)
        return g

    def intercept_curvature(self, eta: Predictions) -> list[tuple[Index, Array]]:
        """Return (columns, curvature of the intercepts) of every block at `eta`."""
        pairs = zip(self.blocks, eta, strict=True)
        return [part for block, e in pairs for part in block.intercept_curvature(e)]

    def intercept_solver(self, eta: Predictions, intercepts: Intercepts) -> LinearMap:
        """Return the solution of Newton systems in the intercepts at `eta`."""
        return newton_solver(self.intercept_curvature(eta), intercepts, np.zeros(self.n_columns))

    def levels(self, plain: Predictions, groups: Index) -> Array:
        """Return the best intercepts for predictions without, NaN where nothing knows them."""
        # Shapes: groups (n_columns,).
        linear, exponential, sides = np.full((3, self.n_columns), np.nan)
        for block, eta in zip(self.blocks, plain, strict=True):
            found = block.level_sums(eta)
            if found is not None:
                linear[block.columns], exponential[block.columns], side = found
                sides[block.columns] = side
        difference = joined_sums(linear, groups) - joined_sums(exponential, groups)
        return sides * difference

    @cached_property
    def intercept_bound(self) -> Array:
        """Bound of the curvature of each intercept, or its size; shape (n_columns,)."""
        return self.collect(self.bounds)

    @cached_property
    def bounds(self) -> Predictions:
        """Upper bounds of the second derivatives, or their size; see :meth:`Block.bound`."""
        pairs = [(block.bound(), block.shape) for block in self.blocks]
        return [np.ascontiguousarray(np.broadcast_to(h, shape)) for h, shape in pairs]


Parts = list[tuple[Index, Array]]


def own_curvature(parts: Parts, n_columns: int) -> Array:
    """Return the diagonal of the curvature of the intercepts, shape (n_columns,)."""
    diagonal = np.zeros(n_columns)
    for columns, curvature in parts:
        diagonal[columns] = curvature if curvature.ndim == 1 else np.diagonal(curvature)
    return diagonal


def newton_solver(parts: Parts, intercepts: Intercepts, extra: Array) -> LinearMap:
    """Return the solution of Newton systems in the intercepts. Shapes: extra (n_columns,)."""
    if all(curvature.ndim == 1 for _, curvature in parts):
        diagonal = own_curvature(parts, extra.size) + extra
        return lambda right: intercepts.solve(diagonal, right)
    matrices = [piece for columns, h in parts for piece in _as_blocks(columns, h, extra[columns])]
    return intercepts.block_solver(matrices)


def _as_blocks(columns: Index, curvature: Array, extra: Array) -> Parts:
    """Turn a diagonal into blocks of one column; leave a block as it is."""
    if curvature.ndim == 2:
        return [(columns, curvature + np.diag(extra))]
    total = curvature + extra
    return [(columns[k : k + 1], total[k : k + 1, None]) for k in range(len(columns))]
