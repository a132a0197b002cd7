"""The data term on samples, for any loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from polytask.datafits.base import (
    Array,
    Datafit,
    Evaluation,
    LinearMap,
    diagonal_preconditioner,
)
from polytask.datafits.blocks import Block
from polytask.datafits.intercepts import Intercepts
from polytask.losses import Squared

Predictions = list[Array]

_NEWTON_STEPS = 60
_HALVINGS = 40
_POLISH = 1e-15


@dataclass(frozen=True, eq=False)
class Samples(Datafit):
    """Weighted losses over blocks of rows, with the intercepts minimised out.

    Parameters
    ----------
    blocks : tuple of Block
        Every column of W belongs to exactly one block.
    intercepts : Intercepts
        What b may be.
    n_features, n_columns : int
        Shape of W.
    """

    blocks: tuple[Block, ...]
    intercepts: Intercepts
    n_features: int
    n_columns: int
    power_steps: int = field(default=40, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of W."""
        return self.n_features, self.n_columns

    @property
    def is_quadratic(self) -> bool:
        """Whether every loss is the squared one."""
        return all(isinstance(block.loss, Squared) for block in self.blocks)

    def evaluate(self, W: Array, start: Array | None = None) -> Evaluation:
        """Evaluate at `W`; `start` is a guess of the intercepts."""
        plain = [block.design.forward(W) for block in self.blocks]
        b = self._best_intercepts(plain, np.zeros(self.n_columns) if start is None else start)
        eta = self._shift(plain, b)
        slopes = [block.slope(e) for block, e in zip(self.blocks, eta, strict=True)]
        slope_b = self._collect(slopes)

        def conjugate(c: float) -> float:
            rows = sum(block.conjugate(e, c) for block, e in zip(self.blocks, eta, strict=True))
            return float(rows) + self.intercepts.conjugate(c * slope_b)

        return Evaluation(
            value=self._value(eta, b),
            gradient=self._adjoint(slopes),
            intercept=b,
            conjugate=conjugate,
            hessian=self._hessian(eta),
            preconditioner=lambda shift: diagonal_preconditioner(self._diagonal_bound)(shift),
        )

    def feature_scale(self) -> Array:
        """Square root of the largest diagonal curvature of each feature."""
        return np.sqrt(np.max(self._diagonal_bound, axis=1, initial=0.0))

    def lipschitz(self, scale: Array) -> float:
        """Largest curvature in scaled coefficients, by power iteration on every column."""
        rng = np.random.default_rng(0)
        V = rng.standard_normal(self.shape)
        best = 0.0
        for _ in range(self.power_steps):
            norms = np.linalg.norm(V, axis=0)
            V = np.divide(V, norms, out=np.zeros_like(V), where=norms > 0)
            V = self._bound_product(V / scale[:, None]) / scale[:, None]
            previous, best = best, float(np.linalg.norm(V, axis=0).max(initial=0.0))
            if abs(best - previous) <= 1e-3 * best:
                break
        return best

    @cached_property
    def _diagonal_bound(self) -> Array:
        D = np.zeros(self.shape)
        for block in self.blocks:
            h = self._full_bound(block)
            D[:, block.columns] = block.design.squares_adjoint(h)
            if self.intercepts.centres:
                total = block.design.collect(h)
                first = block.design.adjoint(h)
                mean_part = np.divide(first**2, total, out=np.zeros_like(first), where=total > 0)
                D[:, block.columns] -= mean_part
        return np.maximum(D, 0.0)

    def _full_bound(self, block: Block) -> Array:
        shape = block.design.forward(np.zeros(self.shape)).shape
        return np.ascontiguousarray(np.broadcast_to(block.bound(), shape))

    def _bound_product(self, V: Array) -> Array:
        out = np.zeros(self.shape)
        for block in self.blocks:
            h = block.bound()
            change = block.design.forward(V)
            if self.intercepts.centres:
                change = change - self._weighted_mean(block, h, change)
            out[:, block.columns] = block.design.adjoint(h * change)
        return out

    def _weighted_mean(self, block: Block, h: Array, change: Array) -> Array:
        total = block.design.collect(np.broadcast_to(h, change.shape))
        first = block.design.collect(h * change)
        mean = np.zeros(self.n_columns)
        mean[block.columns] = np.divide(first, total, out=np.zeros_like(first), where=total > 0)
        return block.design.spread(mean)

    def _shift(self, plain: Predictions, b: Array) -> Predictions:
        return [e + block.design.spread(b) for block, e in zip(self.blocks, plain, strict=True)]

    def _value(self, eta: Predictions, b: Array) -> float:
        data = sum(block.value(e) for block, e in zip(self.blocks, eta, strict=True))
        return float(data) + self.intercepts.penalty(b)

    def _adjoint(self, slopes: Predictions) -> Array:
        G = np.zeros(self.shape)
        for block, U in zip(self.blocks, slopes, strict=True):
            G[:, block.columns] = block.design.adjoint(U)
        return G

    def _collect(self, slopes: Predictions) -> Array:
        g = np.zeros(self.n_columns)
        for block, U in zip(self.blocks, slopes, strict=True):
            g[block.columns] = block.design.collect(U)
        return g

    def _intercept_solver(self, eta: Predictions) -> LinearMap:
        parts = [
            part
            for block, e in zip(self.blocks, eta, strict=True)
            for part in block.intercept_curvature(e)
        ]
        if all(curvature.ndim == 1 for _, curvature in parts):
            diagonal = np.zeros(self.n_columns)
            for columns, curvature in parts:
                diagonal[columns] = curvature
            return lambda right: self.intercepts.solve(diagonal, right)
        blocks = [(c, h if h.ndim == 2 else np.diag(h)) for c, h in parts]
        return lambda right: self.intercepts.solve_blocks(blocks, right)

    def _best_intercepts(self, plain: Predictions, b: Array) -> Array:
        """Newton's method with halving; one step for the squared loss."""
        b = self.intercepts.project(b)
        scale = sum(float(np.sum(block.weight)) for block in self.blocks)
        eta = self._shift(plain, b)
        value = self._value(eta, b)
        for _ in range(_NEWTON_STEPS):
            slopes = [block.slope(e) for block, e in zip(self.blocks, eta, strict=True)]
            gradient = self._collect(slopes) + self.intercepts.gradient(b)
            step = self._intercept_solver(eta)(-gradient)
            descent = -float(gradient @ step)
            if descent <= _POLISH * max(scale, abs(value)):
                # So near the optimum values no longer tell steps apart: one pure Newton
                # step squares the error, which leaves rounding only.
                return b + step
            b, eta, new_value = self._line_search(plain, b, step, value, descent)
            if new_value >= value:
                break
            value = new_value
        return b

    def _line_search(
        self, plain: Predictions, b: Array, step: Array, value: float, descent: float
    ) -> tuple[Array, Predictions, float]:
        length = 1.0
        for _ in range(_HALVINGS):
            trial = b + length * step
            eta = self._shift(plain, trial)
            trial_value = self._value(eta, trial)
            rounding = 1e-15 * abs(value)
            if trial_value <= value - 1e-4 * length * descent + rounding:
                return trial, eta, trial_value
            length /= 2
        return b, self._shift(plain, b), value

    def _hessian(self, eta: Predictions) -> LinearMap:
        @cache
        def parts() -> tuple[list[Callable[[Array], Array]], LinearMap]:
            bends = [block.bend(e) for block, e in zip(self.blocks, eta, strict=True)]
            return bends, self._intercept_solver(eta)

        def product(V: Array) -> Array:
            bends, solve = parts()
            changes = [block.design.forward(V) for block in self.blocks]
            pushed = [bend(c) for bend, c in zip(bends, changes, strict=True)]
            delta = solve(self._collect(pushed))
            moved = [
                bend(c - block.design.spread(delta))
                for bend, c, block in zip(bends, changes, self.blocks, strict=True)
            ]
            return self._adjoint(moved)

        return product

